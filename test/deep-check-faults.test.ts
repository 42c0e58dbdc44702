// What goes wrong outside of the deep check: a model that is another one than its manifest says, a remote server that hangs
// or answers nonsense. The journey goes on each time, and the verdict says what happened. A child that is killed, windows
// that are odd and a queue that is full are in deep-check.test.ts.

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Judgement } from '../src/gen/verdict_pb.js';
import { loadModel } from '../src/inference/manifest.js';
import { encodeMessage } from '../src/inference/oip-message.js';
import { openForecaster } from '../src/inference/open-forecaster.js';
import { quiet } from './api-site.js';
import { type DeepSite, openDeepSite, suspicion, wave } from './deep-check-site.js';
import { endPrograms, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';

const MODELS = join(projectRoot(), 'models');
let site: DeepSite | undefined;
let server: Server | undefined;

afterEach(async () => {
  await site?.stop();
  site = undefined;
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});
afterAll(endPrograms);

type Json = Record<string, Record<string, unknown>>;

/** The shipped model with a manifest that says something else of it. */
function described(change: (manifest: Json) => void): string {
  const folder = temporaryDirectory('model');
  cpSync(MODELS, folder, { recursive: true });
  const path = join(folder, 'nano.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Json;
  change(manifest);
  writeFileSync(path, JSON.stringify(manifest));
  return path;
}

async function open(choice: { model: string; runtime?: 'native' | 'remote'; remote?: string }) {
  const { model, runtime = 'native', remote = '' } = choice;
  const forecaster = await openForecaster(
    { model, runtime, remote },
    { logger: quiet, clock: Date.now },
  );
  site = await openDeepSite({ forecaster });
  return site;
}

test('a model of other names or shapes than its manifest says is never believed, and every verdict says why', async () => {
  const ok = async (change: (manifest: Json) => void, want: RegExp) => {
    const { append, verdicts, role, stop } = await open({ model: described(change) });
    await append([suspicion(wave(300)), suspicion(wave(300), { fingerprint: 2n })]);
    for (const { outcome, reason } of await verdicts(2)) {
      expect(outcome).toBe(Judgement.UNCHECKED);
      expect(reason).toMatch(want);
    }
    expect(role.unready()).toBeUndefined();
    await stop();
    site = undefined;
  };
  const inputs = (manifest: Json) => manifest['inputs'] as Json;
  await ok((manifest) => Object.assign(inputs(manifest)['mask'] ?? {}, { name: 'seen' }), /mask/);
  await ok(
    (manifest) => Object.assign(inputs(manifest)['context'] ?? {}, { shape: ['batch', 1, 512] }),
    /context/,
  );
  await ok(
    (manifest) => Object.assign(manifest['outputs'] ?? {}, { layout: 'bhq' }),
    /quantiles has the shape \[6,13,64\], not \[6,64,13\]/,
  );
});

/** A server of the protocol whose answers to questions a test gives. */
async function serving(infer: (response: ServerResponse, id: unknown, rows: number) => void) {
  const { inputs, outputs } = loadModel('nano').manifest;
  const about = {
    '/v2': { name: 'another', version: '1', extensions: [] },
    '/v2/models/nano': {
      name: 'nano',
      inputs: [inputs.context.name, inputs.mask?.name].map((name) => ({
        ...{ name, datatype: 'FP32', shape: [-1, 512] },
      })),
      outputs: [{ name: outputs.name, datatype: 'FP32', shape: [-1, 13, 64] }],
    },
  };
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const known = about[request.url as keyof typeof about];
    if (known !== undefined) response.end(JSON.stringify(known));
    else {
      const asked = JSON.parse(Buffer.concat(parts).toString());
      infer(response, asked.id, asked.inputs[0].shape[0]);
    }
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The same quantiles for each row. */
function answer(response: ServerResponse, id: unknown, parts: { rows: number; value?: number }) {
  const { rows, value } = parts;
  const values = Float32Array.from({ length: rows * 13 * 64 }, (_, i) =>
    value === undefined ? (Math.floor(i / 64) % 13) - 6 : value,
  );
  const tensor = { name: 'quantiles', dtype: 'float32' as const, dims: [rows, 13, 64], values };
  const message = { fields: { id, model_name: 'nano' }, tensors: [tensor] };
  response.end(encodeMessage(message, { list: 'outputs', isBinary: false }).body);
}

test('a remote model that hangs, or answers nonsense, leaves verdicts that say so', async () => {
  const ok = async (infer: Parameters<typeof serving>[0], want: RegExp) => {
    const remote = await serving(infer);
    const { append, verdicts, stop, metric } = await open({
      model: 'nano',
      runtime: 'remote',
      remote,
    });
    await append([suspicion(wave(300))]);
    const [verdict] = await verdicts(1);
    expect(verdict?.outcome).toBe(Judgement.UNCHECKED);
    expect(verdict?.reason).toMatch(want);
    expect(await metric('treeline_verdicts_total', { outcome: 'unchecked' })).toBe(1);
    await stop();
    site = undefined;
    server?.closeAllConnections();
    server?.close();
  };
  await ok(() => {}, /no answer in time/);
  await ok((response) => response.writeHead(500).end('out of memory'), /500: out of memory/);
  await ok((response) => response.end('[]'), /no list outputs/);
  await ok(
    (response, id, rows) => answer(response, id, { rows: rows - 1 }),
    /quantiles has the shape/,
  );
  await ok((response, _id, rows) => answer(response, 'another', { rows }), /request another/);
  // What knows nothing of the parity vectors is another model, whatever it calls itself.
  await ok((response, id, rows) => answer(response, id, { rows }), /differ by .* from the 6 in/);
});
