// The published vectors (docs/vectors.md): each gives here what it says, which is what it gives in Go.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Refused, reasons, verify } from "../src/index.js";
import { bytesOf, trustOf, vectorFolder, vectors } from "./files.js";

const all = vectors();

for (const v of all) {
  test(`vector ${v.name}`, () => {
    const data = bytesOf(join(vectorFolder, v.bundle));
    let got: { reason?: string; report?: object };
    let why = "";
    try {
      got = { report: verify(data, trustOf(v)) };
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      got = { reason: e.reason };
      why = e.message;
    }
    assert.deepEqual(got, v.expect, `${v.about}: ${why}`);
    if (got.report) assert.deepEqual(Object.keys(got.report), Object.keys(v.expect.report!));
  });
}

test("there is a vector for each reason to refuse, and there are valid ones", () => {
  const seen = new Set(all.map((v) => v.expect.reason ?? "verified"));
  for (const reason of [...reasons, "verified"]) assert.ok(seen.has(reason), `no vector gives ${reason}`);
});
