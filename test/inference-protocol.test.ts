// The Open Inference Protocol from both sides: our server asked by Triton's client, our client asking our server, and what
// our client makes of servers that are slow, wrong, away or speak JSON only.

import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createHttpServer, type HttpServer } from '../src/http-server.js';
import { ModelForecaster, parityError } from '../src/inference/forecaster.js';
import { inputTensors } from '../src/inference/layout.js';
import { loadModel } from '../src/inference/manifest.js';
import { createNativeRuntime } from '../src/inference/native-runtime.js';
import { BadMessage, decodeMessage, encodeMessage } from '../src/inference/oip-message.js';
import { OipServer } from '../src/inference/oip-server.js';
import { RemoteRuntime } from '../src/inference/remote-runtime.js';
import type { Runtime } from '../src/inference/tensor.js';
import { INFER_REQUESTS_MAX } from '../src/limits-models.js';
import { createMetrics } from '../src/metrics.js';
import { quiet } from './api-site.js';
import { projectRoot } from './project-root.js';
import { PYTHON_MS_MAX, pythonWith } from './python-home.js';

const model = loadModel('nano');
const clock = Date.now;
let server: HttpServer;
let runtime: Runtime;
let url = '';
const inferred: (number | undefined)[] = [];

beforeAll(async () => {
  runtime = createNativeRuntime(model, { clock });
  server = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  const oip = new OipServer({
    ...{ model, runtime, version: '0' },
    onInfer: (rows) => inferred.push(rows),
  });
  oip.routes(server);
  url = await server.listen({ host: '127.0.0.1', port: 0 });
  const before = await fetch(`${url}/v2/health/ready`);
  expect([before.status, await before.json()]).toEqual([
    503,
    { ready: false, error: 'loading the model' },
  ]);
  await oip.start(new AbortController().signal);
});

afterAll(async () => {
  await server?.close();
  await runtime?.close();
});

/** Stands for somebody else's server. */
async function foreign(
  answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void,
): Promise<{ url: string; close(): Promise<void> }> {
  const made = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    answer(request, response, Buffer.concat(parts));
  });
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(made.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        made.closeAllConnections();
        made.close(() => resolve());
      }),
  };
}

const remote = (to: string, runMsMax = 5_000) =>
  new RemoteRuntime({ url: to, model: model.manifest, clock, runMsMax });
const inputs = (rows: number) =>
  inputTensors(
    model.manifest,
    Array.from({ length: rows }, (_, row) =>
      Float64Array.from({ length: 512 }, (_value, i) => Math.sin((i + row) / 7)),
    ),
  );

