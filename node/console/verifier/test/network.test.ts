import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hex, utf8, utf8Text } from "../src/bytes.js";
import { fingerprint, readChain } from "../src/chain.js";
import { decodeEntry, EntryError, withoutApprovals } from "../src/entry.js";
import { ConfigurationError, parseConfiguration } from "../src/network.js";
import { sha256 } from "../src/hash.js";
import { bytesOf, repository } from "./files.js";

const network = join(repository, "ledger/network/testdata");
const golden = bytesOf(join(network, "configuration.golden"));
const chain = bytesOf(join(network, "chain.golden"));

test("the golden configuration is read and written", () => {
  const c = parseConfiguration(golden);
  assert.deepEqual(c.bytes(), golden);
  assert.equal(c.digest, hex(sha256(golden)));
  assert.equal(fingerprint(c.digest), "8581-fab4-8d6f-58ab-03e6-fd3d-cf30-80da");
  assert.equal(c.owner(c.origin("GOV/tax"))!.name, "GOV/tax");
});

test("every changed byte of the golden configuration is another configuration or none", () => {
  for (let i = 0; i < golden.length; i++) {
    for (const bit of [1, 32]) {
      const data = golden.slice();
      data[i]! ^= bit;
      try {
        assert.notEqual(parseConfiguration(data).digest, hex(sha256(golden)), `byte ${i}`);
        assert.equal(parseConfiguration(data).digest, hex(sha256(data)), `byte ${i}`);
      } catch (e) {
        if (!(e instanceof ConfigurationError)) throw e;
      }
    }
  }
});

const edits: Record<string, [string | RegExp, string]> = {
  instance: ['"instance": "', '"instance": "-'],
  "version two without previous": ['"version": 1', '"version": 2'],
  mode: ['"mode": "', '"mode": "x'],
  "quorum beyond the mirrors": [/"proposer": ("[^"]*"),/, '"proposer": $1,\n  "quorum": 9,'],
  "quorum below the usual": [/"proposer": ("[^"]*"),/, '"proposer": $1,\n  "quorum": 1,'],
  proposer: [/"proposer": "[^"]*"/, '"proposer": "GOV/nobody"'],
  "port 0": [/:[0-9]+",\n(.*)"mirror"/, ':0",\n$1"mirror"'],
  freshness: [/"freshness_seconds": [0-9]+/, '"freshness_seconds": 1'],
  "beat of a second too many": [/"beat_seconds": [0-9]+/, '"beat_seconds": 86401'],
  expires: [/"expires": "[^"]*"/, '"expires": "tomorrow"'],
  "scheme that is no expression": [/"pattern": "[^"]*"/, '"pattern": "("'],
  "example of another scheme": [/"example": "[^"]*"/, '"example": "?"'],
  "circuit of another kind": [/"kind": "[^"]*"/, '"kind": "trust"'],
  "name that is unknown": ['"version": 1', '"Version": 1'],
};

test("configurations that are not acceptable", () => {
  const text = utf8Text(golden)!;
  for (const [name, [from, to]] of Object.entries(edits)) {
    const other = text.replace(from, to);
    assert.notEqual(other, text, name);
    assert.throws(() => parseConfiguration(utf8(other)), ConfigurationError, name);
  }
});

test("the golden chain is verified", () => {
  const c = readChain(chain);
  assert.ok(c.versions.length > 1);
  for (const [i, v] of c.versions.entries()) if (i > 0) assert.equal(v.document.previous, c.versions[i - 1]!.digest);
  assert.equal(c.byDigest(c.newest.digest), c.newest);
  assert.deepEqual(readChain(golden).versions.length, 1);
});

test("a changed character of the links is refused", () => {
  const text = utf8Text(chain)!;
  const from = text.indexOf('"links"');
  for (let i = from; i < text.length - 1; i += 61) {
    const other = text.slice(0, i) + (text[i] === "A" ? "B" : "A") + text.slice(i + 1);
    assert.throws(() => readChain(utf8(other)), ConfigurationError, `character ${i}`);
  }
});

test("the golden entries are read, and those that are approved written", () => {
  const lines = readFileSync(join(repository, "ledger/entry/testdata/entries.golden"), "utf8").trimEnd().split("\n");
  const kinds = new Map<string, number>();
  for (const line of lines) {
    const e = decodeEntry(utf8(line));
    kinds.set(e.kind, (kinds.get(e.kind) ?? 0) + 1);
    if (e.kind === "policy.publish" || e.kind === "agreement.accept" || e.kind === "group.define") {
      assert.equal(withoutApprovals(e), line.replace(/,"approvals":\[.*\]/, ""));
    }
    for (const bad of [line + " x", line.slice(0, -1), line.replace('"v":1', '"v":01'), " " + line]) assert.throws(() => decodeEntry(utf8(bad)), EntryError);
    if (e.kind !== "unknown") assert.throws(() => decodeEntry(utf8(line.replace('"v":1,', '"v":1,"more":1,'))), EntryError, line);
  }
  for (const kind of ["dataset.declare", "dataset.epoch", "policy.publish", "policy.retire", "agreement.accept", "agreement.revoke", "group.define"]) {
    assert.ok(kinds.has(kind), kind);
  }
  for (const kind of ["receipts.batch", "scope.open", "scope.close", "claims.batch"]) assert.ok(kinds.has(kind), kind);
});
