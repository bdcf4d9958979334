// Times and days as the formats write them: UTC in whole seconds, years 0000 to 9999, each in its one spelling.

/** Seconds in a day. */
export const daySeconds = 86400;

/** Days from 1970-01-01 to a day of the proleptic Gregorian calendar; month 1 to 12. */
export function dayNumber(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719468;
}

function daysIn(year: number, month: number): number {
  return month === 2 ? (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Year, month and day of YYYY-MM-DD, years 0000 to 9999; undefined for another text. */
export function readDay(text: string): { year: number; month: number; day: number } | undefined {
  const m = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/.exec(text);
  if (!m) return undefined;
  const [year, month, day] = [Number(m[1]), Number(m[2]), Number(m[3])];
  return month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) ? { year, month, day } : undefined;
}

/** Seconds since 1970 at the beginning of a day of the years 0001 to 9999; undefined for a text that is none. */
export function parseDate(text: string): number | undefined {
  const d = readDay(text);
  return d && d.year >= 1 ? dayNumber(d.year, d.month, d.day) * daySeconds : undefined;
}

/** Seconds since 1970 of a time like 2026-03-01T12:00:00Z; undefined for another text. */
export function parseTime(text: string): number | undefined {
  const m = /^([0-9]{4}-[0-9]{2}-[0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])Z$/.exec(text);
  const d = m ? readDay(m[1]!) : undefined;
  return d && dayNumber(d.year, d.month, d.day) * daySeconds + Number(m![2]) * 3600 + Number(m![3]) * 60 + Number(m![4]);
}

/** The day of a time, YYYY-MM-DD, for times of the years 0000 to 9999. */
export function dayOf(seconds: number): string {
  const days = Math.floor(seconds / daySeconds) + 719468;
  const era = Math.floor(days / 146097);
  const dayOfEra = days - era * 146097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted + (shifted < 10 ? 3 : -9);
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1, 2)}`;
}

/** A time in the one spelling. */
export function formatTime(seconds: number): string {
  const s = seconds - Math.floor(seconds / daySeconds) * daySeconds;
  return `${dayOf(seconds)}T${pad(Math.floor(s / 3600), 2)}:${pad(Math.floor(s / 60) % 60, 2)}:${pad(s % 60, 2)}Z`;
}

function pad(n: number, width: number): string {
  return String(n).padStart(width, "0");
}
