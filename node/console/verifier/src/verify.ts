// Verification of a bundle (docs/protocol.md section 10): the checks in their order, each with its reason.

import { equalBytes, fromHex, hex, utf8 } from "./bytes.js";
import { type Bundle, type Header, type Included, type Query, decodeBundle, faultOf, headerShape, promiseShape, queryShape } from "./bundle.js";
import { isApproved } from "./approvals.js";
import type { Chain } from "./chain.js";
import { type Body, type Entry, type Kind, type Terms, decodeEntry, isElement } from "./entry.js";
import { digest, isSignedBy, labels, peek } from "./envelope.js";
import { formatElement, parseElement } from "./field.js";
import type { VerifyingKey } from "./groth16.js";
import { first248, hashParts } from "./hash.js";
import { normaliseIdentifier } from "./identifier.js";
import { type Circuit, type Configuration, clockAllowance, fenceTree, inForce } from "./network.js";
import { type Head, NoteError, verifyHead } from "./note.js";
import { poseidon2 } from "./poseidon2.js";
import { type Statement, type Verdict, publicVector, verdicts } from "./program.js";
import { ensure, refusing } from "./reason.js";
import { answerDigest, beatStart, checkPath, deadline, formatDeadline, receiptDigest } from "./receipt.js";
import { Schema, allColumns, reveal } from "./schema.js";
import { parseTemplate, programAt } from "./template.js";
import { dayOf, daySeconds, parseDate, parseTime } from "./time.js";
import { type Tree, checkInclusion, leafHash } from "./tlog.js";
import type { Log, Replica } from "./view.js";

/** What a verifier is given beside a bundle. */
export interface Trust {
  /** Configurations from the pinned one on. */
  chain: Chain;
  /** Verifying keys, of one circuit each. */
  keys: VerifyingKey[];
  /** Whole logs, to show what a header only asserts. */
  replica?: Replica;
}

/** What a verified bundle says. Fields and their order are those of the gateway's report; empty ones are left out. */
export interface Report {
  verdict: Verdict;
  policy: string;
  policy_version: number;
  question: string;
  holder: string;
  requester: string;
  purpose: string;
  legal_basis: string;
  case?: string;
  query_id: string;
  circuit: string;
  key_kind: string;
  as_of: string;
  epoch: number;
  answered_at: string;
  epoch_time: string;
  disclosed?: { column: string; text: string }[];
  cosigners: number;
  currency: string;
  receipt: string;
  answer: string;
  opening_checked: boolean;
  program?: string;
  period?: string;
  nullifier?: string;
  claim?: string;
}

const currencyAsserted = "asserted by the holder";
const currencyBeat = "current as of the last beat, asserted since";
const currencyReplica = "current, checked against the replicated log";
const maxSubject = 256;

/** Verifies a bundle. Throws Refused with its stable reason. */
export function verify(data: Uint8Array, trust: Trust): Report {
  return new Check(refusing("encoding", () => decodeBundle(data)), trust).run();
}

/** Carries what the steps learn from one another. */
class Check {
  private readonly config: Configuration;
  private readonly q: Query;
  private readonly h: Header;
  private circuit!: Circuit;
  private key!: VerifyingKey;
  private head!: Head;
  private answered = 0; // seconds since 1970
  private dataset!: Body<"dataset.declare">;
  private epoch!: Body<"dataset.epoch">;
  private epochTime = 0;
  private policy!: Body<"policy.publish">;
  private agreement!: Body<"agreement.accept">;
  private next?: Body<"dataset.epoch"> | undefined;
  private group?: Body<"group.define"> | undefined;
  private scope?: Body<"scope.open"> | undefined;
  private batch?: Body<"receipts.batch"> | undefined;
  private schema!: Schema;
  private statement!: Statement;
  private disclosed: { column: string; text: string }[] = [];
  private answer!: Uint8Array;
  private currency = currencyAsserted;
  private receiptState = "promised";
  private claimState?: string;

