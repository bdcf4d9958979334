// The network configuration (docs/protocol.md section 3): who the members are, their keys, who cosigns, and which circuits count.

import { byteLength, compareText, fromBase64, fromHex, hex, isHex, utf8 } from "./bytes.js";
import { sha256 } from "./hash.js";
import { compilePattern, normalise } from "./identifier.js";
import { JsonError } from "./json.js";
import { type VerifierKey, cosignatureType, logType, parseVerifierKey } from "./note.js";
import * as shape from "./shape.js";
import { type Of, decodeCanonical, decodeStrict, list, optional, struct, text } from "./shape.js";
import { hasSpace, isMemberName, isName } from "./text.js";
import { isPrintable } from "./unicode.js";
import { parseTime } from "./time.js";
import { type Tree, maxTreeSize } from "./tlog.js";

/** Bounds of a configuration. */
export const maxConfiguration = 2 << 20;
export const maxMirrors = 31;
const maxMembers = 1024;
const maxFences = 1024;
const maxSchemes = 32;
const maxCircuits = 32;
const maxApproverRules = 12;
const maxApproverKeys = 1024;
const maxSeconds = 86400;

/** A configuration, or a step from one to the next, that is not acceptable. */
export class ConfigurationError extends Error {}

const approvers = struct({ from: shape.unsigned, number: shape.signed, keys: list(text) });
export type Approvers = Of<typeof approvers>;

const member = struct({
  name: text,
  title: text,
  log_key: text,
  mirror_key: text,
  transport_key: text,
  query_key: text,
  endpoint: text,
  mirror: shape.bool,
  approvers: optional(list(approvers)),
});
export type Member = Of<typeof member>;

const scheme = struct({ name: text, pattern: text, normalise: text, example: text });
export type Scheme = Of<typeof scheme>;

const circuit = struct({
  id: text,
  verifying_key: text,
  kind: text,
  transcript: optional(text),
  contributors: optional(shape.signed),
  since: optional(text),
  until: optional(text),
});
export type Circuit = Of<typeof circuit>;

const fence = struct({ origin: text, member: text, log_key: text, size: shape.quoted64, root: text });
export type Fence = Of<typeof fence>;

export const documentShape = struct({
  instance: text,
  version: shape.signed,
  previous: optional(text),
  mode: text,
  proposer: text,
  quorum: optional(shape.signed),
  members: list(member),
  schemes: list(scheme),
  beat_seconds: shape.signed,
  heartbeat_seconds: shape.signed,
  freshness_seconds: shape.signed,
  circuits: list(circuit),
  fences: optional(list(fence)),
  expires: text,
});
export type Document = Of<typeof documentShape>;

/** How far the clocks of honest members may be apart, in seconds. */
export const clockAllowance = 5;

/** The role and generation in a key's name, INSTANCE/MEMBER/ROLE/GENERATION. */
export function parseKeyName(name: string, instance: string, role: string): { member: string; generation: number } | undefined {
  if (!name.startsWith(instance + "/")) return undefined;
  const m = new RegExp(`^(.+)/${role}/([1-9][0-9]{0,3})$`).exec(name.slice(instance.length + 1));
  return m && isMemberName(m[1]!) ? { member: m[1]!, generation: Number(m[2]) } : undefined;
}

/** The name in a verifier key: what stands before the first plus sign. */
export function keyName(verifierKey: string): string {
  return verifierKey.split("+", 1)[0]!;
}

/** A configuration that is valid by itself. That it is to be trusted, the caller knows: compare its digest. */
export class Configuration {
  readonly digest: string;
  readonly mirrors: Member[];
  readonly quorum: number;
  private readonly byName: Map<string, Member>;
  private readonly keys = new Map<string, VerifierKey>();

  constructor(readonly document: Document) {
    this.mirrors = (document.members ?? []).filter((m) => m.mirror);
    this.quorum = document.quorum || usualQuorum(this.mirrors.length);
    this.byName = new Map((document.members ?? []).map((m) => [m.name, m]));
    validate(document, this);
    this.digest = hex(sha256(this.bytes()));
  }

  /** The canonical document. */
  bytes(): Uint8Array {
    return utf8(spell(this.document));
  }

  get members(): Member[] {
    return this.document.members ?? [];
  }

  member(name: string): Member | undefined {
    return this.byName.get(name);
  }

  /** The origin of a member's log, "" for who is no member. */
  origin(name: string): string {
    const m = this.member(name);
    return m ? keyName(m.log_key) : "";
  }

  /** The member whose current log has an origin. */
  owner(origin: string): Member | undefined {
    const name = parseKeyName(origin, this.document.instance, "log");
    const m = name && this.member(name.member);
    return m && keyName(m.log_key) === origin ? m : undefined;
  }

  fence(origin: string): Fence | undefined {
    return this.document.fences?.find((f) => f.origin === origin);
  }

