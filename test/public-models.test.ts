// The export of public models, by the packages of their makers and small random weights: what it writes goes through the
// loader, both runtimes, the protocol, the deep check and the command as a user's model would. No weights are fetched: how
// good a forecast is cannot be told here, that it is the package's own is.

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, type TestContext, test } from 'vitest';
import { Judgement } from '../src/gen/verdict_pb.js';
import { createHttpServer } from '../src/http-server.js';
import { type Forecaster, ModelForecaster, parityError } from '../src/inference/forecaster.js';
import { loadModel, type Manifest } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import { OipServer } from '../src/inference/oip-server.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { RemoteRuntime } from '../src/inference/remote-runtime.js';
import type { Runtime } from '../src/inference/tensor.js';
import { createWasmRuntime } from '../src/inference/wasm-runtime.js';
import { createMetrics } from '../src/metrics.js';
import { quiet } from './api-site.js';
import { openDeepSite, suspicion, wave } from './deep-check-site.js';
import { endPrograms, runProgram, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { PYTHON_MS_MAX, pythonFrom, pythonWith } from './python-home.js';
import { runTreeline } from './treeline-process.js';

const EXPORTS = join(projectRoot(), 'training', 'public');
/** 20 s of a core, most of it imports; on a machine that does much else it has taken three minutes. */
const EXPORT_MS_MAX = 360_000;
/** What both packages ask for. */
const PYTHON_MINOR = 12;
const SCRIPTS = { 'chronos-bolt-random': 'chronos_bolt.py', 'toto-2.0-random': 'toto_2.py' };
const NAMES = ['chronos-bolt-random', 'toto-2.0-random'] as const;
const INVERTED = { oneMeans: 'missing' };
const TIMEOUT = { timeout: PYTHON_MS_MAX + EXPORT_MS_MAX };
const clock = Date.now;
const folder = temporaryDirectory('public-models');
const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});
afterAll(endPrograms);

function keep<T extends { close(): Promise<void> }>(one: T): T {
  open.push(one);
  return one;
}

const interpreter = await pythonFrom(PYTHON_MINOR);

/** A script's exit code and what it said. */
async function exported(script: string, ...args: string[]) {
  python ??= pythonWith(join(EXPORTS, 'requirements.txt'), interpreter);
  return runProgram(await python, [join(EXPORTS, script), ...args], {
    // Nothing is looked for in the network: weights lie in a folder, or are random.
    environment: { HF_HUB_OFFLINE: '1' },
    timeoutMs: EXPORT_MS_MAX,
  });
}

let python: Promise<string> | undefined;
let made: Promise<unknown> | undefined;

/** Both models, made once for all tests. */
function models({ skip }: TestContext): Promise<unknown> {
  if (interpreter === undefined) {
    skip(`The packages of the public models need Python 3.${PYTHON_MINOR} or later; none is here`);
  }
  made ??= Promise.all(
    NAMES.map(async (name) => {
      const { code, stdout, stderr } = await exported(SCRIPTS[name], 'random', folder);
      expect(stderr).toBe('');
      expect([code, stdout]).toEqual([0, expect.stringContaining("beside the package's own")]);
    }),
  );
  return made;
}

const fileOf = (name: string) => join(folder, `${name}.onnx`);

test.for(NAMES)(
  '%s answers in both runtimes as its package does',
  TIMEOUT,
  async (name, context) => {
    await models(context);
    const model = loadModel(fileOf(name));
    expect(model.parity.length).toBe(10);
    for (const create of [createNativeRuntime, createWasmRuntime]) {
      expect(await parityError(model, keep(create(model, { clock })))).toBeLessThan(1e-4);
    }
    expect(model.bytes.length).toBeLessThan(4e6);
    // Neither what exported it nor where.
    expect(Buffer.from(model.bytes).includes('site-packages')).toBe(false);
  },
);

