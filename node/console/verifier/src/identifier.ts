// Identifiers of subjects: the patterns of identifier schemes are RE2's, which JavaScript's expressions differ from.

import { RE2JS } from "re2js";
import { byteLength } from "./bytes.js";
import { hasControl } from "./text.js";
import { normalForm, simpleUpper } from "./unicode.js";
import type { Scheme } from "./network.js";

const maxIdentifier = 128;

/** Returns a test whether the whole of a text matches, or undefined for what is no RE2 expression. */
export function compilePattern(pattern: string): ((s: string) => boolean) | undefined {
  try {
    RE2JS.compile(pattern); // alone first, so that it cannot close the group that anchors it
    const whole = RE2JS.compile(`^(?:${pattern})$`);
    return (s) => whole.matcher(s).find();
  } catch {
    return undefined;
  }
}

/** Upper case, character for character, where the scheme asks for it. */
export function normalise(how: string, id: string): string {
  return how === "upper" ? simpleUpper(id) : id;
}

/** The one form of an identifier of a scheme, or undefined for a text that is none. */
export function normaliseIdentifier(scheme: Scheme, id: string): string | undefined {
  if (id === "" || byteLength(id) > maxIdentifier || hasControl(id)) return undefined;
  let out = normalForm(id);
  if (scheme.normalise === "upper") out = normalForm(simpleUpper(out));
  const pattern = compilePattern(scheme.pattern);
  return byteLength(out) <= maxIdentifier && pattern?.(out) ? out : undefined;
}
