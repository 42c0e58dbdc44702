import { expect, test } from 'vitest';
import { LineWriter, writeNumber } from '../src/scorer/line-writer.js';
import { randomOf } from './random.js';

const bytes = Buffer.alloc(64);
const written = (value: number) => bytes.toString('latin1', 0, writeNumber(bytes, 0, value));

test('numbers are written as people write them', () => {
  const wanted: [number, string][] = [
    [0, '0'],
    [-0, '0'],
    [1, '1'],
    [-1.5, '-1.5'],
    [0.1, '0.1'],
    [0.25, '0.25'],
    [100.07, '100.07'],
    [999_999_999, '999999999'],
    [2_147_483_647, '2147483647'],
    [2_147_483_648, '2147483648'],
    [1e21, '1e+21'],
    [-1e300, '-1e+300'],
    [0.001, '0.001'],
    [0.000_999, '0.000999'],
    [-5e-324, '-5e-324'],
    [0.999_999_999_999_999_9, '1'],
    [1.000_000_01, '1.00000001'],
    [12.000_000_05, '12.00000005'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf'],
    [Number.NaN, 'NaN'],
    [-1.797_693_134_862_315_7e308, '-1.7976931348623157e+308'],
  ];
  for (const [value, text] of wanted) expect(written(value)).toBe(text);
});

test('what is read back is what was written, to fifteen digits', () => {
  const random = randomOf(7);
  for (let i = 0; i < 200_000; i++) {
    const value = (random() - 0.5) * 10 ** Math.floor(16 * random() - 4);
    const text = written(value);
    const error = Math.abs(Number(text) - value);
    if (error > 6e-15 * Math.max(1, Math.abs(value))) expect.fail(`${value} is written ${text}`);
    if (!/^-?\d+(\.\d*[1-9])?(e-\d+)?$/.test(text)) expect.fail(`${value} is written ${text}`);
  }
});

test('lines are taken in slices, with names in any script and of any length', () => {
  const writer = new LineWriter();
  const long = `{a="${'é'.repeat(100_000)}"}`;
  writer.text('# HELP\n');
  writer.sample('up', '{job="ü"}', false, 1);
  expect(writer.isFull).toBe(false);
  writer.sample('up', long, false, 0.5);
  expect(writer.isFull).toBe(true);
  const first = writer.take();
  writer.sample('up', '{}', true, 2);
  expect(writer.take().toString()).toBe('up{} 2\n');
  expect(first.toString()).toBe(`# HELP\nup{job="ü"} 1\nup${long} 0.5\n`);
  expect(writer.take()).toHaveLength(0);
});
