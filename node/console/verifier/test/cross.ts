// npm run cross: the same damaged inputs for the gateway's code in Go and for this verifier, whose answers must be the same. The inputs follow from
// a seed, which is printed. Go is asked by the command crosscheck, so this needs the repository and a Go toolchain.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process, { stdout } from "node:process";
import { parseArgs } from "node:util";
import { base64, bigEndian, concat, equalBytes, hex, utf8, utf8Text } from "../src/bytes.js";
import { type Bundle, decodeBundle, encodeBundle } from "../src/bundle.js";
import { EntryError, approvalMessage, decodeEntry } from "../src/entry.js";
import { element } from "../src/field.js";
import { sha256 } from "../src/hash.js";
import { normaliseIdentifier } from "../src/identifier.js";
import { ConfigurationError, Refused, readChain, readLogs, verify } from "../src/index.js";
import { ProgramError, layout } from "../src/program.js";
import { parseTemplate, programAt } from "../src/template.js";
import { type Random, type WholeLog, changeText, parts, relogged, resigned } from "./resign.js";
import { type Vector, bytesOf, repository, trustOf, vectorFolder, vectors } from "./files.js";

interface Case {
  kind: "bundle" | "entry" | "template" | "network" | "identifier";
  about: string;
  data: Uint8Array;
  with?: Vector;
  logs?: WholeLog[];
  as?: string;
}