test('their layouts are those of the documents', TIMEOUT, async (context) => {
  await models(context);
  const bolt = loadModel(fileOf('chronos-bolt-random')).manifest;
  expect(bolt.inputs).toEqual({
    context: { name: 'context', dtype: 'float32', shape: ['batch', 512] },
  });
  const toto = loadModel(fileOf('toto-2.0-random')).manifest;
  expect(toto.inputs).toEqual({
    context: { name: 'target', dtype: 'float32', shape: ['batch', 1, 512] },
    mask: { name: 'target_mask', dtype: 'bool', oneMeans: 'observed' },
    constants: [{ name: 'series_ids', dtype: 'int64', shape: ['batch', 1], fill: 'zero' }],
  });
  const formats = readFileSync(join(projectRoot(), 'docs', 'formats.md'), 'utf8');
  const shown = (name: string) => formats.split('\n').find((line) => line.startsWith(`| ${name}`));
  const levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
  for (const [row, manifest] of [
    [shown('Chronos-Bolt'), bolt],
    [shown('Toto'), toto],
  ] as const) {
    const { inputs, outputs, scaling, horizon } = manifest;
    expect(outputs.levels).toEqual(levels);
    expect(horizon.native).toBe(64);
    const shapes = [inputs.context, ...(inputs.constants ?? [])].map(({ shape }) =>
      JSON.stringify(shape).replaceAll(',', ', '),
    );
    for (const word of [...shapes, outputs.layout, scaling.pre]) expect(row).toContain(word);
  }
});

test.for(NAMES)(
  '%s forecasts holes, constants and great heights',
  TIMEOUT,
  async (name, context) => {
    await models(context);
    const choice = { model: fileOf(name), runtime: 'native', remote: '' } as const;
    const forecaster = keep(await openForecaster(choice, { logger: quiet, clock }));
    const calm = Float64Array.from(wave(512, { level: 0, size: 1, noise: 0.1 }));
    const odd = {
      calm,
      lifted: calm.map((value) => 1e9 + 1000 * value),
      short: calm.slice(-90),
      holes: calm.map((value, i) => (i % 7 === 3 ? Number.NaN : value)),
      silent: calm.map((value, i) => (i > 440 ? Number.NaN : value)),
      constant: new Float64Array(512).fill(7),
      longer: Float64Array.from([...calm, ...calm]),
    };
    const forecasts = await forecaster.forecast(Object.values(odd));
    const at = Object.fromEntries(Object.keys(odd).map((key, i) => [key, forecasts[i]?.quantiles]));
    const of = (key: keyof typeof odd): Float64Array => at[key] as Float64Array;
    for (const { quantiles, levels, steps } of forecasts) {
      expect([levels.length, steps]).toEqual([9, 64]);
      expect(quantiles.every(Number.isFinite)).toBe(true);
      for (let i = steps; i < quantiles.length; i++) {
        expect(quantiles[i]).toBeGreaterThanOrEqual(quantiles[i - steps] as number);
      }
    }
    expect(of('constant').every((value) => value === 7)).toBe(true);
    expect(of('longer')).toEqual(of('calm'));
    for (const [i, value] of of('calm').entries()) {
      expect(Math.abs((of('lifted')[i] as number) - (1e9 + 1000 * value))).toBeLessThan(0.1);
    }
    // What is missing is seen as missing, and what was is looked at.
    const zeroed = odd.silent.map((value) => (Number.isNaN(value) ? 0 : value));
    const [other] = await forecaster.forecast([zeroed]);
    for (const key of ['short', 'holes', 'silent'] as const) {
      expect(apart(of(key), of('calm'))).toBeGreaterThan(1e-3);
    }
    expect(apart(of('silent'), other?.quantiles ?? of('silent'))).toBeGreaterThan(1e-3);
    const [alone] = await forecaster.forecast([calm]);
    expect(apart(alone?.quantiles ?? of('lifted'), of('calm'))).toBeLessThan(1e-4);
  },
);

const apart = (one: Float64Array, other: Float64Array): number =>
  one.reduce((most, value, i) => Math.max(most, Math.abs(value - (other[i] as number))), 0);

