// The chain of configurations (docs/protocol.md section 3): version 1 is pinned out of band, and each later one follows by a link that a
// quorum of the version before signed.

import { byteLength, compareText, concat, fromBase64, hex, utf8, utf8Text } from "./bytes.js";
import { verifyEd25519 } from "./ed25519.js";
import { JsonError } from "./json.js";
import {
  type Circuit,
  Configuration,
  ConfigurationError,
  type Member,
  documentShape,
  isTree,
  keyName,
  maxConfiguration,
  maxMirrors,
  memberKeys,
  parseConfiguration,
  parseKeyName,
} from "./network.js";
import { NoteError, cosignatureType, logType, parseCheckpoint, verifyOwner } from "./note.js";
import * as shape from "./shape.js";
import { type Of, decodeCanonical, list, optional, pointer, struct, text } from "./shape.js";
import { parseTime } from "./time.js";

const maxChain = 256 << 20;
const maxCheckpoint = 512;

const stand = struct({ origin: text, size: shape.quoted64, root: text });
const vote = struct({ mirror: text, version: shape.signed, digest: text, signature: text });
const handover = struct({ mirror: text, version: shape.signed, digest: text, stands: optional(list(stand)), signature: text });
const proposal = struct({ document: shape.bytes, signature: text });
const link = struct({ proposal, votes: list(vote), handovers: list(handover), checkpoints: optional(list(text)) });
const file = struct({ configuration: pointer(documentShape), links: optional(list(pointer(link))) });
type Link = Of<typeof link>;
type Stand = Of<typeof stand>;

/** A pinned configuration and the versions that follow from it, all verified. */
export class Chain {
  constructor(readonly versions: Configuration[]) {}

  /** The version that was trusted from the start. */
  get pinned(): Configuration {
    return this.versions[0]!;
  }

  /** The newest version. */
  get newest(): Configuration {
    return this.versions[this.versions.length - 1]!;
  }

  byDigest(digest: string): Configuration | undefined {
    return this.versions.find((c) => c.digest === digest);
  }

  /** The approval rules of a log: those of the newest version in which it was a member's. */
  rules(origin: string): Member["approvers"] {
    for (const c of [...this.versions].reverse()) {
      const m = c.owner(origin);
      if (m) return m.approvers;
    }
    return null;
  }
}

/** Reads a file that holds a chain, or a configuration alone. Throws ConfigurationError. */
export function readChain(data: Uint8Array): Chain {
  if (utf8Text(data.subarray(0, 17)) !== '{"configuration":') return new Chain([parseConfiguration(data)]);
  let f: Of<typeof file>;
  try {
    f = decodeCanonical(data, maxChain, file, (v) => file.encode(v) + "\n");
  } catch (e) {
    if (e instanceof JsonError) throw new ConfigurationError(`parsing a configuration chain: ${e.message}`);
    throw e;
  }
  if (!f.configuration) throw new ConfigurationError("a chain without its pinned version");
  const versions = [new Configuration(f.configuration)];
  for (const l of f.links ?? []) {
    if (!l) throw new ConfigurationError("a link that is null");
    versions.push(follow(versions[versions.length - 1]!, l));
  }
  return new Chain(versions);
}

function must(ok: boolean, what: string): void {
  if (!ok) throw new ConfigurationError(`unacceptable step to the next configuration: ${what}`);
}

/** Verifies a link from one version and returns the next. */
function follow(prev: Configuration, l: Link): Configuration {
  const document = l.proposal.document ?? new Uint8Array();
  const proposer = prev.member(prev.document.proposer)!;
  const key = prev.verifierKey(proposer.log_key, logType).key;
  must(document.length <= maxConfiguration, "proposal.document");
  must(signedBy(key, "grille/v1/proposal\n", document, l.proposal.signature), "proposal.signature");
  const next = parseConfiguration(document);
  checkSuccessor(prev, next);
  checkVotes(prev, next, l);
  checkHandovers(prev, next, l);
  return next;
}