  constructor(
    private readonly b: Bundle,
    private readonly trust: Trust,
  ) {
    ensure("encoding", b.v === 1, "version of the bundle");
    this.q = refusing("encoding", () => peek(b.query, queryShape));
    const fault = faultOf(this.q);
    ensure("encoding", fault === undefined, `the query's ${fault}`);
    this.h = refusing("encoding", () => peek(b.header, headerShape));
    this.config = trust.chain.byDigest(b.configuration.digest) ?? trust.chain.newest;
  }

  run(): Report {
    this.checkConfiguration();
    this.checkCheckpoint();
    this.checkInclusions();
    this.checkReferences();
    this.checkApprovals();
    this.checkQuerySignature();
    this.checkQueryTerms();
    this.checkHeader();
    this.checkTimes();
    this.checkAsOf();
    this.checkAge();
    this.checkInForce();
    this.checkScopeOpen();
    this.checkProgram();
    this.checkProof();
    this.checkPromise();
    this.checkReceipt();
    this.checkClaim();
    const opened = this.checkOpening();
    return this.report(opened);
  }

  private checkConfiguration(): void {
    const { b, q, h } = this;
    const d = this.config.document;
    ensure("configuration", b.configuration.version === d.version && b.configuration.digest === this.config.digest, "another network configuration");
    ensure("configuration", [b.instance, q.instance, h.instance].every((i) => i === d.instance), "another instance");
    ensure("configuration", h.origin === this.config.origin(q.holder), "the header's log is not the holder's");
    const answered = parseTime(h.time);
    ensure("configuration", answered === undefined || answered <= parseTime(d.expires)!, "the network configuration had expired");
    this.checkCircuit(answered);
  }

  /**
   * The configuration names the answer's circuit for its time, and a key is given that it names. A holder may sign under an old version of the
   * configuration for ever, so every later one that is known may have ended the circuit. A time that is none is refused later.
   */
  private checkCircuit(answered: number | undefined): void {
    const circuit = this.config.circuit(this.h.circuit);
    ensure("circuit", circuit !== undefined, "the configuration does not name the circuit of this answer");
    const key = this.trust.keys.find((k) => k.circuit === circuit.id && k.sha256 === circuit.verifying_key);
    ensure("circuit", key !== undefined, "no verifying key given is the one that the configuration names");
    for (const c of answered === undefined ? [] : [this.config, ...this.trust.chain.versions]) {
      const now = c === this.config ? circuit : c.circuit(circuit.id);
      if (!now || c.document.version < this.config.document.version || now.verifying_key !== circuit.verifying_key) continue;
      const over = !inForce(c === this.config ? now : { ...now, since: "" }, answered!);
      ensure("circuit", !over, "the circuit was not in force at the time of the answer, or a later version had ended it");
    }
    this.circuit = circuit;
    this.key = key;
  }

  private checkCheckpoint(): void {
    this.head = refusing("checkpoint", () => headUnder(this.config, this.h.origin, this.b.checkpoint));
    ensure("checkpoint", this.head.tree.size === this.h.size, "the header is of another log size than the checkpoint");
  }

  private checkInclusions(): void {
    let last = -1;
    for (const e of this.b.entries ?? []) {
      ensure("inclusion", e.index > last, "entries are not in rising order");
      last = e.index;
      ensure("inclusion", isIncluded(e, this.head.tree), `entry ${e.index} is not under the checkpoint`);
    }
  }

  /** The header names the entries given, no more and no fewer, and they belong to one another. */
  private checkReferences(): void {
    this.readEntries();
    const { q, h, dataset, epoch, policy } = this;
    const t = this.agreement.terms;
    const same = (ok: boolean, what: string) => ensure("reference", ok, what);
    same(epoch.dataset === dataset.dataset && epoch.declare === h.dataset, "the epoch is of another dataset");
    same(!this.next || this.next.dataset === dataset.dataset, "the next epoch is of another dataset");
    same(policy.dataset === dataset.dataset && policy.declare === h.dataset, "the policy is for another dataset or schema");
    same(policy.policy === q.policy && policy.version === q.policy_version, "the policy is not the one asked");
    same(t.policy_index === h.policy && t.policy === q.policy && t.policy_version === q.policy_version, "the agreement is about another policy");
    same((q.scope === null) === (h.scope === null), "the scope is not the one asked for");
    same(!q.scope || (q.scope.program === this.scope!.program && q.scope.period === this.scope!.period), "the scope is not the one asked for");
    this.checkParties(t);
    const schema = Schema.of(dataset);
    ensure("reference", schema !== undefined, "the schema is not well formed");
    this.schema = schema;
  }

