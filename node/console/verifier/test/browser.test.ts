// The library runs where there is nothing of Node: it is bundled as for a browser, and verifies in a context with the language alone.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { bytesOf, repository, vectorFolder, vectors } from "./files.js";

test("a bundle for browsers verifies", async () => {
  const entry = join(repository, "node/console/verifier/dist/src/index.js");
  const made = await build({ entryPoints: [entry], bundle: true, write: false, metafile: true, platform: "browser", format: "iife", globalName: "grille" });
  for (const input of Object.keys(made.metafile.inputs)) assert.match(input, /^(dist\/src|node_modules\/(@noble\/(curves|hashes)|re2js))\//);
  const v = vectors().find((v) => v.name === "valid-logged-and-opened")!;
  const file = (name: string) => Array.from(bytesOf(join(vectorFolder, name)));
  const files = { bundle: file(v.bundle), network: file(v.network), key: file(v.keys[0]!) };
  const context = createContext({ TextEncoder, TextDecoder, files: JSON.stringify(files) });
  runInContext(made.outputFiles[0]!.text, context);
  const program = `
    const f = JSON.parse(files), bytes = (name) => Uint8Array.from(f[name]);
    const trust = { chain: grille.readChain(bytes("network")), keys: [new grille.VerifyingKey(bytes("key"))] };
    const bundle = bytes("bundle");
    const report = grille.verify(bundle, trust);
    bundle[bundle.indexOf(34, 200) + 1] ^= 1;
    let reason = "";
    try { grille.verify(bundle, trust) } catch (e) { reason = e instanceof grille.Refused ? e.reason : String(e) }
    JSON.stringify({ report, reason });`;
  const got = JSON.parse(runInContext(program, context) as string) as { report: object; reason: string };
  assert.deepEqual(got.report, v.expect.report);
  assert.notEqual(got.reason, "");
  assert.doesNotMatch(got.reason, /Error/);
});
