// Bundles that are changed and signed again with the keys of the vectors, which follow from labels: so that changes reach the checks behind
// signatures and Merkle roots. What a change cannot follow is the proof.

import { ed25519 } from "@noble/curves/ed25519.js";
import { base64, bigEndian, concat, hex, toNumber, utf8 } from "../src/bytes.js";
import { type Bundle, type Included, encodeBundle } from "../src/bundle.js";
import { digest, labels } from "../src/envelope.js";
import { sha256 } from "../src/hash.js";
import { parseCheckpoint, signatureLine } from "../src/note.js";
import { dayOf, formatTime, parseDate, parseTime } from "../src/time.js";
import { leafHash, rootOf } from "../src/tlog.js";

export type Random = (n: number) => number;
type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Fields = { [name: string]: Json };

const instance = "vectors.grille";
const secret = (label: string) => sha256(utf8(`grille test vectors ${label}`));

function envelope(body: string, member: string, label: string): { body: string; signature: string } {
  return { body, signature: base64(ed25519.sign(utf8(`${label}\n${body}`), secret(`query ${member}`))) };
}

const pick = <T>(from: T[], random: Random): T => from[random(from.length)]!;
const seconds = [1, -1, 5, -5, 6, -6, 30, 35, -35, 36, -36, 60, 120, 3600, -3600, 86400, -86400, 366 * 86400, -366 * 86400];
const words = ["", "GOV/civil", "GOV/benefits", "GOV/health", "GOV/tax", "GOV/nobody", "people", "others", "aged", "winter-fuel", "2026", "partners", "region", "income", "x"];
const numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -1, 59, 60, 3600, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 511, 512, 513];

/** Another value in the place of one. */
function other(v: Json, random: Random): Json {
  if (random(12) === 0) return pick<Json>([null, "", 0, [], {}, true, "x"], random);
  switch (typeof v) {
    case "boolean":
      return !v;
    case "number":
      return random(2) ? v + pick([1, -1, 2, -2, 60, -60], random) : pick(numbers, random);
    case "string":
      return otherText(v, random);
  }
  if (Array.isArray(v)) {
    const how = random(3);
    return how === 0 ? v.slice(1) : how === 1 ? [...v].reverse() : [...v, v.length ? pick(v, random) : "x"];
  }
  return v === null ? 1 : v;
}

function otherText(v: string, random: Random): Json {
  const time = parseTime(v);
  if (time !== undefined && random(6)) return formatTime(time + pick(seconds, random));
  const day = parseDate(v);
  if (day !== undefined && random(6)) return dayOf(day + pick([1, -1, 30, -30, 365, -365], random) * 86400);
  if (/^-?[0-9]+$/.test(v) && random(4)) return String(BigInt(v) + BigInt(pick([1, -1, 10, -(2 ** 53)], random)));
  if (random(2)) return pick(words, random);
  const k = random(v.length + 1);
  return v.slice(0, k) + pick([..."0123456789abcdefghZ/._- é"], random) + v.slice(k + random(2));
}

/** Changes one value somewhere in a document: it may go, come, or be another. */
function change(doc: Json, random: Random): Json {
  if (doc === null || typeof doc !== "object" || (random(5) === 0 && Array.isArray(doc))) return other(doc, random);
  const names = Object.keys(doc);
  if (names.length === 0) return other(doc, random);
  const name = pick(names, random);
  if (Array.isArray(doc)) return doc.map((v, i) => (String(i) === name ? change(v, random) : v));
  const copy: Fields = { ...doc };
  const how = random(16);
  if (how === 0) delete copy[name];
  else if (how === 1) copy[pick(["more", "scope", "as_of", "epoch", "next", "group", "case", "disclose", "dates", "exempt", "approvals"], random)] = pick<Json>([1, "2026-02-01", "x", null, []], random);
  else copy[name] = change(doc[name]!, random);
  return copy;
}

/** Changes one value of a document. */
export function changeText(text: string, random: Random): string {
  return JSON.stringify(change(JSON.parse(text) as Json, random));
}

