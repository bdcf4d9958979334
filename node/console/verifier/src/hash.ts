// Hashes: SHA-256, and the hash of parts of docs/protocol.md section 1.

import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { bigEndian, concat, toNumber, utf8 } from "./bytes.js";

export function sha256(...parts: Uint8Array[]): Uint8Array {
  return nobleSha256(parts.length === 1 ? parts[0]! : concat(...parts));
}

/** H(label; parts): SHA-256 over label and parts, each after its length in 8 bytes. */
export function hashParts(label: string, ...parts: Uint8Array[]): Uint8Array {
  return sha256(...[utf8(label), ...parts].flatMap((p) => [bigEndian(p.length, 8), p]));
}

/** The first 248 bits of a hash as a number, which is a field element. */
export function first248(hash: Uint8Array): bigint {
  return toNumber(hash.subarray(0, 31));
}
