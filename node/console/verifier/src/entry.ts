// Ledger entries (docs/protocol.md section 4), as far as a verifier reads them. Others are kept as unknown.

import { compareText, concat, fromBase64, isHex, utf8, utf8Text } from "./bytes.js";
import { order } from "./field.js";
import { JsonError, compactText } from "./json.js";
import * as shape from "./shape.js";
import { type Of, decodeStrict, list, map, optional, struct, text, unsigned } from "./shape.js";
import { isColumnName, isMemberName, isName, isText } from "./text.js";
import { parseDate, parseTime } from "./time.js";

/** The largest entry in bytes. */
export const maxEntry = 65535;
/** How many nullifiers a claims batch holds. */
export const claims = 64;
const maxApprovals = 8;

const approval = struct({ key: text, signature: text });
export type Approval = Of<typeof approval>;

const column = struct({
  name: text,
  type: text,
  scale: optional(shape.signed),
  codes: optional(list(text)),
  title: optional(text),
  unit: optional(text),
});
export type Column = Of<typeof column>;

const terms = struct({
  requester: text,
  group: optional(text),
  holder: text,
  policy: text,
  policy_version: shape.signed,
  policy_index: unsigned,
  purpose: text,
  legal_basis: text,
  on_behalf_of: optional(text),
  disclose: optional(list(text)),
  scope: optional(text),
  budget_commitment: text,
  as_of_from: optional(text),
  as_of_to: optional(text),
  expires: text,
});
export type Terms = Of<typeof terms>;

const shapes = {
  "dataset.declare": struct({ dataset: text, title: text, scheme: text, columns: list(column), time: text }),
  "dataset.epoch": struct({ dataset: text, declare: unsigned, epoch: unsigned, root: text, time: text }),
  "policy.publish": struct({
    policy: text,
    version: shape.signed,
    dataset: text,
    declare: unsigned,
    title: text,
    question: text,
    source: struct({ language: text, text }),
    template: shape.raw,
    time: text,
    approvals: optional(list(approval)),
  }),
  "policy.retire": struct({ policy: text, version: shape.signed, reason: text, time: text }),
  "agreement.accept": struct({
    offer: struct({ origin: text, index: unsigned, hash: text }),
    terms,
    time: text,
    approvals: optional(list(approval)),
  }),
  "agreement.revoke": struct({ accept: unsigned, reason: text, time: text }),
  "group.define": struct({ group: text, version: shape.signed, members: list(text), time: text, approvals: optional(list(approval)) }),
  "receipts.batch": struct({ beat: unsigned, root: text, epochs: optional(map(unsigned)), time: text }),
  "scope.open": struct({ program: text, period: text, key_commitment: text, opens: text, closes: text, time: text }),
  "scope.close": struct({ scope: unsigned, reason: text, time: text }),
  "claims.batch": struct({ beat: unsigned, nullifiers: list(text), time: text }),
};
type Shapes = typeof shapes;
export type Kind = keyof Shapes;
export type Body<K extends Kind> = Of<Shapes[K]>;

/** A decoded entry. */
export type Entry = { [K in Kind]: { kind: K; body: Body<K> } }[Kind] | { kind: "unknown" };
export type Approved = Extract<Entry, { kind: "policy.publish" | "agreement.accept" | "group.define" }>;

/** An entry that is malformed. */
export class EntryError extends Error {}

/** Reads an entry. Kinds and versions that a verifier does not read are "unknown"; malformed ones throw EntryError. */
export function decodeEntry(raw: Uint8Array): Entry {
  if (raw.length > maxEntry) throw new EntryError("too long");
  const all = utf8Text(raw);
  const m = all === undefined ? null : /^\{"kind":"([a-z0-9._-]{1,64})","v":([1-9][0-9]{0,5})([,}])/.exec(all);
  if (!m) throw new EntryError("does not start with its kind and version");
  const kind = m[1]!;
  const body = "{" + all!.slice(m[0].length - (m[3] === "}" ? 1 : 0));
  try {
    if (m[2] !== "1" || !Object.hasOwn(shapes, kind)) {
      decodeStrict(raw, maxEntry, shape.raw);
      return { kind: "unknown" };
    }
    const decoded = decodeStrict(utf8(body), maxEntry, shapes[kind as Kind] as shape.Shape<unknown>);
    const entry = { kind, body: decoded } as Exclude<Entry, { kind: "unknown" }>;
    if (kind === "claims.batch" && shapes["claims.batch"].encode(decoded as Body<"claims.batch">) !== body) throw new EntryError("not in canonical form");
    check(entry);
    return entry;
  } catch (e) {
    if (e instanceof JsonError) throw new EntryError(`${kind}: ${e.message}`);
    throw e;
  }
}

/** An approved entry's canonical form without its approvals: what approvers sign, after label and origin. */
export function withoutApprovals(e: Approved): string {
  const s = shapes[e.kind] as shape.Shape<unknown>;
  const template = "template" in e.body ? { template: compactText(e.body.template) } : {};
  return `{"kind":"${e.kind}","v":1,` + s.encode({ ...e.body, ...template, approvals: null }).slice(1);
}

/** A field element other than 0 in its one spelling. */
export function isElement(s: string): boolean {
  return isHex(s, 32) && BigInt("0x" + s) < order && BigInt("0x" + s) !== 0n;
}

