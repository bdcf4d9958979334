import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bigEndian, concat, hex, toNumber, utf8 } from "../src/bytes.js";
import { element, elementBytes, formatElement } from "../src/field.js";
import { hashParts, sha256 } from "../src/hash.js";
import { constants, digestOf, pinned, poseidon2 } from "../src/poseidon2.js";
import { layout, programShape } from "../src/program.js";
import { textElement } from "../src/schema.js";
import { decodeStrict } from "../src/shape.js";
import { repository } from "./files.js";

const golden = JSON.parse(readFileSync(join(repository, "circuits/testdata/golden.json"), "utf8")) as {
  round_keys_sha256: Record<string, string>;
  hashes: Record<string, string[]>;
  vectors: Record<string, string>;
  programs: Record<string, { program: object; sha256: string }>;
};

test("the constants follow from their seeds, and are the pinned ones", () => {
  assert.deepEqual({ ...pinned }, golden.round_keys_sha256);
  for (const [use, digest] of Object.entries(pinned)) assert.equal(digestOf(constants(use)), digest, use);
  assert.notEqual(digestOf(constants("tags")), pinned["tag"]);
});

test("hashes are those of the golden file", () => {
  const inputs = [[0, 0, 0], [1, 2, 3], [-1, -2, -3]];
  for (const [use, want] of Object.entries(golden.hashes)) {
    const got = inputs.map(([a, b, c]) => formatElement(poseidon2(use, element(a!), element(b!), element(c!))));
    assert.deepEqual(got, want, use);
  }
  assert.throws(() => poseidon2("no use", 0n, 0n, 0n), /pinned/);
});

test("subject keys, tags, texts", () => {
  const key = hashParts("grille/v1/subject-key", utf8("instance"), utf8("person"), utf8("12345678")).subarray(0, 16);
  const want = golden.vectors;
  assert.equal(hex(key), want["subject key instance/person/12345678"]);
  assert.equal(formatElement(poseidon2("tag", toNumber(key), 7n, 0n)), want["tag, nonce 7"]);
  assert.equal(formatElement(textElement("Zürich")), want["text Zürich"]);
  assert.equal(formatElement(poseidon2("nullifier", 7n, toNumber(key), 9n)), want["nullifier, scope key 7, scope 9"]);
  assert.equal(formatElement(poseidon2("scope-key", 7n, 0n, 0n)), want["scope key commitment, scope key 7"]);
  assert.deepEqual(bigEndian(toNumber(key), 16), key);
});

test("a program's public inputs are those of the golden file", () => {
  const sample = golden.programs["sample"]!;
  const program = decodeStrict(utf8(JSON.stringify(sample.program)), 1 << 20, programShape);
  const inputs = layout(program).map((v) => elementBytes(element(v)));
  assert.equal(hex(sha256(concat(...inputs))), sample.sha256);
});
