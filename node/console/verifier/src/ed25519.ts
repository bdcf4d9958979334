// Ed25519 verification (RFC 8032, section 5.1.7) without the factor 8: [S]B = R + [k]A, compared by encoding. Implementations differ on keys
// and signatures with a part of small order, and the gateways are Go's: S below L, R in its one encoding, any A that is on the curve.

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concat, equalBytes } from "./bytes.js";

const Point = ed25519.Point;
const L = Point.Fn.ORDER;

/** Whether a signature of 64 bytes is that of a key of 32 bytes on a message. */
export function verifyEd25519(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== 32 || signature.length !== 64) return false;
  const r = signature.subarray(0, 32);
  const s = littleEndian(signature.subarray(32));
  if (s >= L) return false;
  let a;
  try {
    a = Point.fromBytes(key, true); // also encodings of y beyond p, as Go reads them
  } catch {
    return false;
  }
  const k = littleEndian(sha512(concat(r, key, message))) % L;
  const got = Point.BASE.multiplyUnsafe(s).subtract(a.multiplyUnsafe(k));
  return equalBytes(got.toBytes(), r);
}

function littleEndian(data: Uint8Array): bigint {
  let v = 0n;
  for (let i = data.length - 1; i >= 0; i--) v = (v << 8n) | BigInt(data[i]!);
  return v;
}