/** A tree of a size that holds entries, and leaves of no meaning elsewhere. */
class Tree {
  private readonly leaves: Uint8Array[];
  constructor(size: number, entries: Included[]) {
    const known = new Map(entries.map((e) => [e.index, leafHash(utf8(e.body))]));
    this.leaves = Array.from({ length: size }, (_, i) => known.get(i) ?? leafHash(utf8(`leaf ${i}`)));
  }

  include(e: Included): Included {
    return e.index < this.leaves.length ? { ...e, path: this.path(e.index, this.leaves) } : e;
  }

  private path(m: number, leaves: Uint8Array[]): Uint8Array[] {
    if (leaves.length <= 1) return [];
    let k = 1;
    while (2 * k < leaves.length) k *= 2;
    const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
    return m < k ? [...this.path(m, left), rootOf(right)] : [...this.path(m - k, right), rootOf(left)];
  }

  /** A head like another one: the same log, the same mirrors and times, which shift may move. */
  head(like: string, shift: (i: number) => number): string {
    const c = parseCheckpoint(like);
    const member = c.origin.slice(instance.length + 1).split("/log/")[0]!;
    const text = `${c.origin}\n${this.leaves.length}\n${base64(rootOf(this.leaves))}\n`;
    const lines = c.signatures.map((s, i) => {
      if (s.name === c.origin) return signatureLine(s.name, s.id, ed25519.sign(utf8(text), secret(`log ${member}`)));
      const at = toNumber(s.body.subarray(0, 8)) + BigInt(shift(i));
      const mirror = s.name.slice(instance.length + 1).split("/mirror/")[0]!;
      const signature = ed25519.sign(utf8(`cosignature/v1\ntime ${at}\n${text}`), secret(`mirror ${mirror}`));
      return signatureLine(s.name, s.id, concat(bigEndian(at, 8), signature));
    });
    return `${text}\n${lines.join("")}`;
  }
}