function signedBy(key: Uint8Array, label: string, message: Uint8Array, signature: string): boolean {
  const sig = fromBase64(signature);
  return sig !== undefined && verifyEd25519(key, concat(utf8(label), message), sig);
}

function mirrorKey(prev: Configuration, next: Configuration, b: { mirror: string; version: number; digest: string }, what: string): Uint8Array {
  const m = prev.member(b.mirror);
  must(m?.mirror === true, `${what}.mirror`);
  must(b.version === next.document.version && b.digest === next.digest, `${what}.digest`);
  return prev.verifierKey(m!.mirror_key, cosignatureType).key;
}

function ascending(names: string[]): boolean {
  return names.every((n, i) => i === 0 || compareText(names[i - 1]!, n) < 0);
}

function checkVotes(prev: Configuration, next: Configuration, l: Link): void {
  const votes = l.votes ?? [];
  must(votes.length >= prev.quorum && votes.length <= maxMirrors, "votes");
  must(ascending(votes.map((v) => v.mirror)), "vote.mirror");
  for (const v of votes) {
    const message = utf8(vote.encode({ ...v, signature: "" }) + "\n");
    must(signedBy(mirrorKey(prev, next, v, "vote"), "grille/v1/vote\n", message, v.signature), "vote.signature");
  }
}

const standName = (s: Stand) => `${s.origin}\n${s.size}\n${s.root}`;

function checkHandovers(prev: Configuration, next: Configuration, l: Link): void {
  const handovers = l.handovers ?? [];
  must(handovers.length >= prev.quorum && handovers.length <= maxMirrors, "handovers");
  must(ascending(handovers.map((h) => h.mirror)), "handover.mirror");
  const named = new Set<string>();
  for (const h of handovers) {
    const stands = h.stands ?? [];
    must(stands.every((s) => prev.owner(s.origin) && s.size > 0n && isTree(s.size, s.root)), "handover.stands");
    must(ascending(stands.map((s) => s.origin)), "handover.stands.origin");
    const message = utf8(handover.encode({ ...h, signature: "" }) + "\n");
    must(signedBy(mirrorKey(prev, next, h, "handover"), "grille/v1/handover\n", message, h.signature), "handover.signature");
    for (const s of stands) named.add(standName(s));
  }
  const checkpoints = l.checkpoints ?? [];
  must(ascending(checkpoints), "checkpoints");
  for (const c of checkpoints) must(named.delete(standName(verifyStand(prev, c))), "checkpoints");
  must(named.size === 0, "checkpoints");
}

/** Reads a checkpoint that a current log's owner signed, and nobody else, in its one spelling. */
function verifyStand(prev: Configuration, note: string): Stand {
  try {
    const c = parseCheckpoint(note);
    const owner = prev.owner(c.origin);
    must(byteLength(note) <= maxCheckpoint && owner !== undefined && c.signatures.length === 1 && c.tree.size > 0, "checkpoints");
    const own = verifyOwner(c, prev.verifierKey(owner!.log_key, logType));
    must(`${c.text}\n${own.line}` === note, "checkpoints");
    return { origin: c.origin, size: BigInt(c.tree.size), root: hex(c.tree.root) };
  } catch (e) {
    if (e instanceof NoteError) throw new ConfigurationError(`a checkpoint of a link: ${e.message}`);
    throw e;
  }
}

/** Checks that one valid configuration may follow another: rules (1) to (8) of the chain. Throws ConfigurationError. */
export function checkSuccessor(prev: Configuration, next: Configuration): void {
  const [p, n] = [prev.document, next.document];
  must(n.instance === p.instance && n.version === p.version + 1 && n.previous === prev.digest && n.mode === p.mode, "instance, version, previous or mode");
  checkFences(prev, next);
  for (const old of prev.members) {
    const now = next.member(old.name);
    if (now) checkRotation(prev, next, old, now);
    else must(next.fence(keyName(old.log_key)) !== undefined, "a fence for the log of who leaves");
  }
  for (const m of next.members) must(prev.member(m.name) !== undefined || !m.mirror, "a new member that is a mirror");
  checkKeys(prev, next);
  checkOverlap(prev, next);
  for (const s of p.schemes ?? []) must((n.schemes ?? []).some((t) => JSON.stringify(t) === JSON.stringify(s)), "schemes");
  for (const c of p.circuits ?? []) checkCircuit(c, next.circuit(c.id));
  must(parseTime(n.expires)! >= parseTime(p.expires)!, "expires");
}