/** A generator of numbers below n from a seed (xorshift, 32 bits). */
function generator(seed: number): (n: number) => number {
  let x = seed | 0 || 1;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

const alphabet = utf8(`{}[]",:\\0159aeE+-. ntfuZ_/=é`);

/** One to three small changes: a byte flipped or replaced, bytes cut out, put in, or copied. */
function damage(data: Uint8Array, random: Random): Uint8Array {
  for (let n = 1 + random(3); n > 0; n--) {
    const k = random(data.length);
    const rest = data.subarray(k);
    const from = random(data.length);
    data = [
      () => data.map((b, i) => (i === k ? b ^ (1 << random(7)) : b)),
      () => data.map((b, i) => (i === k ? alphabet[random(alphabet.length)]! : b)),
      () => concat(data.subarray(0, k), rest.subarray(1 + random(4))),
      () => concat(data.subarray(0, k), alphabet.subarray(random(alphabet.length)).subarray(0, 1), rest),
      () => concat(data.subarray(0, k), data.subarray(from, from + random(12)), rest),
    ][random(5)]!();
    if (data.length === 0) return utf8("{");
  }
  return data;
}

/** Changes one character of a text of a document, so that it stays canonical. */
function alter(data: Uint8Array, random: Random): Uint8Array {
  const out = data.slice();
  for (;;) {
    const k = random(out.length);
    const c = String.fromCharCode(out[k]!);
    const class_ = ["0123456789", "abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ghijklmnopqrstuvwxyz"].find((s) => s.includes(c));
    if (!class_) continue;
    out[k] = class_.replace(c, "").charCodeAt(random(class_.length - 1));
    return out;
  }
}

/** Each part of a bundle in turn from another one. */
function splices(of: Vector[], random: Random): Case[] {
  const read = of.map((v) => decodeBundle(bytesOf(join(vectorFolder, v.bundle))));
  const out: Case[] = [];
  read.forEach((b, i) => {
    for (const part of Object.keys(b) as (keyof Bundle)[]) {
      const j = random(read.length);
      const data = utf8(encodeBundle({ ...b, [part]: read[j]![part] }));
      if (utf8Text(data) !== encodeBundle(b)) out.push({ kind: "bundle", about: `${of[i]!.name} with ${part} of ${of[j]!.name}`, data, with: of[i]! });
    }
  });
  return out;
}

/** Bundles that are changed and signed again. What is not changed must still verify, or the keys are not those of the vectors. */
function signedCases(valid: Vector[], count: number, random: Random): Case[] {
  const usable = valid.filter((v) => {
    try {
      const again = resigned(decodeBundle(bytesOf(join(vectorFolder, v.bundle))), "times", () => 0); // moves no time: there is no signature 0 of a mirror
      return again !== undefined && verify(again, trustOf(v)).verdict !== undefined;
    } catch (e) {
      if (e instanceof Refused) return false; // keys of later generations, or entries that are approved
      throw e;
    }
  });
  if (usable.length < 20) throw new Error(`only ${usable.length} vectors can be signed again`);
  const out: Case[] = [];
  for (let n = 0; out.length < count; n++) {
    const v = usable[random(usable.length)]!;
    const what = parts[n % parts.length]!;
    const original = bytesOf(join(vectorFolder, v.bundle));
    const data = resigned(decodeBundle(original), what, random);
    if (data && !equalBytes(data, original)) out.push({ kind: "bundle", about: `${v.name}, ${what} ${n}`, data, with: v });
  }
  return out;
}

/** Whole logs in which entries are changed, copied or moved, with bundles that stand on them. */
function logCases(all: Vector[], count: number, random: Random): Case[] {
  const usable = all.flatMap((v) => {
    if (!v.log) return [];
    const logs = (JSON.parse(utf8Text(bytesOf(join(vectorFolder, v.log)))!) as { logs: WholeLog[] }).logs;
    const bundle = decodeBundle(bytesOf(join(vectorFolder, v.bundle)));
    const same = relogged(bundle, logs, undefined);
    return same && equalBytes(same.data, bytesOf(join(vectorFolder, v.bundle))) ? [{ v, logs, bundle }] : [];
  });
  if (usable.length < 10) throw new Error(`only ${usable.length} vectors with logs can be made again`);
  const out: Case[] = [];
  for (let n = 0; n < count; n++) {
    const { v, logs, bundle } = usable[random(usable.length)]!;
    const made = relogged(bundle, logs, random);
    if (made) out.push({ kind: "bundle", about: `${v.name}, log ${n}`, data: made.data, with: v, logs: made.logs });
  }
  return out;
}

function bundleCases(valid: Vector[], count: number, random: Random): Case[] {
  const out = splices(valid, random);
  for (let n = 0; n < count; n++) {
    const v = valid[random(valid.length)]!;
    const data = bytesOf(join(vectorFolder, v.bundle));
    const how = n % 3 === 0 ? damage : alter;
    out.push({ kind: "bundle", about: `${v.name}, ${how.name} ${n}`, data: how(data, random), with: v });
  }
  return out;
}

/** Entries, templates and configurations stand under signatures and roots in a bundle: these inputs reach what reads them. */
function partCases(valid: Vector[], count: number, random: Random): Case[] {
  const golden = readFileSync(join(repository, "ledger/entry/testdata/entries.golden"), "utf8").trimEnd().split("\n");
  const bodies = valid.flatMap((v) => (decodeBundle(bytesOf(join(vectorFolder, v.bundle))).entries ?? []).map((e) => e.body));
  const entries = [...new Set([...golden, ...bodies])].map(utf8);
  const programs = JSON.parse(readFileSync(join(repository, "circuits/testdata/golden.json"), "utf8")) as { programs: Record<string, { program: object }> };
  const templates = Object.values(programs.programs).map((p) => utf8(JSON.stringify({ program: p.program, dates: [{ atom: 0, years: 65, sign: -1 }] })));
  const units = JSON.parse(readFileSync(join(vectorFolder, "units.json"), "utf8")) as { programs: { program: string }[] };
  for (const { program } of units.programs) templates.push(utf8(`{"program":${program}}`));
  for (const e of entries.map((raw) => decodeEntry(raw))) if (e.kind === "policy.publish" && e.body.template.length > 60) templates.push(utf8(e.body.template));
  const networks = [...new Set(valid.map((v) => v.network))].map((f) => bytesOf(join(vectorFolder, f)));
  networks.push(bytesOf(join(repository, "ledger/network/testdata/configuration.golden")));
  const days = ["2026-03-01", "2024-02-29", "0001-01-01", "9999-12-31", "2023-02-29", "0000-03-01"];
  const out: Case[] = [];
  const draw = (kind: Case["kind"], from: Uint8Array[], n: number) => {
    const data = from[random(from.length)]!;
    const form = () => utf8(changeText(utf8Text(data)!, random)); // still a document
    const changed = n % 4 === 0 ? alter(data, random) : n % 4 === 1 || kind === "entry" ? damage(data, random) : form();
    out.push({ kind, about: `${kind} ${n}`, data: changed, as: days[random(days.length)]! });
  };
  for (let n = 0; n < count; n++) {
    draw("entry", entries, n);
    draw("template", templates, n);
    if (n % 4 === 0) draw("network", networks, n);
  }
  for (const as of days) for (const data of templates) out.push({ kind: "template", about: `a template at ${as}`, data, as });
  return out;
}

/** Identifiers of letters, marks, parts of syllables and what is not assigned, some with more marks than go together. */
function identifierCases(count: number, random: Random): Case[] {
  const from = [
    [0x20, 0x250], [0x300, 0x70], [0x900, 0x500], [0xf71, 0x10], [0x1100, 0x100], [0x1e00, 0x200], [0x3041, 0x60], [0xac00, 0x100],
    [0xff9e, 2], [0x105d0, 0x20], [0x11350, 0x20], [0x11930, 0x10], [0x1d15e, 0x20], [0, 0xd800],
  ];
  return Array.from({ length: count * 4 }, (_, n) => {
    let text = "";
    const one = () => {
      const [first, length] = from[random(from.length)]!;
      return String.fromCodePoint(first! + random(length!));
    };
    if (n % 2) for (let k = 1 + random(12); k > 0; k--) text += one();
    else for (let c = one() + one(); text.length < 60; ) text += random(6) ? c : random(2) ? (c = one()) : "\u0301";
    return { kind: "identifier", about: `identifier ${n}`, data: utf8(text) };
  });
}

const readKinds = new Set(
  "dataset.declare dataset.epoch policy.publish policy.retire agreement.accept agreement.revoke group.define receipts.batch scope.open scope.close claims.batch".split(" "),
);

function entryAnswer(raw: Uint8Array): string {
  const kind = /^\{"kind":"([a-z0-9._-]{1,64})","v":[1-9][0-9]{0,5}[,}]/.exec(String.fromCharCode(...raw.subarray(0, 90)))?.[1] ?? "";
  if (!readKinds.has(kind)) return "other";
  try {
    const e = decodeEntry(raw);
    if (e.kind === "unknown") return "other";
    if (e.kind !== "policy.publish" && e.kind !== "agreement.accept" && e.kind !== "group.define") return e.kind;
    return `${e.kind} ${hex(sha256(approvalMessage("origin", e)))}`;
  } catch (e) {
    if (e instanceof EntryError) return "error";
    throw e;
  }
}

function answer(c: Case): string {
  try {
    switch (c.kind) {
      case "bundle": {
        const trust = trustOf({ ...c.with!, log: undefined });
        if (c.logs) trust.replica = readLogs(utf8(JSON.stringify({ logs: c.logs })), trust.chain);
        const r = verify(c.data, trust);
        return `verified ${r.answer}, ${r.currency}, ${r.receipt}, ${r.claim ?? ""}`;
      }
      case "entry":
        return entryAnswer(c.data);
      case "template": {
        const text = utf8Text(c.data);
        if (text === undefined) return "error";
        return hex(sha256(...layout(programAt(parseTemplate(text), c.as!)).map((v) => bigEndian(element(v), 32))));
      }
      case "identifier":
        return normaliseIdentifier({ name: "any", pattern: "(?s).*", normalise: "upper", example: "" }, utf8Text(c.data)!) ?? "error";
      case "network":
        return readChain(c.data).newest.digest;
    }
  } catch (e) {
    if (e instanceof Refused) return e.reason;
    if (e instanceof ProgramError || e instanceof ConfigurationError) return "error";
    throw e;
  }
}

function go(cases: Case[]): string[] {
  const file = (name: string) => join(vectorFolder, name);
  const input = cases
    .map((c) => JSON.stringify({ kind: c.kind, data: base64(c.data), network: c.with ? file(c.with.network) : "", keys: (c.with?.keys ?? []).map(file), as: c.as ?? "", logs: c.logs }))
    .join("\n");
  const run = spawnSync("go", ["run", "./node/console/verifier/crosscheck"], { cwd: repository, input, encoding: "utf8", maxBuffer: 1 << 28 });
  if (run.status !== 0) throw new Error(`running crosscheck: ${run.error?.message ?? run.stderr}`);
  return run.stdout.trimEnd().split("\n").map((line) => JSON.parse(line) as string);
}

function main(): number {
  const { values } = parseArgs({ options: { seed: { type: "string", default: "1" }, bundles: { type: "string", default: "150" }, signed: { type: "string", default: "300" }, logs: { type: "string", default: "200" }, parts: { type: "string", default: "500" } } });
  const random = generator(Number(values.seed));
  const valid = vectors().filter((v) => v.expect.report && !v.log);
  const cases = [...bundleCases(valid, Number(values.bundles), random), ...signedCases(valid, Number(values.signed), random), ...logCases(vectors(), Number(values.logs), random), ...partCases(valid, Number(values.parts), random), ...identifierCases(Number(values.parts), random)];
  const want = go(cases);
  if (want.length !== cases.length) throw new Error(`${want.length} answers for ${cases.length} inputs`);
  const seen = new Map<string, number>();
  let differences = 0;
  cases.forEach((c, i) => {
    const got = answer(c);
    const short = `${c.kind}: ${want[i]!.length > 24 || (c.kind === "identifier" && want[i] !== "error") ? "accepted" : want[i]!}`;
    seen.set(short, (seen.get(short) ?? 0) + 1);
    if (got === want[i]) return;
    differences++;
    stdout.write(`${c.about}: ${got} here, ${want[i]} in Go\n  ${JSON.stringify(utf8Text(c.data)?.slice(0, 2000) ?? base64(c.data))}\n`);
  });
  for (const [what, n] of [...seen].sort()) stdout.write(`${String(n).padStart(6)}  ${what}\n`);
  stdout.write(`${cases.length} inputs from seed ${values.seed}: ${differences} with different answers\n`);
  return differences === 0 ? 0 : 1;
}

process.exitCode = main();
