// Numbers and times as `treeline score` reads and writes them: the language's own functions say what is right.

import { expect, test } from 'vitest';
import { floatText, parseNumber, writeDouble, writeFloat } from '../src/cli/score-number.js';
import { parseTime } from '../src/cli/score-time.js';
import { randomOf } from './random.js';

const ROUNDS = 20_000;
const out = Buffer.alloc(64);
const bits = new DataView(new ArrayBuffer(8));

const read = (text: string): number => {
  const bytes = Buffer.from(`,${text},`);
  return parseNumber(bytes, 1, bytes.length - 1);
};
const written = (value: number): string => out.toString('latin1', 0, writeDouble(out, 0, value));
const writtenFloat = (value: number): string =>
  out.toString('latin1', 0, writeFloat(out, 0, value));

/** A double of any size from 2^-24 to 2^52, all bits of its mantissa random. */
function anyDouble(random: () => number): number {
  const exponent = 1023 - 24 + Math.floor(random() * 76);
  bits.setUint32(0, (exponent << 20) | Math.floor(random() * 2 ** 20));
  bits.setUint32(4, Math.floor(random() * 2 ** 32));
  return bits.getFloat64(0);
}

test('doubles are written with the shortest digits that read back, as String writes them', () => {
  const random = randomOf(1);
  const ok = (value: number) => {
    expect(written(value)).toBe(String(value));
    expect(read(String(value))).toBe(value);
  };
  for (let round = 0; round < ROUNDS; round++) {
    const value = anyDouble(random);
    ok(value);
    ok(-value);
    ok(Math.round(random() * 1e6) / 10 ** Math.floor(random() * 8));
    ok(20.123 + Math.fround(100 * random()));
  }
  for (let exponent = -30; exponent < 60; exponent++) {
    const power = 2 ** exponent;
    for (const value of [power, power * (1 + 2 ** -52), power * (1 - 2 ** -53)]) ok(value);
    for (const digits of ['1', '2', '5', '9.5', '9.999999999999999']) {
      ok(Number(`${digits}e${exponent}`));
    }
  }
  for (const value of [0, 1, 999_999_999, 1e9, 1e15, 1e21, 1e-7, 5e-324, 1.7976931348623157e308]) {
    ok(value);
  }
});

test('floats are written with the digits that tell them from their neighbours', () => {
  const random = randomOf(2);
  for (let round = 0; round < ROUNDS; round++) {
    const exponent = 127 - 22 + Math.floor(random() * 74);
    bits.setUint32(0, (exponent << 23) | Math.floor(random() * 2 ** 23));
    const value = bits.getFloat32(0);
    expect(writtenFloat(value)).toBe(floatText(value));
    expect(Math.fround(Number(writtenFloat(-value)))).toBe(-value);
  }
  const ok = (value: number, want: string) => expect(writtenFloat(Math.fround(value))).toBe(want);
  ok(0, '0');
  ok(1, '1');
  ok(0.1, '0.1');
  ok(1.0000001, '1.0000001');
  ok(16_777_216, '16777216');
  ok(1e-9, '1e-9');
  ok(3.4e38, '3.4e+38');
});

test('decimal numbers of any length are read as Number reads them', () => {
  const random = randomOf(3);
  const digits = (count: number): string =>
    Array.from({ length: count }, () => Math.floor(10 * random())).join('');
  const ok = (text: string) => expect([text, read(text)]).toEqual([text, Number(text)]);
  for (let round = 0; round < ROUNDS; round++) {
    ok(`${digits(1 + Math.floor(12 * random()))}.${digits(Math.floor(14 * random()))}`);
    ok(`-0.${digits(1 + Math.floor(24 * random()))}`);
    ok(digits(1 + Math.floor(25 * random())));
    // Halfway between two doubles, where only the exact value decides.
    const middle = (2n ** 53n + BigInt(Math.floor(random() * 2 ** 52))) * 2n + 1n;
    ok(`${middle}.${'0'.repeat(round % 4)}${round % 2}`);
    const places = round % 20;
    const exact = String(middle * 5n ** BigInt(places)).padStart(places + 1, '0');
    ok(`${exact.slice(0, exact.length - places)}.${exact.slice(exact.length - places)}`);
  }
  for (const text of ['1', '+1', '-0', '.5', '5.', '1e5', '1E-5', '1e400', '5e-324', '007'])
    ok(text);
});

test('what is no decimal number is none', () => {
  for (const text of '|.|-|+|e5|1e|1e+|1.2.3|0x10|1_0|1 2|NaN|Infinity|1,2|--1|12a'.split('|')) {
    expect([text, read(text)]).toEqual([text, Number.NaN]);
  }
});

test('times are ISO 8601 or epochs, UTC where no zone is written', () => {
  const ok = (text: string, want: string | number) => {
    const ms = parseTime(Buffer.from(text), 0, Buffer.byteLength(text));
    expect([text, ms]).toEqual([text, typeof want === 'string' ? Date.parse(want) : want]);
  };
  ok('2026-01-04', '2026-01-04T00:00:00Z');
  ok('2026-01-04T11:20', '2026-01-04T11:20:00Z');
  ok('2026-01-04 11:20:30', '2026-01-04T11:20:30Z');
  ok('2026-01-04t11:20:30z', '2026-01-04T11:20:30Z');
  ok('2026-01-04T11:20:30.5', '2026-01-04T11:20:30.500Z');
  ok('2026-01-04T11:20:30,123456789Z', '2026-01-04T11:20:30.123Z');
  ok('2026-01-04T11:20:30+02:00', '2026-01-04T09:20:30Z');
  ok('2026-01-04 11:20:30 -0530', '2026-01-04T16:50:30Z');
  ok('2026-01-04T23:20:30-03', '2026-01-05T02:20:30Z');
  ok('2024-02-29', '2024-02-29T00:00:00Z');
  ok('0001-01-01', '0001-01-01T00:00:00Z');
  ok('1763683200', 1_763_683_200_000);
  ok('1763683200.25', 1_763_683_200_250);
  ok('1763683200250', 1_763_683_200_250);
  ok('1.7636832e9', 1_763_683_200_000);
  ok('-1', -1000);
});

test('anything else is refused, not guessed', () => {
  for (const text of [
    ...['', 'noon', '2026-1-4', '2026-02-30', '2026-13-01', '2026-01-04T', '2026-01-04T11'],
    ...['2026-01-04T24:00', '2026-01-04T11:60', '2026-01-04T11:20:60', '2026-01-04T11:20:30.'],
    ...['2026-01-04T11:20:30+2', '2026-01-04T11:20:30+25:00', '2026-01-04T11:20:30Zulu'],
    ...['04.01.2026', '1/4/2026', 'Jan 4, 2026', '1763683200000000', 'NaN', 'Infinity', '1e99'],
  ]) {
    const ms = parseTime(Buffer.from(text), 0, Buffer.byteLength(text));
    expect([text, ms]).toEqual([text, Number.NaN]);
  }
});