  private readEntries(): void {
    let used = 0;
    const read = <K extends Kind>(kind: K, index: number): Body<K> => {
      const found = this.b.entries?.find((e) => e.index === index);
      ensure("reference", found !== undefined, "an entry that the header names is missing");
      used++;
      const e: Entry = refusing("reference", () => decodeEntry(utf8(found.body)));
      ensure("reference", e.kind === kind, `entry ${index} is a ${e.kind}, want a ${kind}`);
      return (e as unknown as { body: Body<K> }).body;
    };
    const named = <K extends Kind>(kind: K, index: number | null): Body<K> | undefined => (index === null ? undefined : read(kind, index));
    const { h } = this;
    this.dataset = read("dataset.declare", h.dataset);
    this.epoch = read("dataset.epoch", h.epoch);
    this.policy = read("policy.publish", h.policy);
    this.agreement = read("agreement.accept", h.agreement);
    this.batch = named("receipts.batch", h.batch);
    this.next = named("dataset.epoch", h.next);
    this.group = named("group.define", h.group);
    this.scope = named("scope.open", h.scope);
    ensure("reference", used === (this.b.entries ?? []).length, "the bundle carries entries that the header does not name");
    this.epochTime = parseTime(this.epoch.time)!;
  }

  private checkParties(t: Terms): void {
    const { q, group } = this;
    const same = (ok: boolean, what: string) => ensure("reference", ok, what);
    same(t.holder === q.holder, "the agreement is with another holder");
    same((t.group !== "") === (group !== undefined), "the header names a group that the agreement does not, or none where it does");
    if (!group) return same(t.requester === q.requester, "the agreement is between others");
    same(group.group === t.group, "the group is not the agreement's");
    same(group.members!.includes(q.requester), "the requester does not belong to the agreement's group");
  }

  private checkApprovals(): void {
    const { h } = this;
    const holder = this.config.member(this.q.holder);
    ensure("approvals", holder !== undefined, "the holder is not a member of this network");
    const approved = (index: number, e: Entry) =>
      ensure("approvals", isApproved(holder.approvers, h.origin, index, e), `entry ${index} (${e.kind}) lacks approvals`);
    approved(h.policy, { kind: "policy.publish", body: this.policy });
    approved(h.agreement, { kind: "agreement.accept", body: this.agreement });
    if (this.group) approved(h.group!, { kind: "group.define", body: this.group });
  }

  private checkQuerySignature(): void {
    const key = this.config.queryKey(this.q.requester);
    ensure("query_signature", key !== undefined && isSignedBy(this.b.query, key, labels.query), "the requester did not sign the query");
  }

  /** The day that the query asks about, "" for the present. */
  private day(): string {
    return this.q.epoch === 0 ? this.q.as_of : dayOf(this.epochTime);
  }

  /** The agreement in the bundle allows exactly this query. */
  private checkQueryTerms(): void {
    const { q } = this;
    const t = this.agreement.terms;
    const day = this.day();
    ensure("query_terms", q.purpose === t.purpose && q.legal_basis === t.legal_basis, "another purpose or legal basis");
    ensure("query_terms", (q.disclose ?? []).every((c) => t.disclose?.includes(c)), "a column that the agreement does not allow");
    const inRange = t.as_of_from !== "" && day >= t.as_of_from && (t.as_of_to === "" || day <= t.as_of_to);
    ensure("query_terms", day === "" || inRange, "a day that the agreement does not allow");
    ensure("query_terms", !q.scope || q.scope.program === t.scope, "a program that the agreement does not allow to claim under");
  }

