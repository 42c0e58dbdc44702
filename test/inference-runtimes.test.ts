// Where a model runs: the same answers from native code and from WebAssembly, and what happens when a runtime is killed,
// hangs, or is asked for what it cannot do. The children and threads are the real ones.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { ModelForecaster, parityError } from '../src/inference/forecaster.js';
import { inputTensors } from '../src/inference/layout.js';
import { loadModel, type Model } from '../src/inference/manifest.js';
import { createNativeRuntime, nativeMissing } from '../src/inference/native-runtime.js';
import type { Runtime } from '../src/inference/tensor.js';
import { createWasmRuntime } from '../src/inference/wasm-runtime.js';
import { RUNTIME_REST_MS_MIN } from '../src/limits-models.js';
import { temporaryDirectory } from './programs.js';
import { randomOf } from './random.js';

const model = loadModel('nano');
const open: Runtime[] = [];
let nowMs = 0;
const clock = () => nowMs;

afterEach(async () => {
  await Promise.all(open.splice(0).map((runtime) => runtime.close()));
});

function keep<T extends Runtime>(runtime: T): T {
  open.push(runtime);
  return runtime;
}

const inputs = (rows: number) => inputTensors(model.manifest, contexts(rows));

function contexts(rows: number): Float64Array[] {
  const random = randomOf(9);
  return Array.from({ length: rows }, () =>
    Float64Array.from({ length: 500 }, () => random() - 0.5),
  );
}

/** Processes of ours that run the child's program. */
function children(): number[] {
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]).toString();
  return lines
    .split('\n')
    .filter((line) => line.includes('native-place'))
    .map((line) => Number.parseInt(line, 10));
}

test('this machine has what the tests need', () => {
  expect(nativeMissing()).toBeUndefined();
});

test.each(['native', 'wasm'] as const)(
  '%s answers as the makers of the model wrote down',
  async (kind) => {
    const runtime = keep(
      kind === 'native'
        ? createNativeRuntime(model, { clock })
        : createWasmRuntime(model, { clock }),
    );
    expect(await parityError(model, runtime)).toBeLessThan(1e-4);
    const [alone] = await new ModelForecaster(model, runtime).forecast(contexts(1));
    const [beside] = await new ModelForecaster(model, runtime).forecast(contexts(20));
    for (const [index, value] of (alone?.quantiles ?? []).entries()) {
      expect(Math.abs(value - (beside?.quantiles[index] ?? Number.NaN))).toBeLessThan(1e-4);
    }
    expect(runtime.failures).toBe(0);
  },
);

test('parity is refused when the weights are others', async () => {
  const other: Model = {
    ...model,
    parity: model.parity.map((row) => ({
      ...row,
      quantiles: row.quantiles.map((level) => level.map((value) => value + 0.001)),
    })),
  };
  const forecaster = new ModelForecaster(other, keep(createNativeRuntime(model, { clock })));
  await expect(forecaster.forecast(contexts(1))).rejects.toThrow('its answers differ by 0.0010');
  expect(forecaster.trouble()).toContain('its answers differ');
  await expect(forecaster.forecast(contexts(1))).rejects.toThrow('its answers differ');
});

test('forecasts are the same at any offset and scale, in float64', async () => {
  const forecaster = new ModelForecaster(model, keep(createNativeRuntime(model, { clock })));
  const plain = Float64Array.from({ length: 512 }, (_, i) => Math.sin(i / 8) + ((i * 5) % 11) / 30);
  const moved = plain.map((value) => 1e12 + 2 ** 20 * value);
  const tiny = plain.map((value) => 1e-9 * value);
  const [base, offset, small] = await forecaster.forecast([plain, moved, tiny]);
  const { quantiles = new Float64Array(0) } = base ?? {};
  for (const [index, value] of quantiles.entries()) {
    const far = ((offset?.quantiles[index] ?? 0) - 1e12) / 2 ** 20;
    expect(Math.abs(far - value)).toBeLessThan(1e-3);
    expect(Math.abs((small?.quantiles[index] ?? 0) * 1e9 - value)).toBeLessThan(1e-3);
  }
});