test("Triton's own client is answered as it expects, in binary and in JSON", {
  timeout: PYTHON_MS_MAX,
}, async () => {
  const folder = join(projectRoot(), 'test', 'triton-peer');
  const python = await pythonWith(join(folder, 'requirements.txt'));
  const [context, mask] = inputs(3).map(({ values }) =>
    Array.from({ length: 3 }, (_, row) => [
      ...(values as Float32Array).slice(512 * row, 512 * (row + 1)),
    ]),
  );
  const output = await new Promise<string>((resolve, reject) => {
    const args = [join(folder, 'peer.py'), new URL(url).host];
    const child = execFile(python, args, { timeout: 60_000, maxBuffer: 1e8 }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(`${JSON.stringify({ context, mask })}\n`);
  });
  const [said, answers] = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(said).toMatchObject({
    ...{ live: true, ready: true, modelReady: true, versionReady: true },
    server: { name: 'treeline', extensions: ['binary_tensor_data'] },
    model: {
      name: 'nano',
      versions: ['2.0.0'],
      inputs: [
        { name: 'context', datatype: 'FP32', shape: [-1, 512] },
        { name: 'mask', datatype: 'FP32', shape: [-1, 512] },
      ],
      outputs: [{ name: 'quantiles', datatype: 'FP32', shape: [-1, 13, 64] }],
    },
    refused: [
      ['400', 'the input mask is missing'],
      ['400', 'the input context is FP32 [1,500], not FP32 [1,512]'],
    ],
  });
  const want = (await runtime.run(inputs(3))).values as Float32Array;
  for (const answer of [answers.binary, answers.json] as number[][][][]) {
    const flat = answer.flat(2);
    expect(flat.length).toBe(want.length);
    for (const [index, value] of want.entries()) {
      expect(Math.abs((flat[index] ?? Number.NaN) - value)).toBeLessThan(1e-5);
    }
  }
});

test('our client and our server agree to the last bit', async () => {
  const client = remote(`${url}/`);
  expect(await parityError(model, client)).toBeLessThan(1e-4);
  const there = (await client.run(inputs(32))).values;
  const here = (await runtime.run(inputs(32))).values;
  expect(there).toEqual(here);
  const [forecast] = await new ModelForecaster(model, client).forecast([
    new Float64Array(512).fill(7),
  ]);
  expect(forecast?.quantiles.every(Number.isFinite)).toBe(true);
  expect(inferred.filter((rows) => rows === 32).length).toBe(1);
  await client.close();
});

test('messages survive both ways, and a message that does not add up is refused', () => {
  const tensors = [
    {
      name: 'a',
      dtype: 'float32' as const,
      dims: [2, 2],
      values: Float32Array.of(1, Number.NaN, -3.5, 4),
    },
    { name: 'b', dtype: 'int64' as const, dims: [2], values: BigInt64Array.of(7n, -9n) },
    { name: 'c', dtype: 'bool' as const, dims: [1, 3], values: Uint8Array.of(1, 0, 1) },
  ];
  for (const isBinary of [true, false]) {
    const { body, headers } = encodeMessage(
      { fields: { id: 'x' }, tensors },
      { list: 'inputs', isBinary },
    );
    const jsonLength = headers['inference-header-content-length'];
    const options = { list: 'inputs' as const, jsonLength, valuesMax: 4 };
    const back = decodeMessage(body, options);
    expect(back.tensors).toEqual(tensors);
    expect(back.fields['id']).toBe('x');
    expect(() => decodeMessage(body, { ...options, valuesMax: 3 })).toThrow('at most 3 are taken');
    if (isBinary) expect(() => decodeMessage(body.subarray(0, -1), options)).toThrow(BadMessage);
  }
  const bad = (text: string, want: string) => {
    const options = { list: 'inputs' as const, jsonLength: undefined, valuesMax: 100 };
    expect(() => decodeMessage(Buffer.from(text), options)).toThrow(want);
  };
  const entry = (fields: object) =>
    JSON.stringify({ inputs: [{ name: 'a', datatype: 'FP32', shape: [2], ...fields }] });
  bad('{', 'no object');
  bad('{}', 'no list inputs');
  bad('{"inputs":[null]}', 'no list of tensors');
  bad(entry({ data: [1] }), 'does not list 2 values');
  bad(entry({ data: [1, 'x'] }), 'does not list 2 values');
  bad(entry({ datatype: 'FP16', data: [1, 2] }), 'FP32, INT64 and BOOL are known');
  bad(entry({ shape: [-1] }), 'has the shape [-1]');
  bad(entry({ parameters: { binary_data_size: 8 } }), 'and 0 are left');
});

test('requests that do not fit are 400 with the reason, other models 404', async () => {
  const ask = async (path: string, sent: Buffer | string, headers = {}) => {
    const body = typeof sent === 'string' ? sent : Uint8Array.from(sent);
    const answer = await fetch(`${url}${path}`, { method: 'POST', body, headers });
    return [answer.status, ((await answer.json()) as { error: string }).error];
  };
  expect(await ask('/v2/models/nano/infer', 'nonsense')).toEqual([
    400,
    'its JSON part is no object',
  ]);
  const { body, headers } = encodeMessage(
    { fields: {}, tensors: inputs(300) },
    { list: 'inputs', isBinary: true },
  );
  expect(await ask('/v2/models/nano/infer', body, headers)).toEqual([
    400,
    '300 rows are asked for, 1 to 256 are taken',
  ]);
  expect((await ask('/v2/models/other/infer', body))[0]).toBe(404);
  expect((await ask('/v2/models/nano/versions/9/infer', body))[0]).toBe(404);
  const outputs = [{ name: 'mean' }];
  const small = encodeMessage(
    { fields: { outputs }, tensors: inputs(1) },
    { list: 'inputs', isBinary: true },
  );
  expect(await ask('/v2/models/nano/infer', small.body, small.headers)).toEqual([
    400,
    'there is no output mean, but quantiles',
  ]);
  const huge = await fetch(`${url}/v2/models/nano/infer`, {
    method: 'POST',
    body: Buffer.alloc(17e6),
  });
  expect(huge.status).toBe(413);
});

const metadata = {
  inputs: ['context', 'mask'].map((name) => ({ name, datatype: 'FP32', shape: [-1, 512] })),
  outputs: [{ name: 'quantiles', datatype: 'FP32', shape: [-1, 13, 64] }],
};
const json = (response: ServerResponse, value: unknown, status = 200) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

test('a server without binary tensors is spoken to in JSON, and one that is busy once more', async () => {
  let busy = 1;
  const types: (string | undefined)[] = [];
  const there = await foreign((request, response, body) => {
    if (request.url === '/v2') return json(response, { extensions: [] });
    if (request.method === 'GET') return json(response, metadata);
    types.push(request.headers['content-type']);
    if (busy-- > 0) return response.writeHead(503).end();
    const { fields } = decodeMessage(body, {
      list: 'inputs',
      jsonLength: undefined,
      valuesMax: 1e6,
    });
    const output = {
      name: 'quantiles',
      datatype: 'FP32',
      shape: [1, 13, 64],
      data: new Array(832).fill(0.5),
    };
    return json(response, { id: fields['id'], outputs: [output] });
  });
  const client = remote(there.url);
  const output = await client.run(inputs(1));
  expect(output.dims).toEqual([1, 13, 64]);
  expect((output.values as Float32Array).every((value) => value === 0.5)).toBe(true);
  expect(types).toEqual(['application/json', 'application/json']);
  expect(client.failures).toBe(0);
  await client.close();
  await there.close();
});

test('a server that is slow, wrong, refusing or away is left alone for a while, with the reason', async () => {
  const cases: [want: RegExp, answer: (id: unknown, response: ServerResponse) => void][] = [
    [/no answer in time/, () => {}],
    [/answered 500: broken/, (_id, response) => response.writeHead(500).end('broken')],
    [/answers the request other/, (_id, response) => json(response, { id: 'other', outputs: [] })],
    [/answers without quantiles/, (id, response) => json(response, { id, outputs: [] })],
    [/no object/, (_id, response) => response.end('<html>')],
    [/is answered 401/, (_id, response) => response.writeHead(401).end()],
  ];
  for (const [want, answer] of cases) {
    const there = await foreign((request, response, body) => {
      if (request.url === '/v2') return json(response, {});
      if (request.method === 'GET') return json(response, metadata);
      const { fields } = decodeMessage(body, {
        list: 'inputs',
        jsonLength: undefined,
        valuesMax: 1e6,
      });
      return answer(fields['id'], response);
    });
    const client = remote(there.url, 300);
    await expect(client.run(inputs(1))).rejects.toThrow(want);
    expect(client.trouble()).toMatch(want);
    await expect(client.run(inputs(1))).rejects.toMatchObject({ code: 'inference_unavailable' });
    expect(client.failures).toBe(1);
    await client.close();
    await there.close();
    const away = remote(there.url, 1_000);
    await expect(away.run(inputs(1))).rejects.toThrow(/ECONNREFUSED/);
    await away.close();
  }
});

test('an answer of the wrong shape or not finite is no forecast', async () => {
  for (const [shape, value, want] of [
    [[1, 9, 64], 0.5, 'has the shape [1,9,64], not [1,13,64]'],
    [[1, 13, 64], null, 'is not finite'],
  ] as const) {
    const there = await foreign((request, response, body) => {
      if (request.url === '/v2') return json(response, {});
      if (request.method === 'GET') return json(response, metadata);
      const { fields } = decodeMessage(body, {
        list: 'inputs',
        jsonLength: undefined,
        valuesMax: 1e6,
      });
      const count = shape[0] * shape[1] * shape[2];
      const output = {
        name: 'quantiles',
        datatype: 'FP32',
        shape,
        data: new Array(count).fill(value),
      };
      return json(response, { id: fields['id'], outputs: [output] });
    });
    const client = remote(there.url);
    const proven = new ModelForecaster({ ...model, parity: model.parity.slice(0, 1) }, client);
    await expect(proven.forecast([new Float64Array(64).fill(1)])).rejects.toThrow(want);
    await client.close();
    await there.close();
  }
});

test('a server whose model is another one is refused by name, type and shape', async () => {
  for (const [change, want] of [
    [{ inputs: [] }, 'it has no tensor context'],
    [
      { outputs: [{ name: 'quantiles', datatype: 'FP64', shape: [] }] },
      'quantiles is FP64, not FP32',
    ],
    [
      { inputs: [{ name: 'context', datatype: 'FP32', shape: [-1, 256] }] },
      'context has the shape [-1,256]',
    ],
  ] as const) {
    const there = await foreign((_request, response) => json(response, { ...metadata, ...change }));
    const client = remote(there.url);
    await expect(client.run(inputs(1))).rejects.toThrow(want);
    await client.close();
    await there.close();
  }
});

test('more requests than are taken at once are 503, and those after them are answered', async () => {
  let release: () => void = () => {};
  let gate = Promise.resolve();
  const held: Runtime = {
    ...{ kind: 'native', failures: 0, trouble: () => undefined },
    prepare: async () => {},
    close: async () => {},
    run: async (tensors) => {
      await gate;
      return runtime.run(tensors);
    },
  };
  const small = createHttpServer({ metrics: createMetrics('0'), logger: quiet });
  const oip = new OipServer({ model, runtime: held, version: '0', onInfer() {} });
  oip.routes(small);
  const address = await small.listen({ host: '127.0.0.1', port: 0 });
  await oip.start(new AbortController().signal);
  gate = new Promise((resolve) => {
    release = resolve;
  });
  const sent = encodeMessage(
    { fields: {}, tensors: inputs(1) },
    { list: 'inputs', isBinary: true },
  );
  const statuses: number[] = [];
  const ask = async () => {
    const body = Uint8Array.from(sent.body);
    const path = `${address}/v2/models/nano/infer`;
    const answer = await fetch(path, { method: 'POST', body, headers: sent.headers });
    await answer.arrayBuffer();
    statuses.push(answer.status);
  };
  const asked = Array.from({ length: INFER_REQUESTS_MAX + 8 }, ask);
  await expect.poll(() => statuses, { timeout: 10_000 }).toEqual(new Array(8).fill(503));
  release();
  await Promise.all(asked);
  expect(statuses.filter((status) => status === 200).length).toBe(INFER_REQUESTS_MAX);
  await ask();
  expect(statuses.at(-1)).toBe(200);
  await small.close();
});

test('a model that does not answer as it should is never served', async () => {
  const parity = model.parity.map((row) => ({
    ...row,
    quantiles: row.quantiles.map((level) => level.map((value) => value + 1)),
  }));
  const oip = new OipServer({ model: { ...model, parity }, runtime, version: '0', onInfer() {} });
  await expect(oip.start(new AbortController().signal)).rejects.toThrow('its answers differ');
  expect(oip.unready()).toContain('its answers differ');
});
