import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../src/bytes.js";
import { normaliseIdentifier } from "../src/identifier.js";
import { isPrintable, simpleUpper } from "../src/unicode.js";
import { dayNumber, dayOf, formatTime, parseDate, parseTime } from "../src/time.js";

test("times and days agree with the platform's calendar", () => {
  for (let day = -719162; day <= 2932896; day += 997) {
    const iso = new Date(day * 86400_000).toISOString();
    assert.equal(dayOf(day * 86400), iso.slice(0, 10));
    assert.equal(parseDate(iso.slice(0, 10)), day * 86400);
    const time = day * 86400 + ((day * day) % 86400);
    assert.equal(parseTime(formatTime(time)), time);
    assert.equal(formatTime(time), new Date(time * 1000).toISOString().replace(".000", ""));
  }
  assert.equal(dayNumber(1970, 1, 1), 0);
});

test("texts that are no times and days", () => {
  const times = ["", "2026-03-01T12:00:00", "2026-03-01T12:00:00.0Z", "2026-03-01t12:00:00Z", "2026-02-29T12:00:00Z", "2026-03-01T24:00:00Z"];
  times.push("2026-03-01T12:60:00Z", "2026-03-01T12:00:60Z", "2026-03-01T12:00:00+00:00", "2026-3-01T12:00:00Z", "2026-03-01T12:00:00Z\n", "10000-01-01T00:00:00Z");
  for (const t of times) assert.equal(parseTime(t), undefined, t);
  for (const d of ["", "2026-02-29", "2025-13-01", "2025-00-01", "2025-01-00", "2025-1-01", "0000-01-01", "+2025-01-01", "2025-04-31", "1900-02-29"]) {
    assert.equal(parseDate(d), undefined, d);
  }
  assert.notEqual(parseDate("2000-02-29"), undefined);
});

test("upper case is character for character", () => {
  assert.equal(simpleUpper("aßéﬁ ᾳᾀᾈ ŉ ǆ ı"), "AßÉﬁ ᾼᾈᾈ ŉ Ǆ I");
});

test("identifiers have one form", () => {
  const scheme = { name: "nid", pattern: "[A-Z]{2}[0-9]{6}|É", normalise: "upper", example: "AB123456" };
  assert.equal(normaliseIdentifier(scheme, "ab123456"), "AB123456");
  assert.equal(normaliseIdentifier(scheme, "e\u0301"), "É");
  for (const id of ["", "AB12345", "AB1234567", "AB123456\n", " AB123456", "\u0001", "A".repeat(129)]) assert.equal(normaliseIdentifier(scheme, id), undefined, id);
  assert.equal(normaliseIdentifier({ ...scheme, normalise: "none" }, "ab123456"), undefined);
  for (const pattern of ["(", "a)|(b", "(?=a)", "(a)\\1", "a**"]) assert.equal(normaliseIdentifier({ ...scheme, pattern }, "a"), undefined, pattern);
  assert.equal(normaliseIdentifier({ ...scheme, pattern: "(?i)ab\\d+" }, "ab1"), "AB1");
});

test("printable text", () => {
  assert.ok(isPrintable("Zürich – 東京 1½ €"));
  for (const s of ["a\u00a0b", "a\tb", "\u200b", "\ue000"]) assert.ok(!isPrintable(s), JSON.stringify(s));
  assert.equal(utf8("é").length, 2);
});
