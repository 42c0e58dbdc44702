import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Api } from '../src/api/api.js';
import { type Candidate, CandidateSchema, Phase } from '../src/gen/candidate_pb.js';
import { healthRoutes } from '../src/health.js';
import { createHttpServer, type Logger } from '../src/http-server.js';
import { createMetrics } from '../src/metrics.js';
import { MemoryLog } from './memory-log.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const metrics = createMetrics('0');
const log = new MemoryLog(2);
const server = createHttpServer({ metrics, logger: quiet });
const api = new Api({
  log,
  metrics,
  logger: quiet,
  describe: () => ({ version: '0' }),
  series: {
    page: async ({ limit }) => ({ rows: [{ limit }], next: '0.7' }),
    find: ({ fingerprint }) => (fingerprint === '00000000000000aa' ? { fingerprint } : undefined),
    count: async (tenant) => ({ tenant }),
    status: async (withHash) => [{ withHash }],
  },
});

type Fields = Exclude<MessageInitShape<typeof CandidateSchema>, Candidate>;

async function append(partition: number, onset: number, fields: Fields): Promise<void> {
  const candidate = create(CandidateSchema, {
    fingerprint: BigInt(onset),
    onsetMs: BigInt(onset),
    timestampMs: BigInt(onset),
    score: 2,
    phase: Phase.ONSET,
    label: [
      { name: '__name__', value: 'up' },
      { name: 'job', value: `job-${onset % 2}` },
    ],
    ...fields,
  });
  await log.append('candidates', partition, toBinary(CandidateSchema, candidate), 0);
}

const get = async (url: string) => {
  const { statusCode, body } = await server.inject({ url: `/anomaly/v1${url}` });
  return { statusCode, body: statusCode === 200 ? JSON.parse(body) : body };
};
const onsets = async (query: string) => {
  const { body } = await get(`/anomalies?${query}`);
  return body.anomalies.map(({ onset }: { onset: string }) => Date.parse(onset));
};

beforeAll(async () => {
  for (let onset = 1; onset <= 5; onset++) {
    await append(onset % 2, 1000 * onset, {});
    if (onset !== 5) {
      await append(onset % 2, 1000 * onset, {
        phase: Phase.END,
        timestampMs: BigInt(1000 * onset + 500),
      });
    }
  }
  healthRoutes(server, [{ name: 'api', missing: () => api.unready() }]);
  api.routes(server);
  expect((await server.inject({ url: '/-/ready' })).body).toBe('Not ready\napi: not started\n');
  await api.start();
  while (api.unready() !== undefined) await new Promise((turn) => setTimeout(turn, 5));
});

afterAll(() => api.stop());

test('anomalies are listed newest first, and filtered by state, time and labels', async () => {
  expect(await onsets('')).toEqual([5000, 4000, 3000, 2000, 1000]);
  expect(await onsets('state=open')).toEqual([5000]);
  expect(await onsets('state=closed&limit=2')).toEqual([4000, 3000]);
  expect(await onsets('start=3.6&end=4.2')).toEqual([4000]);
  expect(await onsets('start=1970-01-01T00:00:04.9Z')).toEqual([5000]);
  expect(await onsets(`match[]=${encodeURIComponent('{job="job-0"}')}`)).toEqual([
    5000, 4000, 3000, 2000, 1000,
  ]);
  expect(await onsets(`match[]=${encodeURIComponent('{job="job-1"}')}`)).toEqual([]);
});

test('pages follow one another by cursor', async () => {
  const seen: string[] = [];
  for (let url = '/anomalies?limit=2'; url !== ''; ) {
    const { body } = await get(url);
    seen.push(...body.anomalies.map(({ id }: { id: string }) => id));
    url = body.cursor === undefined ? '' : `/anomalies?limit=2&cursor=${body.cursor}`;
  }
  expect(new Set(seen).size).toBe(5);
});

test('one anomaly has its whole story', async () => {
  const { body } = await get('/anomalies?limit=1');
  const { id } = body.anomalies[0];
  const one = await get(`/anomalies/${id}`);
  expect(one.body).toMatchObject({
    id,
    state: 'open',
    end: null,
    verdict: 'unchecked',
    series: 'up{job="job-0"}',
    explanation: expect.stringContaining('expected'),
  });
  expect((await get('/anomalies/nothing')).statusCode).toBe(404);
});

test('a query that cannot be read is 400 and says what was expected', async () => {
  const bad = async (query: string, sentence: string) => {
    const { statusCode, body } = await get(query);
    expect([query, statusCode]).toEqual([query, 400]);
    expect(body).toContain(sentence);
  };
  await bad('/anomalies?state=maybe', 'expected open or closed');
  await bad('/anomalies?limit=0', 'expected 1 to 1000');
  await bad('/anomalies?start=yesterday', 'expected RFC 3339');
  await bad('/anomalies?cursor=gone', 'begin again');
  await bad('/anomalies?state=open&state=closed', 'given 2 times');
  await bad('/anomalies?match[]=%7B', 'Cannot read the selector');
  await bad('/series?cursor=x', 'cursor is not ours');
  await bad('/series?limit=9999', 'expected 1 to 1000');
});

test('series and status come from whoever owns them', async () => {
  expect((await get('/series?limit=3')).body).toEqual({ series: [{ limit: 3 }], cursor: '0.7' });
  expect((await get('/series/00000000000000aa')).body).toEqual({ fingerprint: '00000000000000aa' });
  expect((await get('/series/00000000000000ab')).statusCode).toBe(404);
  expect((await get('/series/nonsense')).statusCode).toBe(404);
  const { body } = await get('/status?stateHash=now');
  expect(body).toMatchObject({
    version: '0',
    anomalies: 5,
    logId: log.id,
    partitions: [{ withHash: true }],
  });
});

test('what is not there is 404 in plain text; readiness lists each check', async () => {
  const answer = await server.inject({ url: '/detect' });
  expect([answer.statusCode, answer.body]).toEqual([404, 'No route GET /detect\n']);
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  for (const url of ['/-/ready', '/ready', '/readyz']) {
    expect((await server.inject({ url })).body).toBe('Ready\napi: ready\n');
  }
  expect((await server.inject({ url: '/-/healthy' })).statusCode).toBe(200);
});
