// The shipped models are what their manifests say, byte by byte, and small enough to be shipped.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const FOLDER = new URL('../models/', import.meta.url);
const BYTES_MAX: Readonly<Record<string, number>> = { nano: 1.6e6, 'edge-s': 5e6 };

interface Manifest {
  id: string;
  file: { path: string; sha256: string; bytes: number };
  outputs: { levels: number[] };
  horizon: { native: number };
  context: { max: number };
  parity: { file: string };
}

interface Parity {
  rows: { context: (number | null)[]; mask: string; quantiles: number[][] }[];
}

const read = (name: string) => readFileSync(new URL(name, FOLDER));
const names = readdirSync(FOLDER).filter(
  (name) => name.endsWith('.json') && !name.endsWith('.parity.json'),
);

test('there is a model', () => {
  expect(names).toContain('nano.json');
});

test.each(names)('%s describes the file beside it', (name) => {
  const { id, file } = JSON.parse(read(name).toString()) as Manifest;
  const bytes = read(file.path);
  expect(bytes.length).toBe(file.bytes);
  expect(bytes.length).toBeLessThanOrEqual(BYTES_MAX[id] ?? 0);
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(file.sha256);
});

test.each(names)('%s has parity vectors of the shapes it promises', (name) => {
  const manifest = JSON.parse(read(name).toString()) as Manifest;
  const { rows } = JSON.parse(read(manifest.parity.file).toString()) as Parity;
  expect(rows.length).toBeGreaterThanOrEqual(4);
  for (const { context, mask, quantiles } of rows) {
    expect([context.length, mask.length]).toEqual([manifest.context.max, manifest.context.max]);
    expect(quantiles.length).toBe(manifest.outputs.levels.length);
    for (const level of quantiles) {
      expect(level.length).toBe(manifest.horizon.native);
      expect(level.every(Number.isFinite)).toBe(true);
    }
    for (const [i, value] of context.entries()) expect(value === null).toBe(mask[i] === '0');
  }
});
