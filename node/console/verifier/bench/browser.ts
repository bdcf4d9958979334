// A page in a browser without a window, which needs no network: a script that is bundled here, with an input, whose result becomes the text of the
// document.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

/** The program of a browser that CHROMIUM names, or that is found. */
export function findBrowser(): string | undefined {
  const named = process.env["CHROMIUM"];
  return [...(named ? [named] : []), "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
}

/** What a script made of its input. */
export interface Page {
  result: unknown;
  browser: string; // name and version
  size: number; // of the script, in bytes
}

/** Runs a script, which calls publish (page.ts), with an input in a page. */
export async function runPage(program: string, script: string, input: unknown): Promise<Page> {
  const folder = mkdtempSync(join(tmpdir(), "grille-page-"));
  try {
    const made = await build({ entryPoints: [script], bundle: true, minify: true, write: false, format: "iife" });
    const text = made.outputFiles[0]!.text;
    const inert = (s: string) => s.replaceAll("</script", "<\\/script");
    const page = join(folder, "page.html");
    const scripts = `<script>input=${inert(JSON.stringify(input))}</script><script>${inert(text)}</script>`;
    writeFileSync(page, `<!doctype html><meta charset="utf-8"><body>${scripts}</body>`);
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
    flags.push("--disable-component-update", "--disable-sync", `--user-data-dir=${join(folder, "profile")}`, "--dump-dom", pathToFileURL(page).href);
    const dom = execFileSync(program, flags, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 240_000, maxBuffer: 64 << 20 });
    const m = /<body>(RESULT (.*)|FAILED .*) END<\/body>/s.exec(dom);
    if (!m?.[2]) throw new Error(`the page in ${program} gave no result: ${(m?.[1] ?? dom).slice(-500)}`);
    const browser = execFileSync(program, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    const unescaped = m[2].replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&nbsp;", "\u00a0").replaceAll("&amp;", "&");
    return { result: JSON.parse(unescaped), browser, size: text.length };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
