// Schemathesis (https://schemathesis.readthedocs.io) makes requests of the OpenAPI document of a running program, good ones
// and bad ones, and holds every answer against it. No answer may be a 500, and none may be what the document does not
// say. That it would notice is tried with a document that promises too much.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from './programs.js';
import { projectRoot } from './project-root.js';
import { PYTHON_MS_MAX, pythonWith } from './python-home.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, startTreeline, type Treeline } from './treeline-process.js';

const SEED = process.env['TREELINE_SEED'] ?? '20260';
/** Requests of each kind and route; more by hand. */
const EXAMPLES = process.env['TREELINE_FUZZ'] ?? '12';
const RUN_MS_MAX = 240_000;
const MINUTE = 60_000;
/** Its answer has no end: stream.test.ts reads it. */
const ENDLESS = '/anomaly/v1/stream';

let treeline: Treeline;
let directory: string;
let program: string;

beforeAll(async () => {
  const requirements = join(projectRoot(), 'test', 'openapi-peer', 'requirements.txt');
  program = join(dirname(await pythonWith(requirements)), 'schemathesis');
  directory = temporaryDirectory('openapi');
  treeline = await startTreeline({
    dataDir: join(directory, 'data'),
    args: ['--mode', 'live', '--verdicts', 'off', '--roles', 'receiver,scorer,api'],
  });
  await fill(treeline);
}, PYTHON_MS_MAX);

afterAll(async () => {
  await treeline?.stop();
  await endPrograms();
  if (directory !== undefined) removeDirectory(directory);
});

/** So that there is something to be found: series, anomalies, a word on one of them, a window. */
async function fill(to: Treeline): Promise<void> {
  const random = randomOf(3);
  const begin = Math.floor(Date.now() / MINUTE - 300) * MINUTE;
  const series = ['db-0', 'api-1', 'odd "name" \\ \n'].map((pod, i) => ({
    labels: { __name__: 'queue', namespace: 'shop', pod },
    points: Array.from({ length: 300 }, (_, at) => {
      const isFault = at >= 200 && at < 203 + 97 * i;
      return [begin + at * MINUTE, 10 + random() + (isFault ? 90 : 0)] as const;
    }),
  }));
  const sender = openSender(to.url);
  expect((await sender.send(writeBody(series))).status).toBe(204);
  sender.close();
  await partitionsAtRest(to);
  const [anomaly] = await eventually('anomalies', 20_000, async () => {
    const path = '/anomaly/v1/anomalies';
    const { anomalies } = await to.json<{ anomalies: { id: string }[] }>(path);
    return anomalies.length >= 3 ? anomalies : undefined;
  });
  const said = { kind: 'confirmed', anomaly: anomaly?.id };
  const window = { match: ['{pod="api-1"}'], end: String(Date.now() / 1000 + 3600) };
  for (const [path, body] of Object.entries({ feedback: said, maintenance: window })) {
    const answer = await fetch(`${to.url}/anomaly/v1/${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(201);
  }
}

/** What it says, and how it ends: 0 when every answer was as documented. */
function run(
  document: string,
  options: readonly string[],
): Promise<{ code: number; said: string }> {
  const args = [
    '--config-file',
    join(projectRoot(), 'test', 'openapi-peer', 'schemathesis.toml'),
    ...['run', document, '--url', treeline.url, '--seed', SEED, '--no-color'],
    ...['--exclude-path', ENDLESS, '--request-timeout', '30', '--continue-on-failure'],
    ...options,
  ];
  return new Promise((resolve) => {
    const settings = { cwd: directory, timeout: RUN_MS_MAX, maxBuffer: 1e8 };
    execFile(program, args, settings, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, said: `${stdout}${stderr}` });
    });
  });
}

interface Document {
  paths: Record<string, Record<string, { responses: Record<string, { content?: object }> }>>;
}

const documented = () => treeline.json<Document>('/openapi.json');

/** How often each route was answered with which status. */
async function answers(): Promise<Map<string, Record<string, number>>> {
  const found = new Map<string, Record<string, number>>();
  for (const { name, labels, value } of await treeline.metrics()) {
    if (name !== 'treeline_http_requests_total') continue;
    const route = (labels['route'] as string).replace(/:(\w+)/g, '{$1}');
    const codes = found.get(route) ?? {};
    found.set(route, { ...codes, [labels['code'] as string]: value });
  }
  return found;
}

test('no request that the document leads to is answered otherwise than it says, and none with 500', {
  timeout: RUN_MS_MAX + 60_000,
}, async () => {
  const { paths } = await documented();
  const report = join(directory, 'report.xml');
  const { code, said } = await run(`${treeline.url}/openapi.json`, [
    ...['--max-examples', EXAMPLES, '--report', 'junit', '--report-junit-path', report],
  ]);
  expect(code, `TREELINE_SEED=${SEED}\n${said}`).toBe(0);
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const tested = [...readFileSync(report, 'utf8').matchAll(/<testcase [^>]*name="([^"]*)"/g)];
  const names = new Set(tested.map(([, name]) => name));
  const missed = operations.filter((one) => !names.has(one) && !one.endsWith(ENDLESS));
  expect(missed).toEqual([]);
  const answered = await answers();
  let asked = 0;
  for (const path of Object.keys(paths)) {
    if (path === ENDLESS) continue;
    const codes = answered.get(path) ?? {};
    const count = Object.values(codes).reduce((sum, value) => sum + value, 0);
    asked += count;
    // Of a route without parameters there is one request to make, in each phase.
    expect(count, path).toBeGreaterThanOrEqual(3);
    expect(codes['500'], `${path} ${JSON.stringify(codes)}`).toBeUndefined();
  }
  expect(asked).toBeGreaterThan(500);
  console.log(`${operations.length} operations, ${asked} requests`);
});

test('a document that promises what is not there is found out', {
  timeout: RUN_MS_MAX,
}, async () => {
  const document = await documented();
  const status = document.paths['/anomaly/v1/status']?.['get']?.responses['200'];
  expect(status).toBeDefined();
  Object.assign(status as object, {
    content: { 'application/json': { schema: { type: 'object', required: ['nobody'] } } },
  });
  const file = join(directory, 'false.json');
  writeFileSync(file, JSON.stringify(document));
  const { code, said } = await run(file, [
    ...['--include-path', '/anomaly/v1/status', '--max-examples', '3', '--phases', 'fuzzing'],
  ]);
  expect([code, said]).toEqual([1, expect.stringContaining('"nobody" is a required property')]);
});
