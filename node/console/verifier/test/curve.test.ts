import assert from "node:assert/strict";
import { test } from "node:test";
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { bigEndian } from "../src/bytes.js";
import { PointError, readG1, readG2 } from "../src/curve.js";
import { order } from "../src/field.js";
import { publicSum } from "../src/sum.js";

const { Fp, Fp2 } = bls12_381.fields;
const { Point: Point1 } = bls12_381.G1;
const { Point: Point2 } = bls12_381.G2;

const compressed = (x: bigint, flags: number) => {
  const out = bigEndian(x, 48);
  out[0]! |= flags;
  return out;
};

test("points of G1 and G2 are read as they are written", () => {
  for (const k of [1n, 2n, 3n, 0xdeadbeefn, order - 1n]) {
    const p = Point1.BASE.multiply(k);
    assert.ok(readG1(p.toBytes(true)).equals(p));
    assert.ok(readG1(p.negate().toBytes(true)).equals(p.negate()));
    const q = Point2.BASE.multiply(k);
    assert.ok(readG2(q.toBytes(true)).equals(q));
    assert.ok(readG2(q.negate().toBytes(true)).equals(q.negate()));
  }
});

/** The x of points on the curve that are not in the subgroup. */
function outside(): bigint {
  for (let x = 1n; ; x++) {
    try {
      const y = Fp.sqrt(Fp.add(Fp.pow(x, 3n), 4n));
      if (!Point1.fromAffine({ x, y }).isTorsionFree()) return x;
    } catch {
      // not on the curve
    }
  }
}

function offCurve(): bigint {
  for (let x = 1n; ; x++) {
    try {
      Fp.sqrt(Fp.add(Fp.pow(x, 3n), 4n));
    } catch {
      return x;
    }
  }
}

test("what is no point of G1 is refused", () => {
  const base = Point1.BASE.toBytes(true);
  const x = Point1.BASE.toAffine().x;
  const cases: [string, Uint8Array, RegExp][] = [
    ["infinity", compressed(0n, 0xc0), /infinity/],
    ["infinity with a sign", compressed(0n, 0xe0), /infinity/],
    ["infinity with a coordinate", compressed(x, 0xc0), /infinity/],
    ["not compressed", compressed(x, 0x00), /compressed/],
    ["zeros", new Uint8Array(48), /compressed/],
    ["off the curve", compressed(offCurve(), 0x80), /curve/],
    ["wrong subgroup", compressed(outside(), 0x80), /subgroup/],
    ["wrong subgroup, other y", compressed(outside(), 0xa0), /subgroup/],
    ["x = p", compressed(Fp.ORDER, 0x80), /below p/],
    ["x + p", compressed(1n + Fp.ORDER, 0x80), /below p/],
    ["all ones", new Uint8Array(48).fill(0xff), /infinity/],
  ];
  for (const [name, data, want] of cases) assert.throws(() => readG1(data), (e) => e instanceof PointError && want.test(e.message), name);
  assert.ok(readG1(base).equals(Point1.BASE));
});

test("what is no point of G2 is refused", () => {
  const base = Point2.BASE.toBytes(true);
  const change = (f: (d: Uint8Array) => void) => {
    const d = base.slice();
    f(d);
    return d;
  };
  const beyond = bigEndian(Fp.ORDER, 48);
  const cases: [string, Uint8Array, RegExp][] = [
    ["infinity", change((d) => (d.fill(0), (d[0] = 0xc0))), /infinity/],
    ["not compressed", change((d) => (d[0]! &= 0x7f)), /compressed/],
    ["c0 = p", change((d) => d.set(beyond, 48)), /below p/],
    ["c1 = p", change((d) => (d.set(beyond), (d[0]! |= 0x80))), /below p/],
  ];
  for (const [name, data, want] of cases) assert.throws(() => readG2(data), (e) => e instanceof PointError && want.test(e.message), name);
  const seen = new Set<string>();
  for (let x = 1n; seen.size < 2; x++) {
    const data = change((d) => (d.fill(0), d.set(bigEndian(x, 48), 48), (d[0] = 0x80)));
    assert.throws(
      () => readG2(data),
      (e) => e instanceof PointError && seen.add(e.message).size > 0,
    );
  }
  assert.deepEqual([...seen].sort(), ["not in the subgroup", "not on the curve"]);
  assert.ok(Fp2.eql(readG2(base).toAffine().x, Point2.BASE.toAffine().x));
});

test("the sum of the public inputs is the sum of products", () => {
  const bases = Array.from({ length: 40 }, (_, i) => Point1.BASE.multiply(BigInt(i * i + 7)));
  const edges = [0n, 1n, 2n, -1n, -2n, order - 1n, order, order + 1n, 1n << 63n, -(1n << 63n), (1n << 64n) - 1n, 1n << 64n, -(1n << 64n), 1n << 127n];
  edges.push(order / 2n, order / 2n + 1n, 31n, 32n, 33n, -1024n, 0x1234567890abcdefn, (1n << 253n) - 3n, 7n, 7n, 7n, -7n);
  const naive = (values: bigint[]) =>
    values.reduce((sum, v, i) => {
      const k = ((v % order) + order) % order;
      return k === 0n ? sum : sum.add(bases[i]!.multiply(k));
    }, Point1.ZERO);
  for (let shift = 0; shift < 5; shift++) {
    const values = bases.map((_, i) => edges[(i * 7 + shift) % edges.length]!);
    assert.ok(publicSum((i) => bases[i]!, values).equals(naive(values)));
  }
  assert.ok(publicSum((i) => bases[i]!, new Array<bigint>(40).fill(0n)).is0());
  assert.ok(publicSum(() => Point1.BASE, [5n, -5n]).is0());
  for (const v of edges) assert.ok(publicSum(() => bases[3]!, [0n, v]).equals(v % order === 0n ? Point1.ZERO : bases[3]!.multiply(((v % order) + order) % order)));
});