  private checkHeader(): void {
    const key = this.config.queryKey(this.q.holder);
    ensure("header_signature", key !== undefined && isSignedBy(this.b.header, key, labels.header), "the holder did not sign the header");
    ensure("header_signature", this.h.v === 1 && this.h.query === hex(digest(this.b.query, labels.query)), "the header answers another query");
  }

  private checkTimes(): void {
    const { q, h } = this;
    const { times } = this.head;
    const window = this.config.window;
    const median = times[Math.floor((times.length - 1) / 2)]!;
    const [issued, expires] = [parseTime(q.issued)!, parseTime(q.expires)!];
    const answered = parseTime(h.time);
    const in_ = (ok: boolean, what: string) => ensure("times", ok, what);
    ensure("times", answered !== undefined, "the header's time");
    in_(answered >= median && answered - median <= window, "the header's time is not that of its checkpoint");
    in_(times[times.length - 1]! - times[0]! <= window, "the cosignatures are too far apart");
    in_(median >= issued - window && answered <= expires + clockAllowance, "the checkpoint is not of the time of the query");
    in_(q.as_of !== "" || q.epoch !== 0 || h.as_of === dayOf(answered), "the as-of date is not the date of the answer");
    in_(answered <= parseTime(this.agreement.terms.expires)!, "the agreement had expired");
    this.answered = answered;
  }

  /** The epoch is the one that the query asks for. That none between it and the next is left out is for the replica to tell. */
  private checkAsOf(): void {
    const { q, h, epoch, next } = this;
    const asOf = (ok: boolean, what: string) => ensure("as_of", ok, what);
    asOf(q.as_of !== "" || h.next === null, "the header names a next epoch, and the query no day");
    const day = this.day();
    if (day === "") return;
    asOf(h.as_of === day, "the header is about another day than the query");
    asOf(q.epoch === 0 || epoch.epoch === q.epoch, "the epoch is not the one that was asked for");
    asOf(day <= dayOf(this.answered), "the day is after that of the answer");
    asOf(dayOf(this.epochTime) <= day, "the epoch is dated after the day that was asked about");
    if (!next) return;
    const later = parseTime(next.time)!;
    asOf(dayOf(later) > day && h.next! > h.epoch && next.epoch > epoch.epoch, "the next epoch is not after the day that was asked about");
    asOf(later <= this.answered + this.config.window, "the next epoch is dated after the answer");
  }

  private checkAge(): void {
    const limit = this.q.max_age_seconds;
    ensure("epoch_age", this.epochTime <= this.answered + this.config.window, "the epoch is dated after the answer");
    const day = parseDate(this.q.as_of);
    const at = day === undefined ? this.answered : Math.min(day + daySeconds, this.answered);
    ensure("epoch_age", limit === 0 || at - this.epochTime <= limit, "the epoch is older than the query accepts");
  }

  /** The header's claim that its entries were the newest: by the last beat's batch, and by the replica up to its size. */
  private checkInForce(): void {
    if (this.batch && this.q.epoch === 0 && this.h.next === null) {
      const newest = this.batch.epochs?.get(this.dataset.dataset);
      ensure("epoch_superseded", newest === undefined || newest <= this.h.epoch, "the last beat names a newer epoch");
      if (newest !== undefined && this.isLastBeat(this.batch.beat)) this.currency = currencyBeat;
    }
    if (!this.trust.replica) return;
    const log = this.trust.replica.get(this.h.origin);
    ensure("checkpoint", log !== undefined && log.size >= this.h.size, "the replica does not hold the holder's log that far");
    ensure("checkpoint", equalBytes(log.tree(this.h.size).root, this.head.tree.root), "the replica holds another log of that size: keep both");
    this.checkReplicated(log);
    this.currency = currencyReplica;
  }

  /** Whether an answer of its time can call a beat's batch the last: it is final two beats after it began. */
  private isLastBeat(beat: number): boolean {
    const length = this.config.document.beat_seconds;
    return beatStart(beat + 1, length) <= this.answered + this.config.window && this.answered <= beatStart(beat + 3, length) + clockAllowance;
  }

