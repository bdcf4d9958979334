import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ed25519 } from "@noble/curves/ed25519.js";
import { base64, fromBase64, hex, utf8 } from "../src/bytes.js";
import { verifyEd25519 } from "../src/ed25519.js";
import { NoteError, cosignatureType, logType, parseCheckpoint, parseVerifierKey, signatureLine, verifyHead, verifyOwner } from "../src/note.js";
import { checkInclusion, leafHash, nodeHash, rootOf } from "../src/tlog.js";
import { sha256 } from "../src/hash.js";
import { bigEndian, concat } from "../src/bytes.js";
import { repository } from "./files.js";

/** RFC 6962 section 2.1.1, written out. */
function path(m: number, leaves: Uint8Array[]): Uint8Array[] {
  if (leaves.length <= 1) return [];
  let k = 1;
  while (2 * k < leaves.length) k *= 2;
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k ? [...path(m, left), rootOf(right)] : [...path(m - k, right), rootOf(left)];
}

test("inclusion, in all trees of up to 17 entries, with every hash changed", () => {
  for (let n = 1; n <= 17; n++) {
    const leaves = Array.from({ length: n }, (_, i) => leafHash(utf8(`record ${i}`)));
    const tree = { size: n, root: rootOf(leaves) };
    for (let i = 0; i < n; i++) {
      const p = path(i, leaves);
      const leaf = leaves[i]!;
      assert.ok(checkInclusion(p, tree, i, leaf));
      for (let k = 0; k < p.length; k++) {
        const other = p.map((h, j) => (j === k ? h.map((b, x) => (x === i % 32 ? b ^ 1 : b)) : h));
        assert.ok(!checkInclusion(other, tree, i, leaf));
        assert.ok(!checkInclusion(p.filter((_, j) => j !== k), tree, i, leaf));
        assert.ok(!checkInclusion([...p.slice(0, k), leaf, ...p.slice(k)], tree, i, leaf));
      }
      for (let j = -1; j <= n; j++) if (j !== i) assert.ok(!checkInclusion(p, tree, j, leaf), `${n} ${i} ${j}`);
      if (n > 1) assert.ok(!checkInclusion(p, { ...tree, root: nodeHash(tree.root, leaf) }, i, leaf));
    }
  }
  assert.equal(hex(rootOf([])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

const secret = new Uint8Array(32).fill(7);
const key = ed25519.getPublicKey(secret);

test("Ed25519 as Go verifies it", () => {
  const message = utf8("message");
  const sig = ed25519.sign(message, secret);
  assert.ok(verifyEd25519(key, message, sig));
  for (let i = 0; i < 64; i++) assert.ok(!verifyEd25519(key, message, sig.map((b, j) => (j === i ? b ^ 4 : b))), `byte ${i}`);
  assert.ok(!verifyEd25519(key, utf8("other"), sig));
  assert.ok(!verifyEd25519(key, message, sig.subarray(0, 63)));
  const L = ed25519.Point.Fn.ORDER; // S + L verifies the equation
  const s = BigInt("0x" + hex(sig.subarray(32).slice().reverse())) + L;
  assert.ok(!verifyEd25519(key, message, concat(sig.subarray(0, 32), bigEndian(s, 32).reverse())));
  // A key of small order: without the factor 8, the signature (R = A's negative, S = 0) holds for one hash in eight or so only.
  const small = new Uint8Array(32);
  small[0] = 1; // the neutral element: [0]B = R + [k]A with R = A
  assert.ok(verifyEd25519(small, message, concat(small, new Uint8Array(32))));
  assert.ok(!verifyEd25519(new Uint8Array(32).fill(2), message, sig));
});

function verifierKey(name: string, type: number, k: Uint8Array): string {
  const typed = concat(Uint8Array.of(type), k);
  return `${name}+${hex(sha256(utf8(name + "\n"), typed)).slice(0, 8)}+${base64(typed)}`;
}

test("the golden checkpoint and cosignature", () => {
  const read = (f: string) => readFileSync(join(repository, "ledger/note/testdata", f), "utf8");
  const owner = parseVerifierKey(verifierKey("test.example/GOV/tax/log/1", logType, fromBase64("lfXQXIkGGS2Q4vw149mwuib4mrUfTM34dH59A39xUUg=")!), logType)!;
  const c = parseCheckpoint(read("checkpoint.golden"));
  assert.equal(c.tree.size, 5);
  assert.equal(owner.id, 0xdeac537d);
  assert.equal(c.text + "\n" + verifyOwner(c, owner).line, read("checkpoint.golden"));
  const leaves = [0, 1, 2, 3, 4].map((i) => leafHash(utf8(`record ${i}`)));
  assert.deepEqual(rootOf(leaves), c.tree.root);
  const mirror = parseVerifierKey(verifierKey("test.example/GOV/benefits/mirror/1", cosignatureType, fromBase64("Q27sdBvCL2VZ69UL0Xi+vktS1AFCqBwm3kufh+aO03o=")!), cosignatureType)!;
  const head = read("checkpoint.golden") + read("cosignature.golden");
  const verified = verifyHead(head, "test.example/GOV/tax/log/1", owner, [mirror], 1);
  assert.deepEqual(verified.times, [1772366400]);
});

test("a head in another form is refused", () => {
  const origin = "test.example/GOV/tax/log/1";
  const text = `${origin}\n3\n${base64(new Uint8Array(32))}\n`;
  const owner = parseVerifierKey(verifierKey(origin, logType, key), logType)!;
  const secrets = [1, 2, 3].map((n) => new Uint8Array(32).fill(n));
  const mirrors = secrets.map((s, i) => parseVerifierKey(verifierKey(`mirror/${i}`, cosignatureType, ed25519.getPublicKey(s)), cosignatureType)!);
  const own = signatureLine(origin, owner.id, ed25519.sign(utf8(text), secret));
  const cosign = (i: number, time: bigint) => {
    const sig = ed25519.sign(utf8(`cosignature/v1\ntime ${time}\n${text}`), secrets[i]!);
    return signatureLine(`mirror/${i}`, mirrors[i]!.id, concat(bigEndian(time, 8), sig));
  };
  const check = (note: string) => verifyHead(note, origin, owner, mirrors, 2);
  const [a, b, c] = [cosign(0, 20n), cosign(1, 10n), cosign(2, 30n)];
  assert.deepEqual(check(`${text}\n${own}${a}${b}`).times, [10, 20]);
  const stranger = signatureLine("stranger", 1, new Uint8Array(64));
  const cases = {
    "one too few": `${text}\n${own}${a}`,
    "one too many": `${text}\n${own}${a}${b}${c}`,
    "another order": `${text}\n${own}${b}${a}`,
    "the owner last": `${text}\n${a}${b}${own}`,
    "no owner": `${text}\n${a}${b}`,
    twice: `${text}\n${own}${a}${a}`,
    "a stranger's": `${text}\n${own}${a}${b}${stranger}`,
    "the owner's twice": `${text}\n${own}${own}${a}${b}`,
    "another text": `${text}\n${own}${a}${b}`.replace("\n3\n", "\n4\n"),
    "extension line": `${text.slice(0, -1)}\nmore\n\n${own}${a}${b}`,
    "size with a zero": `${text}\n${own}${a}${b}`.replace("\n3\n", "\n03\n"),
    "without line feed": `${text}\n${own}${a}${b}`.slice(0, -1),
    "line feed more": `${text}\n${own}${a}${b}\n`,
    "far future": `${text}\n${own}${a}${cosign(1, 1n << 45n)}`,
    "carriage return": `${text}\n${own}${a}${b}`.replace("\n", "\r\n"),
    "no signatures": text,
  };
  for (const [name, note] of Object.entries(cases)) assert.throws(() => check(note), NoteError, name);
  const note = `${text}\n${own}${a}${b}`;
  for (let i = 0; i < note.length; i++) {
    assert.throws(() => check(note.slice(0, i) + (note[i] === "A" ? "B" : "A") + note.slice(i + 1)), NoteError, `character ${i}`);
  }
});
