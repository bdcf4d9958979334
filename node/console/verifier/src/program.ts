// Policy programs and the public inputs that they are (docs/statement.md sections 3 and 6). The circuit relies on what is checked here.

import { isHex } from "./bytes.js";
import { element, parseElement } from "./field.js";
import { JsonError, type Node } from "./json.js";
import * as shape from "./shape.js";
import { type Of, type Shape, list, optional, quoted64, signed, struct, text } from "./shape.js";
import { allColumns, numericColumns, textColumns } from "./schema.js";

export const verdicts = ["not_satisfied", "satisfied", "indeterminate", "no_record"] as const;
export type Verdict = (typeof verdicts)[number];

const maxLookups = 4;
const maxPairs = 16;
const maxAtoms = 12;
const maxTexts = 4;
const maxGates = 8;
const weightLimit = 512;
const smallest = -(1n << 63n);

/** Public inputs before those of the program, and in all. */
export const headInputs = 7 + 2 * allColumns;
export const publicInputs = 641;

/** A program that is not well formed. */
export class ProgramError extends Error {}

const verdict: Shape<number> = {
  zero: () => 0,
  nillable: false,
  decode: (n) => {
    const v = n.kind === "string" ? verdicts.indexOf(n.value as Verdict) : -1;
    if (v < 0) throw new JsonError("want a verdict");
    return v;
  },
  encode: (v) => `"${verdicts[v]}"`,
  empty: () => false,
};

interface TextTest {
  column: number;
  value: bigint;
}

const textFields = struct({ column: shape.pointer(signed), value: text });
const textTest: Shape<TextTest> = {
  zero: () => ({ column: 0, value: 0n }),
  nillable: false,
  decode: (n: Node, doc: string) => {
    const { column, value } = textFields.decode(n, doc);
    const v = parseElement(value);
    if (column === null || v === undefined || !isHex(value, 32)) throw new JsonError("want a column and an element");
    return { column, value: v };
  },
  encode: (v) => `{"column":${v.column},"value":"${v.value.toString(16).padStart(64, "0")}"}`,
  empty: () => false,
};

const lookup = struct({
  column: signed,
  pairs: list(struct({ key: quoted64, value: quoted64 })),
  default: quoted64,
  miss_is_missing: optional(shape.bool),
});
type Lookup = Of<typeof lookup>;

const atom = struct({
  columns: optional(list(struct({ column: signed, coefficient: shape.signed32 }))),
  lookups: optional(list(struct({ lookup: signed, coefficient: shape.signed32 }))),
  constant: quoted64,
  test: text,
});
export type Atom = Of<typeof atom>;

const gate = struct({
  atoms: optional(list(signed)),
  texts: optional(list(signed)),
  gates: optional(list(signed)),
  threshold: signed,
});
type Gate = Of<typeof gate>;

export const programShape = struct({
  lookups: optional(list(lookup)),
  atoms: optional(list(atom)),
  text_tests: optional(list(textTest)),
  gates: list(gate),
  exempt: optional(list(signed)),
  on_absent: verdict,
  on_missing: verdict,
});
export type Program = Of<typeof programShape>;

function must(ok: boolean, what: string): void {
  if (!ok) throw new ProgramError(`malformed program: ${what}`);
}

const within = (n: number, limit: number) => n >= 0 && n < limit;
const distinct = <T>(all: T[]) => new Set(all).size === all.length;

/** Checks that a program is well formed. Throws ProgramError. */
export function checkProgram(p: Program): void {
  const lookups = p.lookups ?? [];
  const atoms = p.atoms ?? [];
  const texts = p.text_tests ?? [];
  const gates = p.gates ?? [];
  must(lookups.length <= maxLookups && atoms.length <= maxAtoms && texts.length <= maxTexts, "too many parts");
  must(gates.length >= 1 && gates.length <= maxGates, "1 to 8 gates");
  must([0, 3].includes(p.on_absent) && [0, 2].includes(p.on_missing), "on_absent or on_missing");
  for (const l of lookups) {
    const keys = (l.pairs ?? []).map((pair) => pair.key);
    must(within(l.column, numericColumns) && keys.length <= maxPairs && distinct(keys) && !keys.includes(smallest), "lookup");
  }
  for (const a of atoms) checkAtom(a, lookups.length);
  must(texts.every((t) => within(t.column, textColumns)), "text test");
  gates.forEach((g, i) => checkGate(g, atoms.length, texts.length, i));
  const reads = readsOf(p);
  const exempt = p.exempt ?? [];
  must(exempt.every((c, i) => within(c, allColumns) && reads[c]! && (i === 0 || c > exempt[i - 1]!)), "exempt");
  for (const c of exempt) must(outcomeWithout(p, c) !== "arbitrary", "an exempt column is read for its value where nothing asks whether it has one");
}