  private checkReplicated(log: Log): void {
    const { h, q } = this;
    this.checkEpochOf(log);
    ensure("not_in_force", log.policy(q.policy, q.policy_version, h.size) === h.policy, "the policy version is retired or another entry");
    ensure("not_in_force", log.agreementInForce(h.agreement, h.size), "the agreement is revoked");
    ensure("epoch_superseded", !this.group || log.group(this.group.group, h.size) === h.group, "the log holds a newer version of the group");
    ensure("epoch_superseded", (log.newestBatch(h.size) ?? null) === h.batch, "the header does not name the last beat");
  }

  private checkEpochOf(log: Log): void {
    const { h, q } = this;
    const name = this.dataset.dataset;
    if (q.epoch !== 0) {
      ensure("epoch_superseded", log.epochNumber(name, q.epoch, h.size)?.index === h.epoch, "the log holds another epoch of that number");
    } else if (q.as_of !== "") {
      const at = log.epochAt(name, parseDate(q.as_of)!, h.size);
      ensure("epoch_superseded", at.epoch === h.epoch && (at.next ?? null) === h.next, "the log holds another epoch of that day");
    } else {
      return ensure("epoch_superseded", log.epoch(name, h.size)?.index === h.epoch, "the log holds a newer epoch");
    }
    const backdated = log.backdated(h.epoch, this.epochTime, this.config.window, h.size);
    ensure("as_of", !backdated, "the epoch is dated before a receipts batch that stands before it: the past was changed");
  }

  private checkScopeOpen(): void {
    const { scope, h } = this;
    if (!scope) return;
    const open = parseTime(scope.opens)! <= this.answered && this.answered <= parseTime(scope.closes)!;
    ensure("not_in_force", open, "the scope was not open at the time of the answer");
    if (!this.trust.replica) return;
    const s = this.trust.replica.get(h.origin)?.scope(scope.program, scope.period, h.size);
    ensure("not_in_force", s !== undefined && s.index === h.scope && !s.closed, "the scope is closed, or its key is another scope's, too");
    for (const f of this.config.document.fences ?? []) {
      const before = f.member === this.q.holder ? this.trust.replica.get(f.origin)?.scope(scope.program, scope.period, Number(f.size)) : undefined;
      ensure("not_in_force", before === undefined, "the scope was open on the register's log that ended");
    }
  }

  /** Rebuilds the statement: everything public but verdict, nullifier and disclosed values comes from signed entries. */
  private checkProgram(): void {
    const { b, q, h } = this;
    const program = refusing("program", () => programAt(parseTemplate(this.policy.template), h.as_of));
    const columns = q.disclose ?? [];
    const positions = columns.map((name) => {
      const position = this.schema.position(name);
      ensure("query_terms", position !== undefined, "a column that is not in the schema");
      return position;
    });
    const verdict = verdicts.indexOf(b.verdict as Verdict);
    ensure("public_inputs", verdict >= 0, "the verdict");
    const values = (b.disclosed ?? []).map((d) => publicElement(d.value));
    ensure("public_inputs", values.length === columns.length && columns.every((c, i) => b.disclosed![i]!.column === c), "the disclosed columns");
    const mask = new Array<boolean>(allColumns).fill(false);
    const disclosed = new Array<bigint>(allColumns).fill(0n);
    positions.forEach((p, i) => ([mask[p], disclosed[p]] = [true, values[i]!]));
    this.statement = {
      root: publicElement(this.epoch.root),
      tag: publicElement(q.tag),
      context: first248(hashParts("grille/v1/context", utf8(h.instance), utf8(h.circuit), fromHex(h.query), utf8(b.header.body))),
      ...this.scopeInputs(verdict),
      verdict,
      mask,
      disclosed,
      program,
    };
    this.disclosed = columns.map((column, i) => {
      const text = reveal(this.schema.column(column)!, values[i]!, b.disclosed![i]!.text);
      ensure("public_inputs", text !== undefined, "a disclosed value that its column cannot hold");
      return { column, text };
    });
  }

