// What holds below a size of a log (docs/protocol.md section 4): which entries of it count, and which are newest. A replica shows with it what a
// header only asserts.

import { utf8 } from "./bytes.js";
import { type Body, type Entry, EntryError, decodeEntry } from "./entry.js";
import type { Chain } from "./chain.js";
import { isApproved } from "./approvals.js";
import { type Tree, leafHash, rootOf } from "./tlog.js";
import { daySeconds, parseTime } from "./time.js";

export interface Fact<T> {
  index: number;
  value: T;
}
type Facts<T> = Fact<T>[];
type Index = Map<string, number>;

/** The last of facts below a size. */
function newest<T>(facts: Facts<T> | undefined, size: number): Fact<T> | undefined {
  for (let i = (facts?.length ?? 0) - 1; i >= 0; i--) if (facts![i]!.index < size) return facts![i];
  return undefined;
}

function at<T>(facts: Facts<T> | undefined, index: number, size: number): Fact<T> | undefined {
  return index < size ? facts?.find((f) => f.index === index) : undefined;
}

function into<T>(all: Map<string, Facts<T>>, name: string, index: number, value: T): true {
  const list = all.get(name) ?? [];
  all.set(name, list);
  list.push({ index, value });
  return true;
}

function first(all: Index, name: string, index: number): boolean {
  if (all.has(name)) return false;
  all.set(name, index);
  return true;
}

/** A whole log, from its first entry. */
export class Log {
  readonly raw: Uint8Array[];
  private readonly leaves: Uint8Array[];
  private readonly declares = new Map<string, Facts<Body<"dataset.declare">>>();
  private readonly epochs = new Map<string, Facts<Body<"dataset.epoch">>>();
  private readonly policies = new Map<string, number>();
  private readonly retired: Index = new Map();
  private readonly offers: Index = new Map();
  private readonly accepts: Facts<Body<"agreement.accept">> = [];
  private readonly revoked: Index = new Map();
  private readonly groups = new Map<string, Facts<Body<"group.define">>>();
  private readonly batches: Facts<Body<"receipts.batch">> = [];
  private readonly scopes: Facts<Body<"scope.open">> = [];
  private readonly scopeNames: Index = new Map();
  private readonly scopeKeys = new Set<string>();
  private readonly closed: Index = new Map();
  private readonly claimBatches: Facts<Body<"claims.batch">> = [];

  constructor(
    readonly origin: string,
    entries: string[],
    chain: Chain,
  ) {
    this.raw = entries.map(utf8);
    this.leaves = this.raw.map(leafHash);
    const rules = chain.rules(origin);
    this.raw.forEach((raw, i) => {
      try {
        const e = decodeEntry(raw);
        if (isApproved(rules, origin, i, e)) this.add(i, e);
      } catch (err) {
        if (!(err instanceof EntryError)) throw err; // malformed ones are kept, and void
      }
    });
  }

  get size(): number {
    return this.raw.length;
  }

  /** The tree of the first size entries. */
  tree(size: number): Tree {
    return { size, root: rootOf(this.leaves.slice(0, size)) };
  }

  leaf(index: number): Uint8Array | undefined {
    return this.leaves[index];
  }

  /** Takes an entry, if it counts. */
  private add(i: number, e: Entry): boolean {
    switch (e.kind) {
      case "dataset.declare":
        return into(this.declares, e.body.dataset, i, e.body);
      case "dataset.epoch": {
        const last = newest(this.epochs.get(e.body.dataset), i);
        if (!at(this.declares.get(e.body.dataset), e.body.declare, i) || (last && e.body.epoch <= last.value.epoch)) return false;
        return into(this.epochs, e.body.dataset, i, e.body);
      }
      case "policy.publish":
        if (!at(this.declares.get(e.body.dataset), e.body.declare, i)) return false;
        return first(this.policies, `${e.body.policy} ${e.body.version}`, i);
      case "policy.retire":
        return this.policies.has(`${e.body.policy} ${e.body.version}`) && first(this.retired, `${e.body.policy} ${e.body.version}`, i);
      case "agreement.accept": {
        const { origin, index, hash } = e.body.offer;
        if (!first(this.offers, `${index} ${hash} ${origin}`, i)) return false;
        return this.accepts.push({ index: i, value: e.body }) > 0;
      }
      case "agreement.revoke":
        return at(this.accepts, e.body.accept, i) !== undefined && first(this.revoked, String(e.body.accept), i);
      case "group.define": {
        const last = newest(this.groups.get(e.body.group), i);
        return !(last && e.body.version <= last.value.version) && into(this.groups, e.body.group, i, e.body);
      }
      case "receipts.batch": {
        const last = newest(this.batches, i);
        return !(last && e.body.beat <= last.value.beat) && this.batches.push({ index: i, value: e.body }) > 0;
      }
      default:
        return this.addScope(i, e);
    }
  }