  scheme(name: string): Scheme | undefined {
    return this.document.schemes?.find((s) => s.name === name);
  }

  circuit(id: string): Circuit | undefined {
    return this.document.circuits?.find((c) => c.id === id);
  }

  /** The raw query key of a member. */
  queryKey(name: string): Uint8Array | undefined {
    const m = this.member(name);
    return m && fromBase64(m.query_key);
  }

  /** The verifier key of a log, current or fenced. */
  logKey(origin: string): VerifierKey | undefined {
    const key = this.owner(origin)?.log_key ?? this.fence(origin)?.log_key;
    return key === undefined ? undefined : this.verifierKey(key, logType);
  }

  mirrorKeys(): VerifierKey[] {
    return this.mirrors.map((m) => this.verifierKey(m.mirror_key, cosignatureType));
  }

  verifierKey(key: string, type: number): VerifierKey {
    let parsed = this.keys.get(key) ?? parseVerifierKey(key, type);
    if (!parsed) throw new ConfigurationError("a verifier key");
    this.keys.set(key, parsed);
    return parsed;
  }

  /** How far the times of one event may be apart, in seconds. */
  get window(): number {
    return this.document.freshness_seconds + clockAllowance;
  }
}

function spell(d: Document): string {
  return documentShape.encode(d, "") + "\n";
}

/** Reads a configuration exactly as it was built. */
export function parseConfiguration(data: Uint8Array): Configuration {
  try {
    return new Configuration(decodeCanonical(data, maxConfiguration, documentShape, spell));
  } catch (e) {
    if (e instanceof JsonError) throw new ConfigurationError(`parsing a network configuration: ${e.message}`);
    throw e;
  }
}

/** floor(2n/3) + 1: any two quorums share more than a third of the mirrors. */
export function usualQuorum(mirrors: number): number {
  return Math.floor((2 * mirrors) / 3) + 1;
}

/** The tree that a fence ends at. */
export function fenceTree(f: Fence): Tree {
  return { size: Number(f.size), root: fromHex(f.root) };
}

const emptyRoot = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Whether size and root can be those of a tree. */
export function isTree(size: bigint, root: string): boolean {
  return size >= 0n && size <= BigInt(maxTreeSize) && isHex(root, 32) && (size !== 0n || root === emptyRoot);
}

function must(ok: boolean, field: string): void {
  if (!ok) throw new ConfigurationError(`unacceptable configuration: ${field}`);
}

function ascending(names: string[]): boolean {
  return names.every((n, i) => i === 0 || compareText(names[i - 1]!, n) < 0);
}

function validate(d: Document, c: Configuration): void {
  must(/^[a-z0-9][a-z0-9.-]{0,63}$/.test(d.instance), "instance");
  must(d.version >= 1 && d.version <= 1 << 20, "version");
  must(d.version === 1 ? d.previous === "" : isHex(d.previous, 32), "previous");
  must(d.mode === "demo" || d.mode === "production", "mode");
  must(parseTime(d.expires) !== undefined, "expires");
  for (const n of [d.beat_seconds, d.heartbeat_seconds, d.freshness_seconds]) must(n >= 1 && n <= maxSeconds, "intervals");
  must(d.freshness_seconds > d.heartbeat_seconds, "freshness_seconds");
  validateMembers(d, c);
  validateSchemes(d.schemes ?? []);
  validateCircuits(d);
}

function validateMembers(d: Document, c: Configuration): void {
  const members = d.members ?? [];
  must(members.length >= 1 && members.length <= maxMembers, "members");
  must(ascending(members.map((m) => m.name)), "members.name");
  must(new Set(members.map((m) => m.endpoint)).size === members.length, "members.endpoint");
  const keys = members.flatMap((m) => [...memberKeys(m, d.instance).values()]);
  let count = 0;
  for (const m of members) for (const r of m.approvers ?? []) count += Math.max(1, r.keys?.length ?? 0);
  must(count <= maxApproverKeys, "members.approvers.keys");
  keys.push(...validateFences(d, c));
  must(new Set(keys).size === keys.length, "a key that stands twice");
  const n = c.mirrors.length;
  must(n >= 1 && n <= maxMirrors && (d.mode !== "production" || n >= 4), "members.mirror");
  must(d.quorum === 0 || (d.quorum >= usualQuorum(n) && d.quorum <= n), "quorum");
  must(c.member(d.proposer) !== undefined, "proposer");
}