  /** Only a satisfied answer claims: any other is proved without a scope. */
  private scopeInputs(verdict: number): Pick<Statement, "scope" | "scopeKeyCommitment" | "nullifier"> {
    const { b, q } = this;
    if (!q.scope || verdicts[verdict] !== "satisfied") {
      ensure("public_inputs", b.nullifier === "" && b.claim === null, "a nullifier or claim of an answer that makes none");
      return { scope: 0n, scopeKeyCommitment: 0n, nullifier: 0n };
    }
    ensure("public_inputs", isElement(b.nullifier), "the nullifier");
    const parts = [this.config.document.instance, q.holder, q.scope.program, q.scope.period].map(utf8);
    return {
      scope: first248(hashParts("grille/v1/scope", ...parts)),
      scopeKeyCommitment: publicElement(this.scope!.key_commitment),
      nullifier: publicElement(b.nullifier),
    };
  }

  private checkProof(): void {
    const { head, program } = refusing("public_inputs", () => publicVector(this.statement));
    refusing("proof", () => this.key.verify(head, program, this.b.proof ?? new Uint8Array()));
  }

  private checkPromise(): void {
    const { b, h, q } = this;
    const key = this.config.queryKey(q.holder);
    ensure("promise", key !== undefined && isSignedBy(b.promise, key, labels.promise), "the holder did not sign the promise");
    const p = refusing("promise", () => peek(b.promise, promiseShape));
    const length = this.config.document.beat_seconds;
    const end = deadline(p.beat, length);
    this.answer = answerDigest(b, this.statement);
    const receipt = receiptDigest(b.salt, h.query, b.verdict, this.answer);
    ensure("promise", p.v === 1 && end !== undefined && p.deadline === formatDeadline(end), "the deadline is not that of its beat");
    ensure("promise", p.member === q.holder && p.query === h.query && p.receipt === receipt, "it is for another answer");
    const latest = parseTime(q.expires)! + this.config.window + length;
    ensure("promise", end >= this.answered - clockAllowance && beatStart(p.beat, length) <= latest, "its beat is not of the reply's time");
  }

  /** A kept promise, where the bundle has one. */
  private checkReceipt(): void {
    const { b, h } = this;
    if (!b.receipt) return;
    const p = refusing("receipt", () => peek(b.promise, promiseShape));
    const tree = refusing("receipt", () => this.headUnderAny(b.receipt!.checkpoint));
    ensure("receipt", isIncluded(b.receipt.batch, tree), "the batch is not under its checkpoint");
    const e = refusing("receipt", () => decodeEntry(utf8(b.receipt!.batch.body)));
    ensure("receipt", e.kind === "receipts.batch" && e.body.beat === p.beat, "the entry is not the batch of its beat");
    ensure("receipt", checkPath(e.body.root, p.receipt, p.place, b.receipt.proof.path ?? []), "the receipt is not under the batch's root");
    const known = !this.trust.replica || this.trust.replica.get(h.origin)?.batch(p.beat) === b.receipt.batch.index;
    ensure("receipt", known, "the replica does not know this batch as the one of its beat");
    this.receiptState = "logged";
  }

  /** The place of the claim, where the bundle shows one. */
  private checkClaim(): void {
    const { b, h } = this;
    if (b.nullifier === "") return;
    this.claimState = "pending";
    const claim = b.claim;
    if (!claim) return;
    this.claimState = "final";
    const tree = refusing("claim", () => this.headUnderAny(claim.checkpoint));
    ensure("claim", isIncluded(claim.batch, tree), "the batch is not under its checkpoint");
    const e = refusing("claim", () => decodeEntry(utf8(claim.batch.body)));
    const stands = e.kind === "claims.batch" && claim.slot >= 0 && e.body.nullifiers![claim.slot] === b.nullifier;
    ensure("claim", stands, "the claim does not stand in the entry and slot given");
    ensure("claim", claim.batch.index >= h.size, "the claim stood on the log before the answer was given");
    if (!this.trust.replica) return;
    const log = this.trust.replica.get(h.origin)!;
    const size = claim.batch.index + 1;
    ensure("checkpoint", log.size >= size, "the replica does not hold the register's log that far");
    const place = log.findClaim(h.scope!, b.nullifier, size);
    ensure("claim", place?.index === claim.batch.index && place.slot === claim.slot, "the claim stands elsewhere on the log");
    this.claimState = "first";
  }

