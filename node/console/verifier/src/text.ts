// What texts may hold: names, and characters by their Unicode category.

import { byteLength } from "./bytes.js";

/** A name of a dataset, policy, scheme, program or period: 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit. */
export function isName(s: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(s);
}

/** A column's name: 1 to 64 of a-z 0-9 _, beginning with a letter. */
export function isColumnName(s: string): boolean {
  return /^[a-z][a-z0-9_]{0,63}$/.test(s);
}

/** A member's name, like GOV/tax. */
export function isMemberName(s: string): boolean {
  return /^[A-Z]{2,8}\/[a-z0-9-]{1,32}$/.test(s);
}

/** Text of min to max bytes without control characters but line feed and tab. */
export function isText(s: string, min: number, max: number): boolean {
  const n = byteLength(s);
  return n >= min && n <= max && !hasControl(s.replace(/[\n\t]/g, ""));
}

export function hasControl(s: string): boolean {
  return /\p{Cc}/u.test(s);
}

export function hasSpace(s: string): boolean {
  return /\p{White_Space}/u.test(s);
}

/** Whether white space stands at either end. */
export function hasOuterSpace(s: string): boolean {
  return /^\p{White_Space}|\p{White_Space}$/u.test(s);
}
