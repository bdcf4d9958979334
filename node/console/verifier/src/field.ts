// The scalar field of BLS12-381: all public inputs are its elements.

import { bigEndian, fromHex, isHex, toNumber } from "./bytes.js";

/** The field's order r. */
export const order = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;

/** Reads 64 lower-case hex digits, big endian, below the order; undefined for another text. */
export function parseElement(text: string): bigint | undefined {
  if (!isHex(text, 32)) return undefined;
  const v = toNumber(fromHex(text));
  return v < order ? v : undefined;
}

/** An element as 64 hex digits. */
export function formatElement(v: bigint): string {
  return v.toString(16).padStart(64, "0");
}

/** An element as 32 bytes, big endian. */
export function elementBytes(v: bigint): Uint8Array {
  return bigEndian(v, 32);
}

/** The element of an integer: negative ones are r - |v|. */
export function element(v: bigint | number): bigint {
  const n = BigInt(v) % order;
  return n < 0n ? n + order : n;
}