/** What is known of an atom, a text test or a gate while a column is missing: a constant, nothing about the column, or what depends on it. */
type Truth = "no" | "yes" | "either" | "arbitrary";

/** What is known of the outcome while a column is missing (docs/statement.md section 6). */
function outcomeWithout(p: Program, column: number): Truth {
  const atoms = (p.atoms ?? []).map((a): Truth => {
    const columns = a.columns ?? [];
    if ((a.lookups ?? []).some((t) => p.lookups![t.lookup]!.column === column)) return "arbitrary";
    if (!columns.some((t) => t.column === column)) return "either";
    const asks = columns.length === 1 && (a.lookups ?? []).length === 0 && columns[0]!.coefficient === 1;
    return asks && a.constant === -smallest - 1n && a.test === "ge0" ? "no" : "arbitrary";
  });
  const texts = (p.text_tests ?? []).map((t): Truth => {
    if (numericColumns + t.column !== column) return "either";
    return t.value === 0n ? "yes" : "arbitrary";
  });
  const gates: Truth[] = [];
  for (const g of p.gates ?? []) {
    gates.push(
      reaches(g.threshold, [
        ...(g.atoms ?? []).map((w, i): [number, Truth] => [w, atoms[i]!]),
        ...(g.texts ?? []).map((w, i): [number, Truth] => [w, texts[i]!]),
        ...(g.gates ?? []).map((w, i): [number, Truth] => [w, gates[i]!]),
      ]),
    );
  }
  return gates[gates.length - 1]!;
}

/** What is known of a weighted sum being at least the threshold: arbitrary if what is arbitrary can decide it for some sum of the others. */
function reaches(threshold: number, inputs: [number, Truth][]): Truth {
  let [least, most] = [0, 0];
  let sums = new Set([0]);
  for (const [w, truth] of inputs) {
    if (truth === "arbitrary") [least, most] = [least + Math.min(w, 0), most + Math.max(w, 0)];
    if (truth === "yes") sums = new Set([...sums].map((s) => s + w));
    if (truth === "either") for (const s of [...sums]) sums.add(s + w);
  }
  const all = [...sums];
  if (all.some((s) => s + least < threshold && s + most >= threshold)) return "arbitrary";
  const [above, below] = [all.some((s) => s + least >= threshold), all.some((s) => s + most < threshold)];
  return above && below ? "either" : above ? "yes" : "no";
}

function checkAtom(a: Atom, lookups: number): void {
  must(a.test === "ge0" || a.test === "eq0", "test");
  const columns = a.columns ?? [];
  const results = a.lookups ?? [];
  must(columns.every((t) => within(t.column, numericColumns) && t.coefficient !== 0) && distinct(columns.map((t) => t.column)), "atom columns");
  must(results.every((t) => within(t.lookup, lookups) && t.coefficient !== 0) && distinct(results.map((t) => t.lookup)), "atom lookups");
}

function checkGate(g: Gate, atoms: number, texts: number, before: number): void {
  const [a, t, e] = [g.atoms ?? [], g.texts ?? [], g.gates ?? []];
  must(a.length <= atoms && t.length <= texts && e.length <= before && Math.abs(g.threshold) <= weightLimit, "gate");
  const weights = [...a, ...t, ...e].map(Math.abs);
  must(weights.every((w) => w < weightLimit) && weights.reduce((x, y) => x + y, 0) < weightLimit, "gate weights");
}

function readsOf(p: Program): boolean[] {
  const reads = new Array<boolean>(allColumns).fill(false);
  for (const l of p.lookups ?? []) reads[l.column] = true;
  for (const a of p.atoms ?? []) for (const t of a.columns ?? []) reads[t.column] = true;
  for (const t of p.text_tests ?? []) reads[numericColumns + t.column] = true;
  return reads;
}

