import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../src/bytes.js";
import { JsonError, compactText, quote } from "../src/json.js";
import * as shape from "../src/shape.js";
import { decodeCanonical, decodeStrict, list, map, optional, pointer, struct, text } from "../src/shape.js";

const inner = struct({ name: text });
const outer = struct({
  a: text,
  n: shape.signed,
  u: shape.unsigned,
  big: shape.quoted64,
  flag: shape.bool,
  hash: shape.hash,
  list: list(inner),
  map: map(inner),
  ptr: optional(pointer(inner)),
  raw: shape.raw,
  bin: shape.bytes,
});

const read = (doc: string) => decodeStrict(utf8(doc), 1000, outer);

test("strict JSON is read", () => {
  const v = read(
    '{"a":"\\ud83d\\ude00 \\\\u d800","n":-9007199254740991,"big":"-9223372036854775808","list":[{"name":"x"}, {}],"map":{"k":{"name":"y"},"K":{}},' +
      '"ptr":null,"raw":{"anything":[1.5e3,null]},"bin":"AAE="}',
  );
  assert.equal(v.a, "😀 \\u d800");
  assert.equal(v.n, -9007199254740991);
  assert.equal(v.big, -(1n << 63n));
  assert.deepEqual(v.list, [{ name: "x" }, { name: "" }]);
  assert.equal(v.map!.get("K")!.name, "");
  assert.equal(v.raw, '{"anything":[1.5e3,null]}');
  assert.deepEqual(v.bin, Uint8Array.of(0, 1));
  assert.equal(v.hash, "0".repeat(64));
  assert.equal(v.ptr, null);
});

const deep = "[".repeat(33) + "]".repeat(33);
const bad: Record<string, string> = {
  empty: "",
  "not JSON": "{a:1}",
  "trailing value": '{"a":"x"} {}',
  "trailing garbage": '{"a":"x"}x',
  "byte order mark": "\ufeff{}",
  "comma at the end": '{"a":"x",}',
  "comma at the end of a list": '{"list":[{},]}',
  "leading zero": '{"n":01}',
  "plus sign": '{"n":+1}',
  "point without digits": '{"raw":1.}',
  "name twice": '{"a":"x","a":"y"}',
  "name twice by escape": '{"a":"x","\\u0061":"y"}',
  "name twice, nested": '{"list":[{"name":"x","name":"y"}]}',
  "name twice in raw": '{"raw":{"q":1,"q":2}}',
  "name twice in map": '{"map":{"q":{},"q":{}}}',
  "unknown name": '{"b":1}',
  "name of every object": '{"__proto__":{}}',
  "unknown name, nested": '{"list":[{"nam":"x"}]}',
  "another case": '{"A":"x"}',
  "null for a string": '{"a":null}',
  "null for a number": '{"n":null}',
  "null for a number in a string": '{"big":null}',
  "null in a number in a string": '{"big":"null"}',
  "null for a truth value": '{"flag":null}',
  "null for a hash": '{"hash":null}',
  "null in a list of objects": '{"list":[null]}',
  "integer beyond 2^53": '{"n":9007199254740992}',
  "huge integer": '{"raw":123456789012345678901234567890}',
  "number out of range": '{"raw":1e400}',
  "float for an integer": '{"n":1.5}',
  "exponent for an integer": '{"n":1e2}',
  "string for a number": '{"n":"1"}',
  "number for a quoted number": '{"big":1}',
  "zeros before a quoted number": '{"big":"007"}',
  "minus zero in a string": '{"big":"-0"}',
  "beyond 64 bits": '{"big":"9223372036854775808"}',
  "negative for unsigned": '{"u":-1}',
  "minus zero for unsigned": '{"u":-0}',
  "hash in capitals": `{"hash":"${"A".repeat(64)}"}`,
  "short hash": '{"hash":"00"}',
  "lone high surrogate": '{"a":"\\ud800"}',
  "lone low surrogate": '{"a":"\\udc00"}',
  "high surrogate and character": '{"a":"\\ud800x"}',
  "lone surrogate in a name": '{"raw":{"\\udfff":1}}',
  noncharacter: '{"a":"\\ufffe"}',
  "noncharacter, plane 1": '{"a":"\u{1ffff}"}',
  "noncharacter in the block": '{"a":"\\ufdd0"}',
  "control character": '{"a":"\x01"}',
  "unknown escape": '{"a":"\\x41"}',
  "nested too deep": `{"raw":${deep}}`,
  "base64 damaged": '{"bin":"*"}',
  "base64 with bits behind it": '{"bin":"AAF="}',
  "too long": `{"a":"${"x".repeat(1000)}"}`,
};

test("what is not strict JSON is refused", () => {
  for (const [name, doc] of Object.entries(bad)) assert.throws(() => read(doc), JsonError, name);
  assert.throws(() => decodeStrict(Uint8Array.of(0x22, 0xff, 0x22), 10, text), JsonError);
});

test("canonical documents have one spelling", () => {
  const of = struct({ a: text, list: list(text), b: optional(text), m: optional(map(shape.unsigned)) });
  const ok = ['{"a":"","list":null}', '{"a":"<\\u2028é\\"\\u0001\\b","list":[],"b":"x","m":{"a":1,"b":2}}'];
  for (const doc of ok) assert.equal(of.encode(decodeCanonical(utf8(doc), 100, of)), doc);
  const others = ['{"a":"", "list":null}', '{"list":null,"a":""}', '{"a":""}', '{"a":"","list":null,"b":""}', '{"a":"\\u003c","list":null}'];
  others.push('{"a":"\u2028","list":null}', '{"a":"\\/","list":null}', '{"a":"","list":[],"m":{"b":2,"a":1}}', '{"a":"\\u000A","list":null}');
  for (const doc of others) assert.throws(() => decodeCanonical(utf8(doc), 100, of), JsonError, doc);
  assert.equal(quote("\u2029\u007f"), '"\\u2029\u007f"');
  assert.equal(compactText('{ "a b" : [ 1 , "\\" x" ] }\n'), '{"a b":[1,"\\" x"]}');
});
