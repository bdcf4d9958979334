import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { decodeBundle, encodeBundle } from "../src/index.js";
import { bytesOf, repository, vectorFolder, vectors } from "./files.js";

const program = join(repository, "node/console/verifier/dist/cli.js");
const file = (name: string) => join(vectorFolder, name);

function run(...args: string[]): { code: number | null; out: string; err: string } {
  const r = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

function files(name: string): string[] {
  const v = vectors().find((v) => v.name === name)!;
  return [file(v.bundle), "--network", file(v.network), ...v.keys.flatMap((k) => ["--key", file(k)]), ...(v.log ? ["--log", file(v.log)] : [])];
}

test("a bundle that verifies", () => {
  const text = run("verify", ...files("valid-logged-and-opened"));
  assert.equal(text.code, 0, text.err);
  assert.match(text.out, /^Verified: satisfied\n/);
  assert.match(text.out, /fingerprint [0-9a-f]{4}-/);
  const json = run("verify", "-o", "json", ...files("valid-claim-first"));
  assert.equal(json.code, 0, json.err);
  const { verified, network, network_fingerprint, ...report } = JSON.parse(json.out) as Record<string, unknown>;
  assert.deepEqual([verified, network], [true, "vectors.grille"]);
  assert.match(String(network_fingerprint), /^([0-9a-f]{4}-){7}[0-9a-f]{4}$/);
  assert.deepEqual(report, vectors().find((v) => v.name === "valid-claim-first")!.expect.report);
});

test("a bundle that does not, with its reason", () => {
  const text = run("verify", ...files("proof-a-negated"));
  assert.deepEqual([text.code, text.out], [3, ""]);
  assert.match(text.err, /does not verify: bundle refused \(proof\)/);
  const json = run("verify", ...files("encoding-name-twice"), "-o", "json");
  assert.deepEqual([json.code, JSON.parse(json.out)], [3, { verified: false, reason: "encoding" }]);
});

test("an opening in a file of its own", () => {
  const folder = mkdtempSync(join(tmpdir(), "grille-verify-"));
  try {
    const [bundle, ...rest] = files("valid-logged-and-opened");
    const b = decodeBundle(bytesOf(bundle!));
    const redacted = join(folder, "redacted.json");
    const opening = join(folder, "opening.json");
    writeFileSync(redacted, encodeBundle({ ...b, opening: null }));
    writeFileSync(opening, JSON.stringify(b.opening));
    assert.match(run("verify", redacted, ...rest).out, /subject +not shown/);
    assert.match(run("verify", redacted, ...rest, "--opening", opening).out, /subject +named, and checked/);
    writeFileSync(opening, JSON.stringify({ ...b.opening, subject: b.opening!.subject.replace(/.$/, "0") }));
    const other = run("verify", redacted, ...rest, "--opening", opening);
    assert.deepEqual([other.code, /\(opening\)/.test(other.err)], [3, true]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("wrong use, and files that are something else", () => {
  const [bundle, ...rest] = files("valid-satisfied");
  for (const args of [[], ["verify"], ["verify", bundle!], ["check", bundle!, ...rest], ["verify", bundle!, ...rest, "-o", "xml"], ["verify", bundle!, ...rest, "--no"]]) {
    const r = run(...args);
    assert.deepEqual([r.code, /Usage/.test(r.err)], [2, true], args.join(" "));
  }
  const network = file("networks/network.json");
  assert.equal(run("verify", bundle!, "--network", bundle!, "--key", file("keys/development.key")).code, 2);
  assert.equal(run("verify", bundle!, "--network", network, "--key", network).code, 2);
  assert.equal(run("verify", bundle! + ".none", ...rest).code, 2);
});