/** A copy with one change, or none, signed again. Undefined where the change makes a log too large to build. */
export function resigned(b: Bundle, what: "nothing" | Part, random: Random): Uint8Array | undefined {
  const on = (part: Part, text: string) => (what === part ? changeText(text, random) : text);
  const out: Bundle = { ...b, entries: (b.entries ?? []).map((e) => ({ ...e })) };
  const member = (text: string, name: string) => String((JSON.parse(text) as Fields)[name] ?? "");
  const query = on("query", b.query.body);
  out.query = query === b.query.body ? b.query : envelope(query, member(query, "requester"), labels.query);
  if (what === "entry") {
    const e = pick(out.entries!, random);
    const [head, body] = [e.body.slice(0, e.body.indexOf('"v":1,') + 6), "{" + e.body.slice(e.body.indexOf('"v":1,') + 6)];
    const changed = changeText(body, random);
    e.body = changed.startsWith("{") && changed !== "{}" ? head + changed.slice(1) : changed;
  }
  let header = on("header", b.header.body);
  if (out.query !== b.query) {
    const old = hex(digest(b.query, labels.query));
    header = header.replace(old, hex(digest(out.query, labels.query)));
  }
  out.header = header === b.header.body ? b.header : envelope(header, member(query, "holder"), labels.header);
  if (what === "entry" || what === "header" || what === "times") {
    const size = (JSON.parse(header) as Fields)["size"];
    if (typeof size !== "number" || size < 1 || size > 200) return undefined;
    const tree = new Tree(size, out.entries!);
    out.entries = out.entries!.map((e) => tree.include(e));
    const moved = random(4);
    out.checkpoint = tree.head(b.checkpoint, (i) => (what === "times" && i === moved ? pick(seconds, random) : 0));
  }
  if (what === "promise") out.promise = envelope(changeText(b.promise.body, random), member(query, "holder"), labels.promise);
  if (what === "claimed") out.disclosed = (b.disclosed ?? []).map((d, i) => (i === 0 ? { ...d, value: String(otherText(d.value, random)) } : d));
  if (what === "claimed" && out.disclosed!.length === 0) out.verdict = pick(["satisfied", "not_satisfied", "no_record", "indeterminate", "x"], random);
  if (what === "receipt" && b.receipt) {
    const batch = { ...b.receipt.batch, body: changeText(b.receipt.batch.body, random).replace(/^\{"v":1,"kind":"receipts.batch"/, '{"kind":"receipts.batch","v":1') };
    const tree = new Tree(parseCheckpoint(b.receipt.checkpoint).tree.size, [batch]);
    out.receipt = { ...b.receipt, batch: tree.include(batch), checkpoint: tree.head(b.receipt.checkpoint, () => 0) };
  }
  return utf8(encodeBundle(out));
}

export const parts = ["query", "header", "entry", "times", "promise", "claimed", "receipt"] as const;
type Part = (typeof parts)[number];

export interface WholeLog {
  origin: string;
  entries: string[];
}

/**
 * A bundle on the log of its header's origin, whose entries random changes; none are if it is undefined. All paths and heads are made anew. Undefined
 * for a bundle whose log is not here, or not as long as its checkpoints say.
 */
export function relogged(b: Bundle, logs: WholeLog[], random: Random | undefined): { data: Uint8Array; logs: WholeLog[] } | undefined {
  const header = JSON.parse(b.header.body) as Fields;
  const log = logs.find((l) => l.origin === header["origin"]);
  const heads = [b.checkpoint, ...(b.receipt ? [b.receipt.checkpoint] : []), ...(b.claim ? [b.claim.checkpoint] : [])];
  if (!log || heads.some((h) => parseCheckpoint(h).tree.size > log.entries.length)) return undefined;
  const entries = log.entries.slice();
  for (let n = random ? 1 + random(2) : 0; n > 0; n--) changeLog(entries, new Set((b.entries ?? []).map((e) => e.index)), random!);
  const at = (checkpoint: string) => {
    const tree = new Tree(parseCheckpoint(checkpoint).tree.size, entries.map((body, index) => ({ index, body, path: [] })));
    return { head: tree.head(checkpoint, () => 0), include: (e: Included) => tree.include({ ...e, body: entries[e.index] ?? e.body }) };
  };
  const main = at(b.checkpoint);
  const out: Bundle = { ...b, checkpoint: main.head, entries: (b.entries ?? []).map(main.include) };
  if (b.receipt) {
    const { head, include } = at(b.receipt.checkpoint);
    out.receipt = { ...b.receipt, checkpoint: head, batch: include(b.receipt.batch) };
  }
  if (b.claim) {
    const { head, include } = at(b.claim.checkpoint);
    out.claim = { ...b.claim, checkpoint: head, batch: include(b.claim.batch) };
  }
  return { data: utf8(encodeBundle(out)), logs: logs.map((l) => (l === log ? { ...log, entries } : l)) };
}

/** Puts another entry in the place of one: a copy of one that stands elsewhere, with a change or without, or one that ends something. */
function changeLog(entries: string[], named: Set<number>, random: Random): void {
  let i = random(entries.length);
  for (let n = 0; named.has(i) && n < 6; n++) i = random(entries.length); // rarely one that the header names
  const time = "2026-02-20T12:00:00Z";
  const endings = [
    { kind: "policy.retire", v: 1, policy: "aged", version: 1, reason: "", time },
    { kind: "agreement.revoke", v: 1, accept: random(9), reason: "", time },
    { kind: "scope.close", v: 1, scope: 8, reason: "", time },
  ];
  const source = entries[random(entries.length)]!;
  const cut = source.indexOf('"v":1,') + 6;
  entries[i] = [
    () => source,
    () => source.slice(0, cut) + changeText("{" + source.slice(cut), random).slice(1),
    () => JSON.stringify(pick(endings, random)),
    () => entries[i]!.slice(0, entries[i]!.indexOf('"v":1,') + 6) + changeText("{" + entries[i]!.slice(entries[i]!.indexOf('"v":1,') + 6), random).slice(1),
  ][random(4)]!();
}
