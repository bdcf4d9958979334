// The values on the way of a verification (units.json, docs/vectors.md).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { concat, fromHex, hex, utf8 } from "../src/bytes.js";
import { decodeBundle } from "../src/bundle.js";
import { EntryError, decodeEntry } from "../src/entry.js";
import { digest, labels } from "../src/envelope.js";
import { element, elementBytes, formatElement, order } from "../src/field.js";
import { VerifyingKey, KeyError } from "../src/groth16.js";
import { first248, hashParts, sha256 } from "../src/hash.js";
import { ConfigurationError, readChain, verify } from "../src/index.js";
import { cosignatureType, logType, parseCheckpoint, parseVerifierKey, verifyCosignature, verifyOwner } from "../src/note.js";
import { constants, poseidon2 } from "../src/poseidon2.js";
import { parseText } from "../src/json.js";
import { ProgramError, checkProgram, headInputs, programShape } from "../src/program.js";
import { textElement } from "../src/schema.js";
import { daysBefore } from "../src/template.js";
import { readDay } from "../src/time.js";
import { checkInclusion, leafHash, rootOf } from "../src/tlog.js";
import { isPrintable, normalForm, simpleUpper } from "../src/unicode.js";
import { bytesOf, trustOf, vectorFolder, vectors } from "./files.js";

interface Units {
  tag_constants: string[];
  hashes: Record<string, { in: string[]; out: string }[]>;
  names: { what: string; from: string[]; is: string }[];
  days: { as_of: string; years: number; days: number }[];
  answer: {
    bundle: string;
    query_digest: string;
    context: string;
    answer_digest: string;
    receipt: string;
    public_inputs: Record<string, string>;
    order: string[];
    public_inputs_sha256: string;
    sum: string;
    template: string;
  };
  logs: { size: number; root: string; paths: string[][] }[];
  characters: { unicode: string; planes: string[] };
  notes: { key: string; text: string; line: string; time?: number }[];
  programs: { program: string; unguarded: boolean }[];
  entries: { about: string; body: string; is: string }[];
  networks: { about: string; file: string; old: string; new: string }[];
  verifying_keys: { about: string; offset: number; bytes: string; cut?: boolean }[];
}

const units = JSON.parse(readFileSync(join(vectorFolder, "units.json"), "utf8")) as Units;
const number = (s: string) => BigInt("0x" + s);

test("hashes and their constants", () => {
  assert.deepEqual(constants("tag").map(formatElement), units.tag_constants);
  for (const [use, rows] of Object.entries(units.hashes)) {
    for (const { in: [a, b, c], out } of rows) assert.equal(formatElement(poseidon2(use, number(a!), number(b!), number(c!))), out, use);
  }
});

const names: Record<string, (from: string[]) => string> = {
  "subject key": (from) => hex(hashParts("grille/v1/subject-key", ...from.map(utf8)).subarray(0, 16)),
  tag: ([key, nonce]) => formatElement(poseidon2("tag", number(key!), number(nonce!), 0n)),
  scope: (from) => formatElement(first248(hashParts("grille/v1/scope", ...from.map(utf8)))),
  "scope key commitment": ([key]) => formatElement(poseidon2("scope-key", number(key!), 0n, 0n)),
  nullifier: ([scopeKey, key, scope]) => formatElement(poseidon2("nullifier", number(scopeKey!), number(key!), number(scope!))),
  text: ([text]) => formatElement(textElement(text!)),
  "number in a program": ([n]) => formatElement(element(BigInt(n!))),
  "number in a column": ([n]) => formatElement(BigInt(n!) + (1n << 63n)),
};

test("names, texts and numbers", () => {
  const seen = new Set<string>();
  for (const { what, from, is } of units.names) {
    assert.ok(names[what], `no such thing here: ${what}`);
    assert.equal(names[what](from), is, `${what} of ${from.join(", ")}`);
    seen.add(what);
  }
  assert.equal(seen.size, Object.keys(names).length);
  for (const d of units.days) assert.equal(daysBefore(readDay(d.as_of)!, d.years), d.days, d.as_of);
});

/** A key that keeps what it is asked about. */
class Watched extends VerifyingKey {
  asked?: { head: bigint[]; program: bigint[] };
  override verify(head: bigint[], program: bigint[], proof: Uint8Array): void {
    this.asked = { head, program };
    super.verify(head, program, proof);
  }
}

