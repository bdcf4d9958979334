// Points of BLS12-381 in the ZCash encoding: compressed, the flags in the three highest bits, coordinates big endian, of G2 the imaginary
// part first. Read strictly: on the curve, in the subgroup of prime order, not at infinity, coordinates below p.

import { bls12_381 } from "@noble/curves/bls12-381.js";
import { toNumber } from "./bytes.js";

const { Fp, Fp2 } = bls12_381.fields;
const { Point: Point1 } = bls12_381.G1;
const { Point: Point2 } = bls12_381.G2;
export type G1 = InstanceType<typeof Point1>;
export type G2 = InstanceType<typeof Point2>;
type Element2 = ReturnType<typeof Fp2.create>;

export const g1Bytes = 48;
export const g2Bytes = 96;

/** Bytes that are no point of the group in its one encoding. */
export class PointError extends Error {}

const four2 = Fp2.mul(Fp2.create({ c0: 1n, c1: 1n }), Fp2.create({ c0: 4n, c1: 0n })); // 4(1 + i)

/** Reads the flags and the coordinate, and returns whether y is the larger of the two. */
function unpack(data: Uint8Array): { larger: boolean; coordinates: bigint[] } {
  const flags = data[0]! >> 5;
  if ((flags & 4) === 0) throw new PointError("not compressed");
  if ((flags & 2) !== 0) throw new PointError("the point at infinity");
  const coordinates: bigint[] = [];
  for (let at = 0; at < data.length; at += g1Bytes) {
    const part = data.slice(at, at + g1Bytes);
    if (at === 0) part[0]! &= 0x1f;
    const v = toNumber(part);
    if (v >= Fp.ORDER) throw new PointError("a coordinate that is not below p");
    coordinates.push(v);
  }
  return { larger: (flags & 1) !== 0, coordinates };
}

const isLarger = (y: bigint) => 2n * y > Fp.ORDER;

/** Reads a point of G1 from 48 bytes. Throws PointError. */
export function readG1(data: Uint8Array): G1 {
  const { larger, coordinates } = unpack(data);
  const x = coordinates[0]!;
  const right = Fp.add(Fp.mul(Fp.sqr(x), x), 4n);
  let y = root(() => Fp.sqrt(right));
  if (isLarger(y) !== larger) y = Fp.neg(y);
  const p = Point1.fromAffine({ x, y });
  if (!p.isTorsionFree()) throw new PointError("not in the subgroup");
  return p;
}

/** Reads a point of G2 from 96 bytes. Throws PointError. */
export function readG2(data: Uint8Array): G2 {
  const { larger, coordinates } = unpack(data);
  const x = Fp2.create({ c0: coordinates[1]!, c1: coordinates[0]! });
  const right = Fp2.add(Fp2.mul(Fp2.sqr(x), x), four2);
  let y: Element2 = root(() => Fp2.sqrt(right));
  if (isLarger(y.c1 === 0n ? y.c0 : y.c1) !== larger) y = Fp2.neg(y);
  const p = Point2.fromAffine({ x, y });
  if (!p.isTorsionFree()) throw new PointError("not in the subgroup");
  return p;
}

function root<T>(sqrt: () => T): T {
  try {
    return sqrt();
  } catch {
    throw new PointError("not on the curve");
  }
}
