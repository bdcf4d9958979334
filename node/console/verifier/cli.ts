// grille-verify: checks a bundle file with Node.

import { readFileSync, statSync } from "node:fs";
import process, { argv, stderr, stdout } from "node:process";
import { parseArgs } from "node:util";
import {
  type Report,
  type Trust,
  JsonError,
  Refused,
  VerifyingKey,
  decodeBundle,
  decodeOpening,
  encodeBundle,
  fingerprint,
  readChain,
  readLogs,
  verify,
} from "./src/index.js";

const usage = `Usage: grille-verify verify BUNDLE --network FILE --key FILE [--opening FILE] [--log FILE] [-o json]

Checks that the verdict in a bundle follows from what its holder had committed to on the ledger. What you trust is the network
configuration: compare its fingerprint, which is printed.

  --network FILE   the network configuration, or a chain of them (required)
  --key FILE       a verifying key (required; once for each circuit)
  --opening FILE   {"subject","nonce"}: check that the answer is about this subject
  --log FILE       whole logs, to prove that the entries were the newest and in force
  -o json          print the report, or the reason, as JSON

Exit code 0: verified. 3: the bundle is refused, for the reason printed. 2: wrong use, or a file that cannot be read.
`;

const maxFile = 256 << 20;

function read(path: string): Uint8Array {
  if (statSync(path).size > maxFile) throw new Error(`${path}: larger than ${maxFile} bytes`);
  return new Uint8Array(readFileSync(path));
}

interface Options {
  bundle: string;
  network: string;
  keys: string[];
  opening: string | undefined;
  log: string | undefined;
  json: boolean;
}

function options(): Options {
  const { values, positionals } = parseArgs({
    args: argv.slice(2),
    allowPositionals: true,
    options: {
      network: { type: "string" },
      key: { type: "string", multiple: true },
      opening: { type: "string" },
      log: { type: "string" },
      output: { type: "string", short: "o", default: "text" },
    },
  });
  const [command, bundle, ...more] = positionals;
  if (command !== "verify" || !bundle || more.length > 0 || !values.network || !values.key || !["text", "json"].includes(values.output)) {
    throw new Error("wrong use");
  }
  const { network, key, opening, log, output } = values;
  return { bundle, network, keys: key, opening, log, json: output === "json" };
}

/** The bundle with an opening from a file of its own. */
function withOpening(data: Uint8Array, path: string): Uint8Array {
  const opening = decodeOpening(read(path));
  try {
    return new TextEncoder().encode(encodeBundle({ ...decodeBundle(data), opening }));
  } catch (e) {
    if (e instanceof JsonError) throw new Refused("encoding", e.message);
    throw e;
  }
}

function print(r: Report, trust: Trust): void {
  const newest = trust.chain.newest;
  const rows: [string, string | undefined][] = [
    ["question", r.question],
    ["policy", `${r.policy} version ${r.policy_version} of ${r.holder}`],
    ["asked by", r.requester],
    ["purpose", r.purpose],
    ["legal basis", r.legal_basis],
    ["case", r.case],
    ["as of", r.as_of],
    ["answered", r.answered_at],
    ["data of", `${r.epoch_time}, epoch ${r.epoch}`],
    ["subject", r.opening_checked ? "named, and checked" : "not shown"],
    ...(r.disclosed ?? []).map((d): [string, string] => [d.column, d.text]),
    ["cosigned by", `${r.cosigners} mirrors`],
    ["currency", r.currency],
    ["receipt", r.receipt],
    ["claim", r.claim && `${r.claim}, in ${r.program}/${r.period}`],
    ["network", `${newest.document.instance}, fingerprint ${fingerprint(newest.digest)}`],
    ["keys", r.key_kind],
  ];
  stdout.write(`Verified: ${r.verdict}\n`);
  for (const [name, value] of rows) if (value) stdout.write(`  ${name.padEnd(12)} ${value}\n`);
}

function main(): number {
  let o: Options;
  try {
    o = options();
  } catch (e) {
    stderr.write(`${(e as Error).message}\n\n${usage}`);
    return 2;
  }
  try {
    const chain = readChain(read(o.network));
    const trust: Trust = { chain, keys: o.keys.map((k) => new VerifyingKey(read(k))) };
    for (const k of trust.keys) k.checkAll();
    if (o.log) trust.replica = readLogs(read(o.log), chain);
    const data = read(o.bundle);
    const report = verify(o.opening ? withOpening(data, o.opening) : data, trust);
    const { digest, document } = chain.newest;
    if (o.json) stdout.write(JSON.stringify({ verified: true, network: document.instance, network_fingerprint: fingerprint(digest), ...report }) + "\n");
    else print(report, trust);
    return 0;
  } catch (e) {
    if (!(e instanceof Refused)) {
      stderr.write(`${(e as Error).message}\n`);
      return 2;
    }
    if (o.json) stdout.write(JSON.stringify({ verified: false, reason: e.reason }) + "\n");
    stderr.write(`${o.bundle} does not verify: ${e.message}\n`);
    return 3;
  }
}

process.exitCode = main(); // not exit(), which cuts off what a pipe has not taken yet