  /** Subject and nonce make the tag, where the bundle has them. */
  private checkOpening(): boolean {
    const opening = this.b.opening;
    if (!opening) return false;
    const nonce = parseElement(opening.nonce);
    const subject = utf8(opening.subject);
    ensure("opening", nonce !== undefined && subject.length > 0 && subject.length <= maxSubject, "subject or nonce");
    const name = this.dataset.scheme;
    const key = hashParts("grille/v1/subject-key", utf8(this.q.instance), utf8(name), subject).subarray(0, 16);
    const tag = poseidon2("tag", BigInt("0x" + hex(key)), nonce, 0n);
    ensure("opening", formatElement(tag) === this.q.tag, "subject and nonce do not make the tag");
    const scheme = this.config.scheme(name);
    ensure("opening", scheme !== undefined, "the identifier scheme is not in the configuration");
    ensure("opening", normaliseIdentifier(scheme, opening.subject) === opening.subject, "the subject id is not in the form of its scheme");
    return true;
  }

  /** A receipt or claim may be logged under another configuration than the answer. */
  private headUnderAny(note: string): Tree {
    let last: unknown = new NoteError("no configuration");
    for (const c of [...this.trust.chain.versions].reverse()) {
      try {
        return headUnder(c, this.h.origin, note).tree;
      } catch (e) {
        if (!(e instanceof NoteError)) throw e;
        last = e;
      }
    }
    throw last;
  }

  private report(opened: boolean): Report {
    const { b, q, h, policy } = this;
    return {
      verdict: b.verdict as Verdict,
      policy: policy.policy,
      policy_version: policy.version,
      question: policy.question,
      holder: q.holder,
      requester: q.requester,
      purpose: q.purpose,
      legal_basis: q.legal_basis,
      ...(q.case === "" ? {} : { case: q.case }),
      query_id: q.id,
      circuit: this.circuit.id,
      key_kind: this.circuit.kind,
      as_of: h.as_of,
      epoch: this.epoch.epoch,
      answered_at: h.time,
      epoch_time: this.epoch.time,
      ...(this.disclosed.length === 0 ? {} : { disclosed: this.disclosed }),
      cosigners: this.head.times.length,
      currency: this.currency,
      receipt: this.receiptState,
      answer: hex(this.answer),
      opening_checked: opened,
      ...(this.claimState ? { program: q.scope!.program, period: q.scope!.period, nullifier: b.nullifier, claim: this.claimState } : {}),
    };
  }
}

/** A public input from its text. */
function publicElement(text: string): bigint {
  const v = parseElement(text);
  ensure("public_inputs", v !== undefined, "a field element in its one spelling");
  return v;
}

function isIncluded(e: Included, tree: Tree): boolean {
  const path = e.path ?? [];
  if (path.some((p) => p === null)) return false;
  return checkInclusion(path as Uint8Array[], tree, e.index, leafHash(utf8(e.body)));
}

/** Verifies a final head of a log under a configuration, in which the log is current or ended no earlier. Throws NoteError. */
function headUnder(c: Configuration, origin: string, note: string): Head {
  const owner = c.logKey(origin);
  if (!owner) throw new NoteError("no member owns this log");
  const head = verifyHead(note, origin, owner, c.mirrorKeys(), c.quorum);
  const fence = c.owner(origin) ? undefined : c.fence(origin);
  if (fence) {
    const end = fenceTree(fence);
    if (head.tree.size > end.size || (head.tree.size === end.size && !equalBytes(head.tree.root, end.root))) throw new NoteError("the log ended before");
  }
  return head;
}
