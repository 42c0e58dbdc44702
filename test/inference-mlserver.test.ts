// Our client of the Open Inference Protocol against a server that nobody here wrote: MLServer, with the shipped model in
// Python's onnxruntime behind it. MLServer has no binary tensors, so this is the JSON half of the protocol; the binary half
// is asked by Triton's client in inference-protocol.test.ts.

import { copyFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ModelForecaster, parityError } from '../src/inference/forecaster.js';
import { inputTensors } from '../src/inference/layout.js';
import { loadModel, type Model } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import { RemoteRuntime } from '../src/inference/remote-runtime.js';
import { endPrograms, eventually, freePort, startProgram, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { PYTHON_MS_MAX, pythonWith } from './python-home.js';

const model = loadModel('nano');
const clock = Date.now;
const READY_MS_MAX = 90_000;
const PEER = join(projectRoot(), 'test', 'mlserver-peer');

afterAll(endPrograms);

/** Path of its command; the reason in one sentence when it cannot be installed here. */
async function mlserver(): Promise<{ command: string } | { missing: string }> {
  try {
    const python = await pythonWith(join(PEER, 'requirements.txt'));
    return { command: join(dirname(python), 'mlserver') };
  } catch (error) {
    return { missing: `MLServer cannot be installed here: ${(error as Error).message}` };
  }
}

/** MLServer with our model; its address. */
async function serve(command: string): Promise<string> {
  const folder = temporaryDirectory('mlserver');
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const { inputs, outputs } = model.manifest;
  const shape = inputs.context.shape.map((size) => (size === 'batch' ? -1 : size));
  const described = {
    name: model.manifest.id,
    implementation: 'nano.Nano',
    parameters: { uri: join(dirname(model.path), model.manifest.file.path), version: '1' },
    inputs: [inputs.context, inputs.mask].map((one) => ({
      name: one?.name,
      datatype: 'FP32',
      shape,
    })),
    outputs: [{ name: outputs.name, datatype: 'FP32', shape: [-1, 13, 64] }],
  };
  const settings = {
    ...{ host: '127.0.0.1', http_port: http, grpc_port: grpc, metrics_port: metrics },
    ...{ parallel_workers: 0, debug: false, metrics_endpoint: null },
  };
  copyFileSync(join(PEER, 'nano.py'), join(folder, 'nano.py'));
  writeFileSync(join(folder, 'settings.json'), JSON.stringify(settings));
  writeFileSync(join(folder, 'model-settings.json'), JSON.stringify(described));
  const program = await startProgram(command, ['start', folder], { directory: folder });
  const url = `http://127.0.0.1:${http}`;
  await eventually('MLServer to have loaded the model', READY_MS_MAX, async () => {
    if (program.hasExited()) throw new Error(program.stderr() + program.stdout());
    const answer = await fetch(`${url}/v2/models/nano/ready`).catch(() => undefined);
    return answer?.ok === true ? true : undefined;
  });
  return url;
}

const remote = (url: string, manifest: Model['manifest'] = model.manifest) =>
  new RemoteRuntime({ url, model: manifest, clock, runMsMax: 30_000 });

test('a model behind MLServer answers our client as it answers here, and another one is refused', {
  timeout: PYTHON_MS_MAX + READY_MS_MAX + 60_000,
}, async ({ skip }) => {
  const found = await mlserver();
  if ('missing' in found) return skip(found.missing);
  const url = await serve(found.command);
  const client = remote(url);
  expect(await parityError(model, client)).toBeLessThan(1e-4);
  const rows = Array.from({ length: 32 }, (_, row) =>
    Float64Array.from({ length: 512 }, (_value, i) => Math.sin((i + row) / 7)),
  );
  const here = createNativeRuntime(model, { clock });
  const there = await client.run(inputTensors(model.manifest, rows));
  const want = await here.run(inputTensors(model.manifest, rows));
  await here.close();
  expect(there.dims).toEqual(want.dims);
  for (const [index, value] of (want.values as Float32Array).entries()) {
    expect(Math.abs((there.values[index] as number) - value)).toBeLessThan(1e-4);
  }
  // Holes, a height of 1e12, a context that is shorter than the model's: a forecast as the deep check asks for it.
  const odd = Float64Array.from({ length: 300 }, (_, i) => (i % 9 === 4 ? Number.NaN : 1e12 + i));
  const [forecast] = await new ModelForecaster(model, client).forecast([odd]);
  expect(forecast?.quantiles.every(Number.isFinite)).toBe(true);
  await client.close();

  const { context } = model.manifest.inputs;
  const longer = { ...context, shape: ['batch' as const, 1024] };
  const inputs = { ...model.manifest.inputs, context: longer };
  const other = remote(url, { ...model.manifest, inputs });
  await expect(other.run(inputTensors(model.manifest, rows.slice(0, 1)))).rejects.toThrow(
    'its model nano is another one: context has the shape [-1,512], not [batch,1024]',
  );
  await other.close();
  const unknown = remote(url, { ...model.manifest, id: 'micro' });
  await expect(unknown.run(inputTensors(model.manifest, rows.slice(0, 1)))).rejects.toThrow(
    'GET /v2/models/micro is answered 404',
  );
  await unknown.close();
});