test("an answer's digests, public inputs and their sum", () => {
  const want = units.answer;
  const v = vectors().find((v) => v.bundle === want.bundle)!;
  const b = decodeBundle(bytesOf(join(vectorFolder, v.bundle)));
  const key = new Watched(bytesOf(join(vectorFolder, v.keys[0]!)));
  const report = verify(bytesOf(join(vectorFolder, v.bundle)), { ...trustOf(v), keys: [key] });
  assert.equal(report.answer, want.answer_digest);
  assert.equal(hex(digest(b.query, labels.query)), want.query_digest);
  assert.equal((JSON.parse(b.promise.body) as { receipt: string }).receipt, want.receipt);
  const { head, program } = key.asked!;
  assert.equal(formatElement(head[2]!), want.context);
  assert.equal(want.order.length, headInputs);
  want.order.forEach((name, i) => assert.equal(head[i]!.toString(16), want.public_inputs[name] ?? "0", name));
  const used = program.filter((n) => n % order !== 0n).map((n) => element(n).toString(16));
  assert.deepEqual(used.sort(), Object.entries(want.public_inputs).filter(([name]) => name.startsWith("Program_")).map(([, n]) => n).sort());
  assert.equal(hex(sha256(concat(...[...head, ...program].map((n) => elementBytes(element(n)))))), want.public_inputs_sha256);
  assert.equal(hex(key.sum(head, program).toBytes(true)), want.sum);
  const policy = b.entries!.map((e) => decodeEntry(utf8(e.body))).find((e) => e.kind === "policy.publish");
  assert.equal(hex(sha256(utf8(policy!.kind === "policy.publish" ? policy!.body.template : ""))), want.template);
});

test("characters are those of Unicode 15.0", () => {
  assert.equal(units.characters.unicode, "15.0.0");
  const [before, behind] = ["\u0334".repeat(28), "\u0334".repeat(30)];
  units.characters.planes.forEach((want, plane) => {
    let text = "";
    for (let r = plane * 0x10000; r < (plane + 1) * 0x10000; r++) {
      if (r >= 0xd800 && r <= 0xdfff) continue;
      const c = String.fromCodePoint(r);
      text += `${simpleUpper(c)} ${normalForm(c)} ${normalForm(`\u{105d2}${c}\u0345${c}\u0307`)} ${normalForm(`a${before}${c}${behind}`)} ${isPrintable(c)}\n`;
    }
    assert.equal(hex(sha256(utf8(text))), want, `plane ${plane}`);
  });
});

test("trees and notes", () => {
  for (const { size, root, paths } of units.logs) {
    const leaves = Array.from({ length: size }, (_, i) => leafHash(utf8(`entry ${i}`)));
    assert.equal(hex(rootOf(leaves)), root);
    paths.forEach((path, i) => assert.ok(checkInclusion(path.map(fromHex), { size, root: fromHex(root) }, i, leaves[i]!), `${i} of ${size}`));
  }
  for (const n of units.notes) {
    const c = parseCheckpoint(`${n.text}\n${n.line}`);
    if (n.time === undefined) {
      assert.equal(verifyOwner(c, parseVerifierKey(n.key, logType)!).line, n.line);
    } else {
      assert.equal(verifyCosignature(n.text, parseVerifierKey(n.key, cosignatureType)!, c.signatures[0]!), n.time);
    }
  }
});

test("verifying keys that are refused", () => {
  const good = bytesOf(join(vectorFolder, "keys/development.key"));
  new VerifyingKey(good).checkAll();
  const cases = units.verifying_keys.map((k) => {
    const bytes = fromHex(k.bytes);
    const rest = k.cut ? new Uint8Array() : good.subarray(k.offset + bytes.length);
    return { about: k.about, data: concat(good.subarray(0, k.offset), bytes, rest) };
  });
  const gamma = 16 + 16 + 32 + 4 + 48 + 96;
  cases.push({ about: "delta is gamma", data: concat(good.subarray(0, gamma + 96), good.subarray(gamma, gamma + 96), good.subarray(gamma + 192)) });
  cases.push({ about: "an empty file", data: new Uint8Array() });
  for (const { about, data } of cases) {
    assert.throws(
      () => new VerifyingKey(data).checkAll(),
      (e) => e instanceof KeyError,
      about,
    );
  }
});

test("exempt columns are read where a test asks for them", () => {
  for (const { program: text, unguarded } of units.programs) {
    const check = () => checkProgram(programShape.decode(parseText(text), text));
    if (unguarded) assert.throws(check, ProgramError, text);
    else assert.doesNotThrow(check, text);
  }
});

test("what a reader takes entries for", () => {
  const take = (body: string) => {
    try {
      return decodeEntry(utf8(body)).kind;
    } catch (e) {
      if (e instanceof EntryError) return "malformed";
      throw e;
    }
  };
  for (const { about, body, is } of units.entries) assert.equal(take(body), is, `${about}: ${body}`);
});

test("configurations and chains that are not to be trusted", () => {
  for (const { about, file, old, new: other } of units.networks) {
    const text = readFileSync(join(vectorFolder, file), "utf8");
    const changed = text.replace(old, () => other);
    assert.notEqual(changed, text, about);
    readChain(utf8(text));
    assert.throws(() => readChain(utf8(changed)), ConfigurationError, about);
  }
});