  private addScope(i: number, e: Entry): boolean {
    switch (e.kind) {
      case "scope.open":
        if (this.scopeKeys.has(e.body.key_commitment) || !first(this.scopeNames, `${e.body.program} ${e.body.period}`, i)) return false;
        this.scopeKeys.add(e.body.key_commitment);
        return this.scopes.push({ index: i, value: e.body }) > 0;
      case "scope.close":
        return at(this.scopes, e.body.scope, i) !== undefined && first(this.closed, String(e.body.scope), i);
      case "claims.batch": {
        const last = newest(this.claimBatches, i);
        if (this.scopes.length === this.closed.size || (last && e.body.beat < last.value.beat)) return false;
        return this.claimBatches.push({ index: i, value: e.body }) > 0;
      }
    }
    return false;
  }

  /** The newest epoch of a dataset. */
  epoch(dataset: string, size: number): Fact<Body<"dataset.epoch">> | undefined {
    return newest(this.epochs.get(dataset), size);
  }

  /** The epoch of a dataset with a number. */
  epochNumber(dataset: string, number: number, size: number): Fact<Body<"dataset.epoch">> | undefined {
    return this.epochs.get(dataset)?.find((e) => e.index < size && e.value.epoch === number);
  }

  /** The epoch of a day, which begins at a time: the one before the first that is dated after it, and the index of that. */
  epochAt(dataset: string, day: number, size: number): { epoch?: number; next?: number } {
    const out: { epoch?: number; next?: number } = {};
    for (const e of this.epochs.get(dataset) ?? []) {
      if (e.index >= size) break;
      if (parseTime(e.value.time)! >= day + daySeconds) {
        out.next = e.index;
        break;
      }
      out.epoch = e.index;
    }
    return out;
  }

  /** Whether an entry dated at a time stands behind a batch of a later time, the clocks allowed for. */
  backdated(index: number, time: number, clocks: number, size: number): boolean {
    const b = newest(this.batches, Math.min(index, size));
    return b !== undefined && time + clocks < parseTime(b.value.time)!;
  }

  /** The index of a policy version that is published and not retired. */
  policy(name: string, version: number, size: number): number | undefined {
    const key = `${name} ${version}`;
    const index = this.policies.get(key);
    return index !== undefined && index < size && !this.ended(this.retired, key, size) ? index : undefined;
  }

  /** Whether an acceptance counts and is not revoked. */
  agreementInForce(index: number, size: number): boolean {
    return at(this.accepts, index, size) !== undefined && !this.ended(this.revoked, String(index), size);
  }

  group(name: string, size: number): number | undefined {
    return newest(this.groups.get(name), size)?.index;
  }

  newestBatch(size: number): number | undefined {
    return newest(this.batches, size)?.index;
  }

  /** The index of the batch of a beat. */
  batch(beat: number): number | undefined {
    return this.batches.find((b) => b.value.beat === beat)?.index;
  }

  /** A scope, closed or not. */
  scope(program: string, period: string, size: number): { index: number; closed: boolean } | undefined {
    const index = this.scopeNames.get(`${program} ${period}`);
    return index !== undefined && index < size ? { index, closed: this.ended(this.closed, String(index), size) } : undefined;
  }

  /** The first place of a nullifier in the batches in which a claim of the scope opened at an index may stand, below a size. */
  findClaim(scope: number, nullifier: string, size: number): { index: number; slot: number } | undefined {
    const end = this.closed.get(String(scope)) ?? size;
    for (const b of this.claimBatches) {
      const slot = b.index >= scope && b.index < Math.min(end, size) ? b.value.nullifiers!.indexOf(nullifier) : -1;
      if (slot >= 0) return { index: b.index, slot };
    }
    return undefined;
  }

  private ended(all: Index, key: string, size: number): boolean {
    const i = all.get(key);
    return i !== undefined && i < size;
  }
}

/** Whole logs, by origin. */
export type Replica = Map<string, Log>;