test.for(NAMES)('%s gives verdicts, and is served to others', TIMEOUT, async (name, context) => {
  await models(context);
  const model = loadModel(fileOf(name));
  const runtime: Runtime = keep(createNativeRuntime(model, { clock }));
  const server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  keep({ close: () => server.close() });
  const oip = new OipServer({ model, runtime, version: '0', onInfer() {} });
  oip.routes(server);
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  await oip.start(new AbortController().signal);
  const remote = keep(new RemoteRuntime({ url, model: model.manifest, clock, runMsMax: 10_000 }));
  expect(await parityError(model, remote)).toBeLessThan(1e-4);

  const forecaster: Forecaster = new ModelForecaster(model, remote);
  const site = await openDeepSite({ forecaster });
  keep({ close: () => site.stop() });
  const usual = wave(410);
  await site.append([
    suspicion(usual),
    suspicion([...usual.slice(0, -1), 900], { fingerprint: 2n }),
  ]);
  const [, far] = await site.verdicts(2);
  // Whatever random weights expect, 40 times the size of the wave is more.
  expect(far).toMatchObject({ outcome: Judgement.CONFIRMED, model: forecaster.id });
});

test('the command shows them, and refuses what is broken', TIMEOUT, async (context) => {
  await models(context);
  for (const name of NAMES) {
    const { code, stdout } = await runTreeline(['model', 'inspect', fileOf(name)]);
    expect(stdout).toMatch(/10 answers as its makers wrote down/);
    expect(code).toBe(0);
  }
  const refused = async (name: string, change: (manifest: Manifest) => void, want: RegExp) => {
    const copy = temporaryDirectory('public-broken');
    cpSync(folder, copy, { recursive: true });
    const path = join(copy, `${name}.json`);
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
    change(manifest);
    writeFileSync(path, JSON.stringify(manifest));
    const { code, stderr } = await runTreeline(['model', 'inspect', path]);
    expect([code !== 0, stderr]).toEqual([true, expect.stringMatching(want)]);
  };
  const [bolt, toto] = NAMES;
  await refused(toto, ({ inputs }) => Object.assign(inputs.mask ?? {}, INVERTED), /differ by/);
  await refused(toto, ({ inputs }) => Reflect.deleteProperty(inputs, 'constants'), /series_ids/);
  await refused(toto, ({ outputs }) => Object.assign(outputs, { layout: 'qvbh' }), /has the shape/);
  await refused(bolt, ({ inputs }) => Object.assign(inputs.context, { name: 'x' }), /context/);
  await refused(bolt, ({ outputs }) => Object.assign(outputs, { name: 'y' }), /no output y/);
  await refused(bolt, ({ file }) => Object.assign(file, { sha256: '0'.repeat(64) }), /SHA-256/);
});

test('an export that cannot be says why in one sentence', TIMEOUT, async (context) => {
  await models(context);
  const other = temporaryDirectory('other-model');
  writeFileSync(join(other, 'config.json'), '{"model_type":"t5","architectures":["T5Model"]}');
  const said = async (want: string, ...args: [string, ...string[]]) => {
    const { code, stderr } = await exported(...args, other);
    expect([code, stderr]).toEqual([1, `${want}\n`]);
  };
  await Promise.all([
    said(
      `${other}: it is ['T5Model'], and this exports Chronos-Bolt only`,
      ...(['chronos_bolt.py', other] as const),
    ),
    said(
      '--context is 500: random takes multiples of 32',
      ...(['toto_2.py', '--context', '500', 'random'] as const),
    ),
  ]);
  const bare = ['-S', join(EXPORTS, 'toto_2.py'), 'random', other];
  const { code, stderr } = await runProgram('python3', bare, { timeoutMs: EXPORT_MS_MAX });
  const fix = 'run pip install -r requirements.txt with Python 3.12 or later';
  expect([code, stderr]).toEqual([1, `No module named 'numpy'; ${fix}\n`]);
});
