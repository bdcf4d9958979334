// The sum of value x base over the public inputs, which is what a verification costs. Most of them are 0 or small, and many are negative, which
// modulo r are as long as any: those are multiplied by their magnitude and the negated base.

import { bls12_381 } from "@noble/curves/bls12-381.js";
import type { G1 } from "./curve.js";
import { order } from "./field.js";

const { Point } = bls12_381.G1;

/** A point and a positive number to multiply it by. */
interface Term {
  point: G1;
  scalar: bigint;
}

/**
 * The sum of values[i] x bases[i]; values may be negative or beyond the order. Nothing here is secret, and time depends on the values. The
 * method is buckets over digits of a fixed width (Bernstein, Doumen, Lange, Oosterwijk, https://eprint.iacr.org/2012/549, section 4), apart for
 * short and for long numbers.
 */
export function publicSum(bases: (i: number) => G1, values: bigint[]): G1 {
  let sum = Point.ZERO;
  const short: Term[] = [];
  const long: Term[] = [];
  values.forEach((value, i) => {
    const positive = ((value % order) + order) % order;
    const negative = order - positive;
    if (positive === 0n) return;
    const flip = negative < positive;
    const scalar = flip ? negative : positive;
    const point = flip ? bases(i).negate() : bases(i);
    if (scalar === 1n) sum = sum.add(point);
    else (scalar >> 64n === 0n ? short : long).push({ point, scalar });
  });
  return sum.add(buckets(short, 5)).add(buckets(long, 3));
}

/** The sum by digits of so many bits, from the highest window down. */
function buckets(terms: Term[], width: number): G1 {
  let sum = Point.ZERO;
  const longest = terms.reduce((n, t) => Math.max(n, t.scalar.toString(2).length), 0);
  const mask = (1n << BigInt(width)) - 1n;
  for (let w = Math.ceil(longest / width) - 1; w >= 0; w--) {
    if (!sum.is0()) for (let i = 0; i < width; i++) sum = sum.double();
    const piles = new Array<G1 | undefined>(1 << width).fill(undefined);
    for (const t of terms) {
      const digit = Number((t.scalar >> BigInt(w * width)) & mask);
      if (digit !== 0) piles[digit] = piles[digit]?.add(t.point) ?? t.point;
    }
    let running: G1 | undefined; // the sum of the piles from the highest down to this one
    for (let d = piles.length - 1; d > 0; d--) {
      const pile = piles[d];
      if (pile) running = running?.add(pile) ?? pile;
      if (running) sum = sum.add(running);
    }
  }
  return sum;
}