test('constants, gaps and nothing at all have finite forecasts', async () => {
  const forecaster = new ModelForecaster(model, keep(createNativeRuntime(model, { clock })));
  const constant = new Float64Array(512).fill(1e12);
  const gaps = Float64Array.from({ length: 512 }, (_, i) =>
    i % 3 === 0 ? Math.cos(i) : Number.NaN,
  );
  const nothing = new Float64Array(512).fill(Number.NaN);
  const huge = Float64Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 1e300 : -1e300));
  const short = Float64Array.of(1, 2, 3);
  const forecasts = await forecaster.forecast([constant, gaps, nothing, huge, short]);
  for (const { quantiles } of forecasts) expect(quantiles.every(Number.isFinite)).toBe(true);
  const middle = forecasts[0]?.quantiles[6 * 64] ?? 0;
  expect(Math.abs(middle - 1e12)).toBeLessThan(10);
});

test('a child that is killed during a run is opened again after a rest', async () => {
  const runtime = keep(createNativeRuntime(model, { clock }));
  await runtime.run(inputs(1));
  const [pid] = children();
  const running = runtime.run(inputs(256));
  setImmediate(() => process.kill(pid as number, 'SIGKILL'));
  await expect(running).rejects.toThrow(/its process ended with SIGKILL/);
  expect(runtime.trouble()).toContain('its process ended with SIGKILL');
  await expect(runtime.run(inputs(1))).rejects.toMatchObject({ code: 'inference_unavailable' });
  expect(children()).toEqual([]);
  nowMs += RUNTIME_REST_MS_MIN;
  expect(runtime.trouble()).toBeUndefined();
  expect((await runtime.run(inputs(2))).dims).toEqual([2, 13, 64]);
  expect(runtime.failures).toBe(1);
});

test('a child that hangs is ended at its deadline, and one that is idle gives its memory back', async () => {
  const hung = keep(createNativeRuntime(model, { clock, runMsMax: 300 }));
  await hung.run(inputs(1));
  process.kill(children()[0] as number, 'SIGSTOP');
  await expect(hung.run(inputs(1))).rejects.toThrow('no answer within 0.3 s');
  await hung.close();
  expect(children()).toEqual([]);
  const idle = keep(createNativeRuntime(model, { clock, idleMs: 50 }));
  await idle.run(inputs(1));
  expect(children().length).toBe(1);
  await expect.poll(children, { timeout: 5_000 }).toEqual([]);
  expect(idle.failures).toBe(0);
  expect((await idle.run(inputs(1))).dims).toEqual([1, 13, 64]);
});

test('a rest doubles with each failure', async () => {
  const folder = temporaryDirectory('place');
  const file = join(folder, 'dead.mjs');
  writeFileSync(file, "process.stderr.write('no such library\\n'); process.exit(3);\n");
  const runtime = keep(createNativeRuntime(model, { clock, file: pathToFileURL(file) }));
  for (const rest of [500, 1000, 2000, 4000]) {
    await expect(runtime.run(inputs(1))).rejects.toThrow(
      'its process ended with 3: no such library',
    );
    nowMs += rest - 1;
    expect(runtime.trouble()).toContain('no such library');
    nowMs += 1;
    expect(runtime.trouble()).toBeUndefined();
  }
  expect(runtime.failures).toBe(4);
});

test.each(['native', 'wasm'] as const)(
  '%s: a damaged model and wrong shapes are answers, not crashes',
  async (kind) => {
    const make = (bytes: Uint8Array) => {
      const other = { ...model, bytes };
      return keep(
        kind === 'native'
          ? createNativeRuntime(other, { clock })
          : createWasmRuntime(other, { clock }),
      );
    };
    const truncated = make(model.bytes.slice(0, 100_000));
    await expect(truncated.run(inputs(1))).rejects.toThrow('it cannot load the model');
    const sound = make(model.bytes);
    const [context, mask] = inputs(2);
    if (context === undefined || mask === undefined) throw new Error('no inputs');
    await expect(sound.run([{ ...context, dims: [4, 256] }, mask])).rejects.toThrow(
      /dimension|shape/i,
    );
    await expect(sound.run([context])).rejects.toThrow(/mask/);
    expect((await sound.run([context, mask])).dims).toEqual([2, 13, 64]);
    expect(sound.failures).toBe(0);
  },
);

test('a thread is ended during a run without harm', async () => {
  const runtime = keep(createWasmRuntime(model, { clock }));
  await runtime.run(inputs(1));
  const running = runtime.run(inputs(256));
  setTimeout(() => void runtime.close(), 5);
  await expect(running).rejects.toMatchObject({ code: 'inference_unavailable' });
});
