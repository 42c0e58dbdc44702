// Manifests: what is refused and with which words, and the layouts of three families as data, on tensors that are made by
// hand: what goes in, and what comes out of a tensor of each order.

import { createHash } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inputTensors, outputFault, quantilesOf } from '../src/inference/layout.js';
import { loadModel, type Manifest } from '../src/inference/manifest.js';
import { scaledAll, scaleOf, unscaled } from '../src/inference/scaling.js';
import type { Tensor } from '../src/inference/tensor.js';
import { temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';

type Json = Record<string, unknown>;

/** A copy of the shipped model, with its manifest changed. */
function changed(change: (manifest: Json) => void): string {
  const folder = temporaryDirectory('manifest');
  cpSync(join(projectRoot(), 'models'), folder, { recursive: true });
  const path = join(folder, 'nano.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Json;
  change(manifest);
  writeFileSync(path, JSON.stringify(manifest));
  return folder;
}

const part = (manifest: Json, name: string) => manifest[name] as Json;

test('the shipped model is found by its name, its manifest and its file', () => {
  const { path } = loadModel('nano');
  expect(loadModel(path).manifest.id).toBe('nano');
  expect(loadModel(path.replace(/json$/, 'onnx')).manifest.id).toBe('nano');
});

test('a model that is not what its manifest says is refused with one sentence', () => {
  const refused = (change: (manifest: Json) => void, want: string, name = 'nano.json') => {
    const path = join(changed(change), name);
    expect(() => loadModel(path)).toThrow(want);
    expect(() => loadModel(path)).toThrow(/^Cannot use the model of [^\n]+$/);
  };
  refused((m) => Object.assign(m, { schema: 2 }), '/schema: Expected 1');
  refused((m) => Object.assign(m, { task: 'reconstruct' }), "/task: Expected 'forecast'");
  refused((m) => delete m['license'], '/license: Expected required property');
  refused((m) => Object.assign(part(m, 'file'), { sha256: 'f'.repeat(64) }), 'has the SHA-256');
  refused(
    (m) => Object.assign(part(m, 'file'), { bytes: 5 }),
    `nano.onnx has ${loadModel('nano').bytes.length} bytes, not 5`,
  );
  refused((m) => Object.assign(part(m, 'file'), { path: '../nano.onnx' }), '/file/path');
  refused((m) => Object.assign(part(m, 'file'), { path: 'gone.onnx' }), 'no such file');
  refused(
    (m) => Object.assign(part(m, 'context'), { max: 256 }),
    'inputs.context.shape is ["batch",512]',
  );
  refused(
    (m) => Object.assign(part(m, 'outputs'), { layout: 'bqq' }),
    'must name each of b, q and h once',
  );
  refused((m) => Object.assign(part(m, 'outputs'), { levels: [0.1, 0.9, 0.5] }), 'do not ascend');
  refused((m) => Object.assign(part(m, 'outputs'), { levels: [0.1, 0.4, 0.9] }), 'lack the median');
  refused(
    (m) => Object.assign(part(m, 'outputs'), { levels: [0.1, 0.5, 0.9] }),
    'not 3 levels of 64 steps',
  );
  refused((m) => Object.assign(part(m, 'parity'), { file: 'nano.json' }), '/rows');
});

test('files that are no manifest are refused as well', () => {
  const folder = changed(() => {});
  writeFileSync(join(folder, 'broken.json'), '{"schema": 1,');
  expect(() => loadModel(join(folder, 'broken.json'))).toThrow('it is no JSON');
  expect(() => loadModel(join(folder, 'other.onnx'))).toThrow('no such file');
  expect(() => loadModel('nope')).toThrow(/^There is no model nope: .*nano is shipped/);
  writeFileSync(join(folder, 'renamed.json'), readFileSync(join(folder, 'nano.json')));
  expect(() => loadModel(join(folder, 'renamed.onnx'))).toThrow(
    'it describes nano.onnx, not renamed.onnx',
  );
});

const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
const { manifest: ours } = loadModel('nano');
const bolt: Manifest = {
  ...ours,
  id: 'chronos-bolt-tiny',
  inputs: { context: { name: 'context', dtype: 'float32', shape: ['batch', 8] } },
  context: { max: 8, minObserved: 2, pad: 'left' },
  horizon: { native: 3, rollout: 'none' },
  outputs: { name: 'quantile_preds', layout: 'bqh', levels: LEVELS },
  scaling: { pre: 'affine-f64' },
};
const toto: Manifest = {
  ...bolt,
  id: 'toto-2.0-4m',
  inputs: {
    context: { name: 'target', dtype: 'float32', shape: ['batch', 1, 8] },
    mask: { name: 'target_mask', dtype: 'bool', oneMeans: 'observed' },
    constants: [
      { name: 'series_ids', dtype: 'int64', shape: ['batch', 1], fill: 'zero' },
      // Not Toto's own: what a model asks that would else relate the rows to each other.
      { name: 'group_ids', dtype: 'int64', shape: ['batch'], fill: 'row' },
    ],
  },
  outputs: { name: 'quantiles', layout: 'qbvh', levels: LEVELS },
};
const rows = [Float64Array.of(1, Number.NaN, 3), Float64Array.of(5)];

test('ours: padded on the left, a mask of ones where something was observed', () => {
  const small = { ...ours, context: { ...ours.context, max: 4 }, inputs: { ...ours.inputs } };
  small.inputs.context = { name: 'context', dtype: 'float32', shape: ['batch', 4] };
  const [context, mask] = inputTensors(small, rows);
  expect(context).toEqual({
    name: 'context',
    dtype: 'float32',
    dims: [2, 4],
    values: Float32Array.of(0, 1, 0, 3, 0, 0, 0, 5),
  });
  expect(mask).toEqual({
    name: 'mask',
    dtype: 'float32',
    dims: [2, 4],
    values: Float32Array.of(0, 1, 0, 1, 0, 0, 0, 1),
  });
});

test('Chronos-Bolt: no mask, NaN where nothing is', () => {
  const [context, ...more] = inputTensors(bolt, rows);
  expect(more).toEqual([]);
  expect([...((context as Tensor).values as Float32Array)]).toEqual([
    ...[Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, 1, Number.NaN, 3],
    ...[Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN, 5],
  ]);
});

test('Toto: one variate, a mask of booleans, constants by zero and by row', () => {
  const [target, mask, ids, groups] = inputTensors(toto, rows);
  expect(target?.dims).toEqual([2, 1, 8]);
  expect(mask).toMatchObject({ dtype: 'bool', dims: [2, 1, 8] });
  expect([...((mask as Tensor).values as Uint8Array)]).toEqual([
    0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
  ]);
  expect(ids).toMatchObject({ dtype: 'int64', dims: [2, 1], values: new BigInt64Array(2) });
  expect(groups?.values).toEqual(BigInt64Array.of(0n, 1n));
});

test('whatever the order of the dimensions, quantiles come out level by level and ascending', () => {
  const cases = [
    ['bqh', [2, 9, 3]],
    ['bhq', [2, 3, 9]],
    ['qbvh', [9, 2, 1, 3]],
    ['bvqh', [2, 1, 9, 3]],
  ] as const;
  for (const [layout, dims] of cases) {
    const manifest = { ...bolt, outputs: { ...bolt.outputs, layout } };
    const values = new Float32Array(54);
    for (let at = 0; at < 54; at++) {
      const place: Record<string, number> = {};
      let rest = at;
      for (let i = dims.length - 1; i >= 0; i--) {
        place[layout[i] as string] = rest % (dims[i] as number);
        rest = Math.floor(rest / (dims[i] as number));
      }
      const { b = 0, q = 0, h = 0 } = place;
      // Level 3 and 4 have crossed.
      const level = q === 3 ? 4 : q === 4 ? 3 : q;
      values[at] = 1000 * b + 10 * level + h;
    }
    const output: Tensor = { name: 'quantile_preds', dtype: 'float32', dims: [...dims], values };
    expect(outputFault(manifest, output, 2)).toBeUndefined();
    for (const row of [0, 1]) {
      const want = LEVELS.flatMap((_, q) => [0, 1, 2].map((h) => 1000 * row + 10 * q + h));
      expect([...quantilesOf(manifest, output, { row, steps: 3 })]).toEqual(want);
      const first = LEVELS.map((_, q) => 1000 * row + 10 * q);
      expect([...quantilesOf(manifest, output, { row, steps: 1 })]).toEqual(first);
    }
  }
});

test('an answer of another shape or type, or with what is no number, has a fault', () => {
  const output = (change: Partial<Tensor>): Tensor => ({
    ...{ name: 'quantile_preds', dtype: 'float32', dims: [2, 9, 3], values: new Float32Array(54) },
    ...change,
  });
  const fault = (change: Partial<Tensor>) => outputFault(bolt, output(change), 2);
  expect(fault({})).toBeUndefined();
  expect(fault({ dims: [2, 9, 5], values: new Float32Array(90) })).toBeUndefined();
  expect(fault({ dims: [1, 9, 3] })).toContain('has the shape [1,9,3], not [2,9,3]');
  expect(fault({ dims: [2, 9, 2] })).toContain('has the shape');
  expect(fault({ dtype: 'int64' })).toContain('is int64');
  expect(fault({ values: new Float32Array(53) })).toContain('has 53 values, not 54');
  expect(fault({ values: new Float32Array(54).fill(Number.NaN) })).toContain('is not finite');
});

test('scaling there and back is exact enough at every height', () => {
  for (const height of [0, 1, 1e9, -1e12]) {
    for (const size of [1e-3, 1, 1e6]) {
      const values = Float64Array.from({ length: 64 }, (_, i) => height + size * Math.sin(i));
      for (const scaling of ['median-asinh-f64', 'meanstd-asinh-f64', 'affine-f64'] as const) {
        const scale = scaleOf(values, scaling);
        const there = scaledAll(values, scale, scaling);
        for (const [i, z] of there.entries()) {
          const error = Math.abs(unscaled(z, scale, scaling) - (values[i] as number));
          expect(error).toBeLessThan(1e-9 * size + 1e-15 * Math.abs(height) * 4);
        }
      }
    }
  }
  for (const scaling of ['median-asinh-f64', 'meanstd-asinh-f64'] as const) {
    const scale = (...values: number[]) => scaleOf(Float64Array.from(values), scaling);
    expect(scale(4, 4, 4, Number.NaN)).toEqual({ middle: 4, size: 0 });
    expect(scale(Number.NaN)).toEqual({ middle: 0, size: 0 });
    expect(scale()).toEqual({ middle: 0, size: 0 });
    // Of a constant only that constant is expected, whatever a model makes of it.
    expect([...scaledAll(Float64Array.of(4, 4), scale(4, 4), scaling)]).toEqual([0, 0]);
    for (const z of [0.3, -1e4]) expect(unscaled(z, scale(4, 4), scaling)).toBe(4);
  }
  const far = Float64Array.of(1e300, -1e300, Number.NaN);
  expect(scaleOf(far, 'meanstd-asinh-f64')).toEqual({ middle: 0, size: 1e300 });
  expect(scaleOf(far, 'median-asinh-f64')).toEqual({ middle: 1e300, size: 1e300 });
  // One spike among many moves the mean and the deviation, and leaves the median.
  const spiked = Float64Array.from({ length: 100 }, (_, i) => (i === 50 ? 1000 : i % 2));
  expect(scaleOf(spiked, 'median-asinh-f64').middle).toBe(1);
  expect(scaleOf(spiked, 'median-asinh-f64').size).toBeCloseTo(10.48, 9);
  expect(scaleOf(spiked, 'meanstd-asinh-f64').size).toBeGreaterThan(90);
});

test('the hash that is checked is that of the bytes that are run', () => {
  const { bytes, manifest } = loadModel('nano');
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(manifest.file.sha256);
});