function checkFences(prev: Configuration, next: Configuration): void {
  const same = (f: object, g: object | undefined) => g !== undefined && Object.entries(f).every(([k, v]) => (g as Record<string, unknown>)[k] === v);
  for (const f of prev.document.fences ?? []) must(same(f, next.fence(f.origin)), "a fence of the version before");
  for (const f of next.document.fences ?? []) {
    if (!prev.fence(f.origin)) must(prev.owner(f.origin)?.log_key === f.log_key, "a fence for a log of the version before");
  }
}

function generation(key: string, instance: string, role: string): number {
  return parseKeyName(keyName(key), instance, role)?.generation ?? 0;
}

function checkRotation(prev: Configuration, next: Configuration, old: Member, now: Member): void {
  const instance = prev.document.instance;
  if (now.log_key !== old.log_key) {
    must(generation(now.log_key, instance, "log") === generation(old.log_key, instance, "log") + 1, "members.log_key");
    must(next.fence(keyName(old.log_key)) !== undefined, "a fence for the log that ends");
  } else {
    const [before, after] = [old.approvers ?? [], now.approvers ?? []];
    must(after.length === before.length || after.length === before.length + 1, "members.approvers");
    must(before.every((r, i) => JSON.stringify(r) === JSON.stringify(after[i])), "members.approvers");
  }
  if (now.mirror_key !== old.mirror_key) {
    must(generation(now.mirror_key, instance, "mirror") === generation(old.mirror_key, instance, "mirror") + 1, "members.mirror_key");
  }
}

/** A key of the version before stays where it is or is used by nobody. */
function checkKeys(prev: Configuration, next: Configuration): void {
  const holders = (c: Configuration) =>
    c.members.flatMap((m) => {
      const keys = memberKeys(m, c.document.instance);
      return [
        [keys.get("log_key")!, `${m.name} ${keyName(m.log_key)}`],
        [keys.get("mirror_key")!, `${m.name} ${keyName(m.mirror_key)}`],
        [keys.get("transport_key")!, `${m.name} transport`],
        [keys.get("query_key")!, `${m.name} query`],
      ] as const;
    });
  const before = new Map(holders(prev));
  for (const [key, holder] of holders(next)) must(!before.has(key) || before.get(key) === holder, "a key that moves");
}

/** Quorums of both versions must share an honest mirror while fewer lie than the weaker version bears. */
function checkOverlap(prev: Configuration, next: Configuration): void {
  const [n, n2] = [prev.mirrors.length, next.mirrors.length];
  const either = n2 + prev.mirrors.filter((m) => !next.member(m.name)?.mirror).length;
  const liars = Math.min(2 * prev.quorum - n, 2 * next.quorum - n2) - 1;
  must(prev.quorum + next.quorum - either > liars, "members.mirror");
}

/** A circuit with keys from a ceremony stays as it is until its end, which may be set and made earlier. */
function checkCircuit(old: Circuit, now: Circuit | undefined): void {
  if (old.kind === "development") return;
  if (!now || now.verifying_key !== old.verifying_key) return must(old.until !== "", "circuits.id");
  must(JSON.stringify({ ...now, until: "" }) === JSON.stringify({ ...old, until: "" }), "circuits");
  must(old.until === "" || (now.until !== "" && now.until <= old.until), "circuits.until");
}

/** A fingerprint for people: half of a digest in groups of four. */
export function fingerprint(digest: string): string {
  return digest.slice(0, 32).match(/.{4}/g)!.join("-");
}