function must(ok: boolean, what: string): void {
  if (!ok) throw new EntryError(what);
}

function time(s: string): void {
  must(parseTime(s) !== undefined, "time");
}

function version(n: number): void {
  must(n >= 1 && n <= 1_000_000, "version");
}

function distinct(all: string[]): boolean {
  return new Set(all).size === all.length;
}

function check(e: Exclude<Entry, { kind: "unknown" }>): void {
  const b = e.body;
  time(b.time);
  switch (e.kind) {
    case "dataset.declare":
      return checkDeclare(e.body);
    case "dataset.epoch":
      return must(isName(e.body.dataset) && isHex(e.body.root, 32), "epoch");
    case "policy.publish":
      return checkPublish(e.body);
    case "policy.retire":
      version(e.body.version);
      return must(isName(e.body.policy) && isText(e.body.reason, 0, 4096), "retire");
    case "agreement.accept":
      must(isText(e.body.offer.origin, 1, 256) && isHex(e.body.offer.hash, 32), "offer");
      checkTerms(e.body.terms);
      return checkApprovals(e.body.approvals);
    case "agreement.revoke":
    case "scope.close":
      return must(isText(e.body.reason, 0, 4096), "reason");
    case "group.define":
      return checkGroup(e.body);
    case "receipts.batch":
      must(isHex(e.body.root, 32) && (e.body.epochs?.size ?? 0) <= 256, "batch");
      return must([...(e.body.epochs?.keys() ?? [])].every(isName), "epochs");
    case "scope.open":
      must(isName(e.body.program) && isName(e.body.period) && isElement(e.body.key_commitment), "scope");
      time(e.body.opens);
      time(e.body.closes);
      return must(e.body.opens < e.body.closes, "closes");
    case "claims.batch": {
      const n = e.body.nullifiers ?? [];
      return must(n.length === claims && n.every(isElement) && distinct(n), "nullifiers");
    }
  }
}

function checkDeclare(b: Body<"dataset.declare">): void {
  must(isName(b.dataset) && isText(b.title, 1, 256) && isName(b.scheme), "declare");
  const columns = b.columns ?? [];
  must(columns.length >= 1 && columns.length <= 16 && distinct(columns.map((c) => c.name)), "columns");
  for (const c of columns) {
    const codes = c.codes ?? [];
    must(isColumnName(c.name), "columns.name");
    must(["int", "decimal", "date", "bool", "enum", "code", "text"].includes(c.type), "columns.type");
    must(c.scale >= 0 && c.scale <= 9 && (c.scale === 0 || c.type === "decimal"), "columns.scale");
    must(codes.length > 0 === (c.type === "enum") && codes.length <= 256 && distinct(codes), "columns.codes");
    must(codes.every((s) => isText(s, 1, 64)) && isText(c.title, 0, 256) && isText(c.unit, 0, 64), "columns");
  }
}

function checkPublish(b: Body<"policy.publish">): void {
  version(b.version);
  must(isName(b.policy) && isName(b.dataset) && isText(b.title, 1, 256) && isText(b.question, 1, 4096), "policy");
  must(isText(b.source.language, 1, 64) && isText(b.source.text, 0, 16384), "source");
  must(b.template[0] === "{", "template");
  checkApprovals(b.approvals);
}

function checkTerms(t: Terms): void {
  version(t.policy_version);
  must(isMemberName(t.requester) && isMemberName(t.holder) && t.requester !== t.holder, "terms.holder");
  must((t.group === "" || isName(t.group)) && isName(t.policy) && (t.scope === "" || isName(t.scope)), "terms names");
  must(isText(t.purpose, 1, 4096) && isText(t.legal_basis, 1, 4096) && isText(t.on_behalf_of, 0, 256), "terms texts");
  const columns = t.disclose ?? [];
  must(columns.length <= 16 && columns.every(isColumnName) && distinct(columns), "terms.disclose");
  must(isHex(t.budget_commitment, 32), "terms.budget_commitment");
  for (const day of [t.as_of_from, t.as_of_to]) must(day === "" || parseDate(day) !== undefined, "terms.as_of");
  must(t.as_of_to === "" || (t.as_of_from !== "" && t.as_of_to >= t.as_of_from), "terms.as_of_to");
  time(t.expires);
}

function checkGroup(b: Body<"group.define">): void {
  version(b.version);
  const m = b.members;
  must(isName(b.group) && m !== null && m.length <= 256 && m.every(isMemberName), "group");
  must(m!.every((name, i) => i === 0 || m![i - 1]! < name), "members");
  checkApprovals(b.approvals);
}

function checkApprovals(all: Approval[] | null): void {
  const a = all ?? [];
  must(a.length <= maxApprovals, "approvals");
  must(a.every((x) => fromBase64(x.key)?.length === 32 && fromBase64(x.signature)?.length === 64), "approvals");
  must(a.every((x, i) => i === 0 || compareText(a[i - 1]!.key, x.key) < 0), "approvals.key");
}

/** What approvers of an entry sign: label, the origin of its log, and the entry without approvals. */
export function approvalMessage(origin: string, e: Approved): Uint8Array {
  return concat(utf8(`grille/v1/approval\n${origin}\n`), utf8(withoutApprovals(e)));
}

