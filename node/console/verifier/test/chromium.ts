// npm run browser: all vectors in a real browser, Chromium.

import assert from "node:assert/strict";
import { join } from "node:path";
import { stdout } from "node:process";
import { findBrowser, runPage } from "../bench/browser.js";
import { base64 } from "../src/bytes.js";
import type { Input } from "./answers.js";
import { bytesOf, repository, vectorFolder, vectors } from "./files.js";

const program = findBrowser();
if (!program) throw new Error("no Chromium found: apt-get install chromium, or name it in CHROMIUM");
const all = vectors();
const named = new Set(all.flatMap((v) => [v.bundle, v.network, ...v.keys, ...(v.log ? [v.log] : [])]));
const files = Object.fromEntries([...named].map((name) => [name, base64(bytesOf(join(vectorFolder, name)))]));
const input: Input = { rows: all.map(({ bundle, network, keys, log }) => ({ bundle, network, keys, log })), files };
const page = await runPage(program, join(repository, "node/console/verifier/dist/test/answers.js"), input);
const got = page.result as object[];
assert.equal(got.length, all.length);
all.forEach((v, i) => assert.deepEqual(got[i], v.expect, v.name));
stdout.write(`${all.length} vectors in ${page.browser}: the same answers\n`);
