// Unicode 15.0, whatever edition the platform has: normal form C, upper case and what can be printed (docs/vectors.md section 3).
//
// Unicode's stability policies keep normal forms of what is assigned, and give a letter another case only with a newly assigned one. So what
// 15.0 does not assign is all that later editions treat in another way.

import { markRuns, unassignedRuns } from "./unassigned.js";

const unassignedClass = readRuns(unassignedRuns);
const unassigned = new RegExp(`[${unassignedClass}]`, "u");
const runsOfUnassigned = new RegExp(`([${unassignedClass}]+)`, "u");

/** The class of a regular expression from lengths of runs: of others and of those meant, in turn. */
function readRuns(text: string): string {
  const lengths = text.split(" ").map((n) => parseInt(n, 36));
  let [out, at] = ["", 0];
  for (let i = 0; i < lengths.length; i += 2) {
    const from = at + lengths[i]!;
    at = from + lengths[i + 1]!;
    out += `\\u{${from.toString(16)}}-\\u{${(at - 1).toString(16)}}`;
  }
  return out;
}

const mostMarks = 30;
const joiner = "\u034f";
const marks = readMarks(markRuns);

/** 4 times the marks that a character begins with, and those that it ends with. */
function readMarks(text: string): Map<number, number> {
  const numbers = text.split(" ").map((n) => parseInt(n, 36));
  const out = new Map<number, number>();
  for (let r = 0xac00; r <= 0xd7a3; r++) out.set(r, (r - 0xac00) % 28 === 0 ? 1 : 2); // Hangul syllables: the letters behind the first
  for (let i = 0, at = 0; i < numbers.length; i += 3) {
    const from = at + numbers[i]!;
    at = from + numbers[i + 1]!;
    for (let r = from; r < at; r++) out.set(r, numbers[i + 2]!);
  }
  return out;
}

/** Breaks runs of more than 30 marks with a joiner, as the stream-safe text process does (UAX #15). */
function joined(s: string): string {
  let [out, count] = ["", 0];
  for (const c of s) {
    const m = marks.get(c.codePointAt(0)!) ?? 0;
    const leading = m >> 2;
    count = leading === 0 ? m & 3 : count + leading;
    if (count > mostMarks) {
      out += joiner;
      count = leading;
    }
    out += c;
  }
  return out;
}

/** Normal form C, stream-safe. What is unassigned composes with nothing, and marks do not move across it. */
export function normalForm(s: string): string {
  return s.split(runsOfUnassigned).map((part, i) => (i % 2 === 0 ? joined(part).normalize("NFC") : part)).join("");
}

/** Letters, marks, numbers, punctuation, symbols, and the space. */
export function isPrintable(s: string): boolean {
  return /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$/u.test(s) && !unassigned.test(s);
}

/** Upper case by Unicode's simple mapping: one character for one. JavaScript's own makes SS of ß. */
export function simpleUpper(s: string): string {
  let out = "";
  for (const c of s) {
    const full = c.toUpperCase();
    const upper = [...full].length === 1 ? full : (iotaSubscript(c.codePointAt(0)!) ?? c);
    out += unassigned.test(c) || unassigned.test(upper) ? c : upper;
  }
  return out;
}

/** Greek letters with iota subscript have a simple upper case, although their full one has two letters. */
function iotaSubscript(r: number): string | undefined {
  const lower = r >= 0x1f80 && r <= 0x1faf && r % 16 < 8 ? r + 8 : [0x1fb3, 0x1fc3, 0x1ff3].includes(r) ? r + 9 : undefined;
  return lower === undefined ? undefined : String.fromCodePoint(lower);
}
