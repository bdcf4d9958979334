// Merkle trees of logs: RFC 6962, section 2.1.

import { equalBytes } from "./bytes.js";
import { sha256 } from "./hash.js";

/** A log's bound: 2^50 entries. */
export const maxTreeSize = 2 ** 50;

export interface Tree {
  size: number;
  root: Uint8Array;
}

export function leafHash(entry: Uint8Array): Uint8Array {
  return sha256(Uint8Array.of(0), entry);
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(Uint8Array.of(1), left, right);
}

/** The largest power of two below n, for n > 1. */
function split(n: number): number {
  let k = 1;
  while (2 * k < n) k *= 2;
  return k;
}

/** Whether an inclusion path leads from a leaf at an index to the root of a tree; no hash may be left over. */
export function checkInclusion(path: Uint8Array[], tree: Tree, index: number, leaf: Uint8Array): boolean {
  if (!Number.isSafeInteger(index) || index < 0 || index >= tree.size || tree.size > maxTreeSize || path.some((h) => h.length !== 32)) {
    return false;
  }
  // Sides of the siblings from the root down: whether the sibling is the left subtree.
  const sides: boolean[] = [];
  let [at, size] = [index, tree.size];
  while (size > 1) {
    const k = split(size);
    const right = at >= k;
    sides.push(right);
    [at, size] = right ? [at - k, size - k] : [at, k];
  }
  if (sides.length !== path.length) return false;
  let hash = leaf;
  for (const sibling of path) hash = sides.pop() ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  return equalBytes(hash, tree.root);
}

/** The root of the tree of leaf hashes. */
export function rootOf(leaves: Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256(new Uint8Array());
  if (leaves.length === 1) return leaves[0]!;
  const k = split(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k)));
}
