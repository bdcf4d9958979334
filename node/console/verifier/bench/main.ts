// npm run bench: what a verification costs in Node and, where Chromium is found, in a browser. With --json, one line for a program. Files are those
// of a published vector unless they are named: --bundle, --network, --key. CHROMIUM names the browser's program.

import { readFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import process, { stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { base64 } from "../src/bytes.js";
import { findBrowser, runPage } from "./browser.js";
import { type Figure, type Files, measure } from "./measure.js";

const here = dirname(fileURLToPath(import.meta.url));
const vectors = join(here, "../../../../../exchange/testdata/vectors");

interface Run {
  where: string;
  figures: Figure[];
}

async function inBrowser(program: string, files: Files, samples: number): Promise<Run> {
  const input = { bundle: base64(files.bundle), network: base64(files.network), key: base64(files.key), samples };
  const page = await runPage(program, join(here, "measured.js"), input);
  return { where: `${page.browser}, library of ${Math.round(page.size / 1024)} KiB`, figures: page.result as Figure[] };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      samples: { type: "string", default: "40" },
      bundle: { type: "string", default: join(vectors, "bundles/valid-satisfied.json") },
      network: { type: "string", default: join(vectors, "networks/network.json") },
      key: { type: "string", default: join(vectors, "keys/development.key") },
    },
  });
  const read = (path: string) => new Uint8Array(readFileSync(path));
  const files = { bundle: read(values.bundle), network: read(values.network), key: read(values.key) };
  const samples = Number(values.samples);
  const load = loadavg().map((n) => n.toFixed(2)).join(" ");
  const runs: Run[] = [{ where: `Node ${process.version}`, figures: measure(files, samples) }];
  const program = findBrowser();
  if (program) runs.push(await inBrowser(program, files, samples));
  else stderr.write("no Chromium found: apt-get install chromium, or name it in CHROMIUM; the browser's figures are left out\n");
  if (values.json) return void stdout.write(JSON.stringify({ runs }) + "\n");
  stdout.write(`${cpus()[0]?.model ?? process.arch}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(1)} GiB, load before ${load}\n`);
  for (const r of runs) {
    stdout.write(`\n${r.where}\n`);
    for (const f of r.figures) stdout.write(`  ${f.name.padEnd(46)} ${f.median.toFixed(1).padStart(8)} ms median of ${f.samples}, slowest ${f.slowest.toFixed(1)}\n`);
  }
}

await main();