/** The raw keys of a member in hex, by where they stand; approvers' keys by themselves, so that one may stand in several rules. */
export function memberKeys(m: Member, instance: string): Map<string, string> {
  must(isMemberName(m.name), "members.name");
  must(m.title !== "" && byteLength(m.title) <= 256 && isPrintable(m.title), "members.title");
  must(isEndpoint(m.endpoint), "members.endpoint");
  const out = new Map<string, string>();
  for (const [field, key, type, role] of [
    ["log_key", m.log_key, logType, "log"],
    ["mirror_key", m.mirror_key, cosignatureType, "mirror"],
  ] as const) {
    const parsed = parseVerifierKey(key, type);
    must(parsed !== undefined && parseKeyName(parsed.name, instance, role)?.member === m.name, `members.${field}`);
    out.set(field, hex(parsed!.key));
  }
  for (const [field, key] of [["transport_key", m.transport_key], ["query_key", m.query_key]] as const) {
    const raw = fromBase64(key);
    must(raw?.length === 32, `members.${field}`);
    out.set(field, hex(raw!));
  }
  for (const key of approverKeys(m)) out.set(`approvers ${key}`, hex(fromBase64(key)!));
  return out;
}

function approverKeys(m: Member): string[] {
  const rules = m.approvers ?? [];
  must(rules.length <= maxApproverRules, "members.approvers");
  rules.forEach((r, i) => {
    const keys = r.keys;
    must(r.from <= maxTreeSize && (i === 0 || r.from > rules[i - 1]!.from), "members.approvers.from");
    must(keys !== null && keys.length <= 8 && r.number >= 0 && r.number <= keys.length, "members.approvers.number");
    must((r.number === 0) === (keys!.length === 0), "members.approvers.number");
    must(keys!.every((k) => fromBase64(k)?.length === 32) && ascending(keys!), "members.approvers.keys");
  });
  return rules.flatMap((r) => r.keys ?? []);
}

/** host:port, where a host with colons stands in brackets. */
function isEndpoint(s: string): boolean {
  const m = /^(?:\[([^[\]]*)\]|([^[\]:]*)):([1-9][0-9]{0,4})$/u.exec(s);
  const host = m?.[1] ?? m?.[2] ?? "";
  return m !== null && host !== "" && Number(m[3]) <= 65535 && byteLength(s) <= 255 && !hasSpace(host) && isPrintable(host);
}

function validateFences(d: Document, c: Configuration): string[] {
  const fences = d.fences ?? [];
  must(fences.length <= maxFences && ascending(fences.map((f) => f.origin)), "fences");
  return fences.map((f) => {
    const name = parseKeyName(f.origin, d.instance, "log");
    const key = parseVerifierKey(f.log_key, logType);
    must(name !== undefined && f.member === name.member && isTree(f.size, f.root), "fences");
    must(key?.name === f.origin, "fences.log_key");
    const now = parseKeyName(c.origin(f.member), d.instance, "log");
    must(now === undefined || now.generation > name!.generation, "fences.origin");
    return hex(key!.key);
  });
}

function validateSchemes(schemes: Scheme[]): void {
  must(schemes.length <= maxSchemes && ascending(schemes.map((s) => s.name)), "schemes");
  for (const s of schemes) {
    must(isName(s.name) && (s.normalise === "upper" || s.normalise === "none"), "schemes");
    must(s.pattern !== "" && byteLength(s.pattern) <= 256, "schemes.pattern");
    const pattern = compilePattern(s.pattern);
    must(pattern !== undefined, "schemes.pattern");
    must(byteLength(s.example) <= 256 && pattern!(normalise(s.normalise, s.example)), "schemes.example");
  }
}

function validateCircuits(d: Document): void {
  const circuits = d.circuits ?? [];
  must(circuits.length <= maxCircuits && ascending(circuits.map((c) => c.id)), "circuits");
  for (const c of circuits) {
    must(isHex(c.id, 32) && isHex(c.verifying_key, 32), "circuits");
    must(["development", "demo", "ceremony"].includes(c.kind), "circuits.kind");
    must(d.mode === "demo" || c.kind === "ceremony", "circuits.kind");
    if (c.kind === "development") {
      must(c.transcript === "" && c.contributors === 0, "circuits.transcript");
    } else {
      must(isHex(c.transcript, 32), "circuits.transcript");
      must(c.contributors >= (d.mode === "production" ? 2 : 1) && c.contributors <= maxMembers, "circuits.contributors");
    }
    const since = c.since === "" ? parseTime("0001-01-01T00:00:00Z") : parseTime(c.since);
    const until = c.until === "" ? Infinity : parseTime(c.until);
    must(since !== undefined && until !== undefined && since < until, "circuits.since");
  }
}

/** Whether an answer of a time may be under a circuit. */
export function inForce(c: Circuit, at: number): boolean {
  return (c.since === "" || at >= parseTime(c.since)!) && (c.until === "" || at < parseTime(c.until)!);
}

/** Reads JSON by a shape, as a configuration error. */
export function readStrict<T>(data: Uint8Array, max: number, of: shape.Shape<T>): T {
  try {
    return decodeStrict(data, max, of);
  } catch (e) {
    if (e instanceof JsonError) throw new ConfigurationError(e.message);
    throw e;
  }
}
