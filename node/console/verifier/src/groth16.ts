// Groth16 over BLS12-381 (https://eprint.iacr.org/2016/260, section 3.2): verifying keys and proofs as docs/statement.md section 8 has them.

import { bls12_381 } from "@noble/curves/bls12-381.js";
import { hex, utf8 } from "./bytes.js";
import { type G1, type G2, PointError, g1Bytes, g2Bytes, readG1, readG2 } from "./curve.js";
import { sha256 } from "./hash.js";
import { headInputs, publicInputs } from "./program.js";
import { publicSum } from "./sum.js";

const { Fp12 } = bls12_381.fields;
const { Point } = bls12_381.G1;

/** Bytes of a proof: A and C in G1, B in G2. */
export const proofSize = 2 * g1Bytes + g2Bytes;

/** Bytes before the points, and in all. */
const headerSize = 16 + 16 + 32 + 4;
const keySize = headerSize + g1Bytes + 3 * g2Bytes + g1Bytes * (publicInputs + 1);

/** How many programs a key remembers the sum of. */
const rememberedPrograms = 1024;

/** Bytes that are no verifying key of the statement. */
export class KeyError extends Error {}

/** A proof that does not hold, or is none. */
export class ProofError extends Error {}

/**
 * A verifying key. That it is the one to rely on, the configuration says by its SHA-256. Reading a point costs about a millisecond, and there are
 * 642 for the public inputs, most of which are 0 in an answer: so each of those is read and checked when it is first used, or by checkAll.
 */
export class VerifyingKey {
  readonly sha256: string;
  readonly kind: string;
  readonly circuit: string;
  private readonly points: Uint8Array; // K, encoded
  private readonly k: (G1 | undefined)[] = [];
  private readonly gammaNegated: G2;
  private readonly deltaNegated: G2;
  private readonly alphaBeta: ReturnType<typeof Fp12.create>;
  private readonly programs = new Map<string, G1>();

  /** Reads a key. Throws KeyError. */
  constructor(data: Uint8Array) {
    if (data.length !== keySize) throw new KeyError(`a verifying key of ${data.length} bytes, want ${keySize}`);
    const magic = utf8("grille-vk/1\n\0\0\0\0");
    if (!magic.every((b, i) => data[i] === b)) throw new KeyError("no verifying key: no magic");
    this.kind = readKind(data.subarray(16, 32));
    this.circuit = hex(data.subarray(32, 64));
    if (new DataView(data.buffer, data.byteOffset).getUint32(64) !== publicInputs) throw new KeyError("another number of public inputs");
    this.sha256 = hex(sha256(data));
    let at = headerSize;
    const next = (n: number) => data.subarray(at, (at += n));
    const alpha = pointOf(() => readG1(next(g1Bytes)));
    const beta = pointOf(() => readG2(next(g2Bytes)));
    this.gammaNegated = pointOf(() => readG2(next(g2Bytes))).negate();
    this.deltaNegated = pointOf(() => readG2(next(g2Bytes))).negate();
    if (this.deltaNegated.equals(this.gammaNegated)) throw new KeyError("delta is gamma: (alpha, beta, -sum) would prove anything");
    this.points = data.slice(at);
    this.alphaBeta = bls12_381.pairing(alpha, beta);
  }

  /** K[i], read when it is first asked for. At infinity its input would be bound by nothing. Throws KeyError. */
  private base(i: number): G1 {
    return (this.k[i] ??= pointOf(() => readG1(this.points.subarray(i * g1Bytes, (i + 1) * g1Bytes))));
  }

  /** Checks the points that no answer has needed so far, too. Throws KeyError. */
  checkAll(): void {
    for (let i = 0; i <= publicInputs; i++) this.base(i);
  }

  /** Checks a proof of the statement with these public inputs, those of the program apart. Throws ProofError. */
  verify(head: bigint[], program: bigint[], proof: Uint8Array): void {
    if (proof.length !== proofSize) throw new ProofError(`a proof of ${proof.length} bytes, want ${proofSize}`);
    let points: { a: G1; b: G2; c: G1 };
    try {
      points = {
        a: readG1(proof.subarray(0, g1Bytes)),
        b: readG2(proof.subarray(g1Bytes, g1Bytes + g2Bytes)),
        c: readG1(proof.subarray(g1Bytes + g2Bytes)),
      };
    } catch (e) {
      if (e instanceof PointError) throw new ProofError(`a point of the proof: ${e.message}`);
      throw e;
    }
    // e(A, B) = e(alpha, beta) e(sum, gamma) e(C, delta)
    const pairs = [
      { g1: points.a, g2: points.b },
      { g1: points.c, g2: this.deltaNegated },
    ];
    const sum = this.sum(head, program);
    if (!sum.is0()) pairs.push({ g1: sum, g2: this.gammaNegated }); // a factor of 1
    if (!Fp12.eql(bls12_381.pairingBatch(pairs), this.alphaBeta)) throw new ProofError("the proof does not show this statement");
  }

  /** K[0] and the sum of the public inputs times the other K, the program's part of it remembered. */
  sum(head: bigint[], program: bigint[]): G1 {
    if (head.length !== headInputs || head.length + program.length !== publicInputs) throw new Error("the number of public inputs");
    return this.base(0).add(publicSum((i) => this.base(1 + i), head)).add(this.programSum(program));
  }

  private programSum(program: bigint[]): G1 {
    const name = program.join();
    let sum = this.programs.get(name);
    if (sum) {
      this.programs.delete(name); // so that it stands last again
    } else {
      sum = Point.fromAffine(publicSum((i) => this.base(1 + headInputs + i), program).toAffine());
      if (this.programs.size >= rememberedPrograms) this.programs.delete(this.programs.keys().next().value!);
    }
    this.programs.set(name, sum);
    return sum;
  }

  /** Forgets the sums of programs, for measuring. */
  forget(): void {
    this.programs.clear();
  }
}

function pointOf<T>(read: () => T): T {
  try {
    return read();
  } catch (e) {
    if (e instanceof PointError) throw new KeyError(`a verifying key: ${e.message}`);
    throw e;
  }
}

/** Lower-case letters, padded with zeros. */
function readKind(data: Uint8Array): string {
  const m = /^([a-z]+)\0*$/.exec(String.fromCharCode(...data));
  if (!m) throw new KeyError("a verifying key: malformed kind");
  return m[1]!;
}
