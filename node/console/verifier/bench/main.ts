// npm run bench: what a verification costs in Node and, where Chromium is found, in a browser. With --json, one line for a program. Files are those
// of a published vector unless they are named: --bundle, --network, --key. CHROMIUM names the browser's program.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import process, { stderr, stdout } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { type Figure, type Files, measure } from "./measure.js";

const here = dirname(fileURLToPath(import.meta.url));
const vectors = join(here, "../../../../../exchange/testdata/vectors");

interface Run {
  where: string;
  figures: Figure[];
}

function browser(): string | undefined {
  const named = process.env["CHROMIUM"];
  return [...(named ? [named] : []), "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
}

/** Runs the measurement in a page of a browser without a window, which needs no network. */
async function inBrowser(program: string, files: Files, samples: number): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "grille-bench-"));
  try {
    const made = await build({ entryPoints: [join(here, "page.js")], bundle: true, minify: true, write: false, format: "iife" });
    const text = (data: Uint8Array) => Buffer.from(data).toString("base64");
    const input = { bundle: text(files.bundle), network: text(files.network), key: text(files.key), samples };
    const script = made.outputFiles[0]!.text.replaceAll("</script", "<\\/script");
    const page = join(folder, "page.html");
    writeFileSync(page, `<!doctype html><meta charset="utf-8"><body><script>files=${JSON.stringify(input)}</script><script>${script}</script></body>`);
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
    flags.push("--disable-component-update", "--disable-sync", `--user-data-dir=${join(folder, "profile")}`, "--dump-dom", pathToFileURL(page).href);
    const dom = execFileSync(program, flags, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 120_000, maxBuffer: 64 << 20 });
    const m = /<body>(FIGURES (.*)|FAILED .*) END<\/body>/s.exec(dom);
    if (!m?.[2]) throw new Error(`the page in ${program} gave no figures: ${m?.[1] ?? dom.slice(-500)}`);
    const version = execFileSync(program, ["--version"], { encoding: "utf8" }).trim();
    return { where: `${version}, library of ${Math.round(script.length / 1024)} KiB`, figures: JSON.parse(m[2]) as Figure[] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
  const program = browser();
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