/** The public inputs of a well-formed program: small integers, negative ones as such, and elements. */
export function layout(p: Program): bigint[] {
  const used = readsOf(p);
  for (const c of p.exempt ?? []) used[c] = false;
  const out: bigint[] = [...used.map((u) => (u ? 1n : 0n)), BigInt(p.on_absent), BigInt(p.on_missing)];
  for (let i = 0; i < maxLookups; i++) out.push(...lookupLayout(p.lookups?.[i]));
  for (let i = 0; i < maxAtoms; i++) out.push(...atomLayout(p.atoms?.[i]));
  for (let i = 0; i < maxTexts; i++) {
    const t = p.text_tests?.[i];
    out.push(...oneHot(textColumns, t?.column), t?.value ?? 0n);
  }
  const gates = p.gates ?? [];
  const unused = maxGates - gates.length; // gates stand at the end, so that the outcome is always the last
  const earlier = zeros((maxGates * (maxGates - 1)) / 2);
  for (let j = 0; j < maxGates; j++) {
    const g = gates[j - unused];
    out.push(...padded(g?.atoms, maxAtoms), ...padded(g?.texts, maxTexts), BigInt(g?.threshold ?? 1));
    (g?.gates ?? []).forEach((w, k) => (earlier[(j * (j - 1)) / 2 + unused + k] = BigInt(w)));
  }
  return [...out, ...earlier];
}

function zeros(n: number): bigint[] {
  return new Array<bigint>(n).fill(0n);
}

function oneHot(n: number, at: number | undefined): bigint[] {
  const out = zeros(n);
  if (at !== undefined) out[at] = 1n;
  return out;
}

function padded(weights: number[] | null | undefined, n: number): bigint[] {
  const w = (weights ?? []).map(BigInt);
  return [...w, ...zeros(n - w.length)];
}

/** Unused keys are 2^63, which no number of a column equals. */
function lookupLayout(l: Lookup | undefined): bigint[] {
  const pairs = l?.pairs ?? [];
  const keys = new Array<bigint>(maxPairs).fill(1n << 63n);
  const values = zeros(maxPairs);
  pairs.forEach((p, i) => ([keys[i], values[i]] = [p.key, p.value]));
  return [...oneHot(numericColumns, l?.column), ...keys, ...values, l?.default ?? 0n, l?.miss_is_missing ? 1n : 0n];
}

function atomLayout(a: Atom | undefined): bigint[] {
  const columns = zeros(numericColumns);
  const lookups = zeros(maxLookups);
  for (const t of a?.columns ?? []) columns[t.column] = BigInt(t.coefficient);
  for (const t of a?.lookups ?? []) lookups[t.lookup] = BigInt(t.coefficient);
  return [...columns, ...lookups, a?.constant ?? 0n, a?.test === "eq0" ? 1n : 0n];
}

/** The public half of a statement. */
export interface Statement {
  root: bigint;
  tag: bigint;
  context: bigint;
  scope: bigint;
  scopeKeyCommitment: bigint;
  nullifier: bigint;
  verdict: number;
  mask: boolean[];
  disclosed: bigint[];
  program: Program;
}

/** A public value outside the range that its meaning has. */
export class PublicError extends Error {}

/**
 * The public inputs in order: those before the program's, which are elements, and the program's, which may be negative. Throws ProgramError,
 * PublicError.
 */
export function publicVector(s: Statement): { head: bigint[]; program: bigint[] } {
  checkProgram(s.program);
  s.disclosed.forEach((d, i) => {
    if (!s.mask[i] && d !== 0n) throw new PublicError("a column is shown outside the mask");
    if (i < numericColumns && d >= 1n << 64n) throw new PublicError("a disclosed number exceeds 64 bits");
  });
  const head = [s.root, s.tag, s.context, s.scope, s.scopeKeyCommitment, s.nullifier, BigInt(s.verdict)];
  head.push(...s.mask.map((m) => (m ? 1n : 0n)), ...s.disclosed);
  const program = layout(s.program);
  if (head.length !== headInputs || head.length + program.length !== publicInputs) throw new Error("the layout of the public inputs");
  return { head, program };
}

/** A value of the layout as a field element. */
export const toElement = element;
