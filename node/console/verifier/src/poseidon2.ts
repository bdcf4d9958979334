// Poseidon2 over the scalar field of BLS12-381 (docs/statement.md section 2; https://eprint.iacr.org/2023/323): width 3, x^5, 8 full and 56
// partial rounds, used as a three-to-one compression with feed-forward. A verifier needs it for one thing: to recompute a tag.

import { keccak_256 } from "@noble/hashes/sha3.js";
import { hex, toNumber, utf8 } from "./bytes.js";
import { elementBytes, order } from "./field.js";
import { sha256 } from "./hash.js";

const half = 4; // full rounds before and after the partial ones
const partial = 56;

/** The SHA-256 over the constants of each use, 32 bytes each in the order in which rounds use them, pinned. */
export const pinned: Record<string, string> = {
  "bucket.1": "0b6aecda43dca328d2b054f29d65ec93e5c6cadc7f5445413e50c0370fe67f57",
  "bucket.2": "ce42813647a8b613ab359092236b3d1790a269c8dfa59133f5c8f68b86cd811d",
  "bucket.3": "e3a01458d996f1061dd280a5ff89d5223f1bb71a07748bc803e665eb63b73d69",
  node: "a2be96b09b7e8ae75602a2eb6b8915292ca434419a44c68e3c9278ec1df77900",
  nullifier: "7fa123ec0efdb5c416575b9b223c20bc3190404452ef3b5381c1e39045c0338b",
  "record.1": "6467b30518dce7bf29b633e15f0ef62e3aac5721fc8ec597583a676e66f9b3bf",
  "record.2": "b36008801bf6f01a1d87b476d0024e8cde01fb903ad13773bfbc6b408b51052d",
  "record.3": "f041daad0d830ea0ccc4646a7c0bdae144df6b1a6df9c993d27b04e23687ab7a",
  "record.4": "db447cb8a2a89f05cd9b47f7a0988c4e3f27c61b2b234621a03f06e3f77c78b8",
  "scope-key": "ce4c456f2f963662bb53a8a5c1ab802c4a35d1237b54311c6d16521c81feb5d8",
  tag: "4e46d46f5cfdddacd2c2c18dc5128491c1df0842e945ee45ec2bea1d5280c902",
};

/** The constants of a use from its seed: Keccak-256 again and again, the first one of Keccak-256 of the seed, each modulo r. */
export function constants(use: string): bigint[] {
  let digest = keccak_256(utf8("grille/v1/" + use));
  return Array.from({ length: 2 * half * 3 + partial }, () => {
    digest = keccak_256(digest);
    return toNumber(digest) % order;
  });
}

/** The SHA-256 over constants, in hex. */
export function digestOf(keys: bigint[]): string {
  return hex(sha256(...keys.map(elementBytes)));
}

const known = new Map<string, bigint[]>();

function keysOf(use: string): bigint[] {
  let keys = known.get(use);
  if (!keys) {
    keys = constants(use);
    if (digestOf(keys) !== pinned[use]) throw new Error(`the constants of the hash "${use}" are not the pinned ones`);
    known.set(use, keys);
  }
  return keys;
}

/** p_use(a, b, c) = perm(a, b, c)[0] + a. */
export function poseidon2(use: string, a: bigint, b: bigint, c: bigint): bigint {
  const keys = keysOf(use);
  let s: [bigint, bigint, bigint] = mixFull([a, b, c]);
  let k = 0;
  for (let round = 0; round < 2 * half + partial; round++) {
    if (round < half || round >= half + partial) {
      s = mixFull([fifth(s[0] + keys[k]!), fifth(s[1] + keys[k + 1]!), fifth(s[2] + keys[k + 2]!)]);
      k += 3;
    } else {
      s = mixPartial([fifth(s[0] + keys[k]!), s[1], s[2]]);
      k += 1;
    }
  }
  return (s[0] + a) % order;
}

function fifth(x: bigint): bigint {
  const square = (x * x) % order;
  return (((square * square) % order) * x) % order;
}

/** Multiplies by circ(2, 1, 1). */
function mixFull([x, y, z]: [bigint, bigint, bigint]): [bigint, bigint, bigint] {
  const sum = x + y + z;
  return [(x + sum) % order, (y + sum) % order, (z + sum) % order];
}

/** Multiplies by [[2, 1, 1], [1, 2, 1], [1, 1, 3]]. */
function mixPartial([x, y, z]: [bigint, bigint, bigint]): [bigint, bigint, bigint] {
  const sum = x + y + z;
  return [(x + sum) % order, (y + sum) % order, (2n * z + sum) % order];
}
