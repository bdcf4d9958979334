// Receipts (docs/protocol.md section 11): what a holder promises to log about an answer, and the path that shows that it did.

import { bigEndian, concat, fromHex, hex, utf8 } from "./bytes.js";
import type { Bundle } from "./bundle.js";
import { elementBytes } from "./field.js";
import { hashParts, sha256 } from "./hash.js";
import type { Statement } from "./program.js";
import { formatTime } from "./time.js";
import { nodeHash } from "./tlog.js";

const depth = 32;
const lastSecond = 9223372036; // what a 64-bit number of nanoseconds holds

/** The digest that identifies an answer by its statement, without the proof. */
export function answerDigest(b: Bundle, s: Statement): Uint8Array {
  const parts = [utf8(b.header.body), Uint8Array.of(s.verdict), elementBytes(s.nullifier)];
  s.mask.forEach((shown, i) => {
    if (shown) parts.push(bigEndian(i, 2), elementBytes(s.disclosed[i]!));
  });
  return hashParts("grille/v1/answer", ...parts);
}

/** The receipt of an answer. */
export function receiptDigest(salt: string, query: string, outcome: string, answer: Uint8Array): string {
  return hex(hashParts("grille/v1/receipt", fromHex(salt), fromHex(query), utf8(outcome), answer));
}

/** The largest beat that begins within what times can say, in 2262. */
function lastBeat(length: number): number {
  return Math.floor(lastSecond / length);
}

/** When a beat begins, in seconds since 1970. */
export function beatStart(beat: number, length: number): number {
  return Math.min(beat, lastBeat(length)) * length;
}

/** When the batch of a beat has to be final, or undefined for beats that no time can say. */
export function deadline(beat: number, length: number): number | undefined {
  return beat <= lastBeat(length) - 2 ? beatStart(beat + 2, length) : undefined;
}

/** How a deadline is written. */
export const formatDeadline = formatTime;

/** Whether a path leads from a receipt at a place to the root of a beat's tree. */
export function checkPath(root: string, receipt: string, place: number, path: string[]): boolean {
  if (path.length !== depth) return false;
  let h = sha256(concat(Uint8Array.of(0), fromHex(receipt)));
  path.forEach((sibling, level) => {
    const s = fromHex(sibling);
    h = (place >>> level) & 1 ? nodeHash(s, h) : nodeHash(h, s);
  });
  return hex(h) === root;
}
