// One api and two scorers as processes on a real broker, with tokens and tenants: what the api shows is what both scorers
// have. One of them is frozen, thawed, killed and started again; meanwhile nothing of its own is said to be unknown.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Cluster, openCluster } from './cluster.js';
import { type KafkaPeers, startKafka } from './kafka-peers.js';
import { endPrograms, eventually, temporaryDirectory } from './programs.js';
import { openSender, WRITE_HEADERS, writeBody } from './remote-write-sender.js';
import { parseMetrics, readingOf } from './treeline-process.js';

const PARTITIONS = 8;
const SERIES = 40;
const TENANTS = ['shop', 'bank'] as const;
const UNKNOWN = '00000000000000ff';
/** A member that says nothing for 10 s loses its partitions, and who gets them reads them from the beginning. */
const TAKEOVER_MS_MAX = 60_000;

let kafka: KafkaPeers;
let token = 'first-token';
const directory = temporaryDirectory('scorer-peers-cluster');
const tokenFile = join(directory, 'token');

beforeAll(async () => {
  writeFileSync(tokenFile, token);
  kafka = await startKafka();
}, 240_000);

afterAll(async () => {
  await kafka?.stop();
  await endPrograms();
  rmSync(directory, { recursive: true, force: true });
});

interface Row {
  fingerprint: string;
  partition: number;
  labels: Record<string, string>;
}

interface Page {
  series: Row[];
  cursor?: string;
  unreachable?: { scorer: string; reason: string }[];
}

const headersOf = (tenant?: string) => ({
  Authorization: `Bearer ${token}`,
  ...(tenant !== undefined && { 'X-Scope-OrgID': tenant }),
});

function asksOf(url: string) {
  const get = async (path: string, tenant?: string) => {
    const answer = await fetch(`${url}${path}`, { headers: headersOf(tenant) });
    return { status: answer.status, text: await answer.text() };
  };
  const json = async (path: string, tenant?: string) =>
    JSON.parse((await get(path, tenant)).text) as unknown;
  return {
    find: async (fingerprint: string, tenant: string) => {
      const { status, text } = await get(`/anomaly/v1/series/${fingerprint}`, tenant);
      return { status, body: JSON.parse(text) as { error?: string } & Partial<Row> };
    },
    status: async (tenant?: string) =>
      (await json('/anomaly/v1/status', tenant)) as {
        partitions: { partition: number; scorer: string }[];
        partitionsUnanswered?: number[];
        unreachable?: Page['unreachable'];
      },
    /** All pages. */
    async walk(tenant: string) {
      const rows: Row[] = [];
      const unreachable = new Set<string>();
      for (let cursor = ''; ; ) {
        const page = (await json(`/anomaly/v1/series?limit=7${cursor}`, tenant)) as Page;
        rows.push(...page.series);
        for (const { scorer } of page.unreachable ?? []) unreachable.add(scorer);
        if (page.cursor === undefined) return { rows, unreachable: [...unreachable] };
        cursor = `&cursor=${page.cursor}`;
      }
    },
    requests: async (outcome: string) =>
      readingOf(parseMetrics((await get('/metrics')).text), 'treeline_scorer_requests_total', {
        outcome,
      }) ?? 0,
  };
}

async function send(cluster: Cluster): Promise<void> {
  const sender = openSender(cluster.members.find(({ role }) => role === 'receiver')!.url);
  const begin = Date.now() - 60_000;
  for (const tenant of TENANTS) {
    const series = Array.from({ length: SERIES }, (_, i) => ({
      labels: { __name__: 'load', instance: `${tenant}-${i}:1`, job: 'x' },
      points: [0, 1, 2].map((at) => [begin + at * 15_000, i + at] as const),
    }));
    const body = writeBody(series);
    await eventually('an answer', 60_000, async () => {
      const headers = { ...WRITE_HEADERS, ...headersOf(tenant) };
      const answer = await sender.send(body, headers).catch(() => undefined);
      return answer?.status === 204 ? true : undefined;
    });
  }
  sender.close();
}

test('an api asks two scorers, of which one is frozen, thawed, killed and started again', {
  timeout: 300_000,
}, async () => {
  const args = ['--log-prefix', 'peers', '--checkpoint-store', 'topic', '--tenancy', 'header'];
  const holder = { name: 'everybody', tokenFile, allow: ['read', 'write', 'admin'] };
  args.push('--auth-credentials', JSON.stringify([holder]));
  const { brokers } = kafka;
  const sizes = { partitions: PARTITIONS, seriesMax: 8_000, replication: 1 };
  const cluster = openCluster({ brokers, ...sizes, args });
  await cluster.add('receiver', 1);
  await cluster.add('scorer', 2);
  const [first, second] = cluster.members.filter(({ role }) => role === 'scorer');
  if (first === undefined || second === undefined) return expect.fail('two were started');
  // Read when a process is started: only the api follows.
  args.push('--api-scorers', `${first.url},${second.url}`);
  args.push('--api-scorers-token-file', tokenFile);
  await cluster.add('api', 1);
  const ask = asksOf(cluster.members.at(-1)!.url);
  await send(cluster);

  const whole = (waitMs: number) =>
    eventually('all series of two scorers', waitMs, async () => {
      const { rows, unreachable } = await ask
        .walk('shop')
        .catch(() => ({ rows: [], unreachable: [] }));
      const { partitions } = await ask.status().catch(() => ({ partitions: [] }));
      const owners = new Set(partitions.map(({ scorer }) => scorer));
      const isWhole =
        rows.length === SERIES && owners.size === 2 && partitions.length === PARTITIONS;
      return isWhole && unreachable.length === 0 ? { rows, partitions } : undefined;
    });
  const { rows, partitions } = await whole(TAKEOVER_MS_MAX);
  const instances = (found: Row[]) => found.map(({ labels }) => labels['instance']).sort();
  const expected = (tenant: string) =>
    Array.from({ length: SERIES }, (_, i) => `${tenant}-${i}:1`).sort();
  expect(instances(rows)).toEqual(expected('shop'));
  expect(instances((await ask.walk('bank')).rows)).toEqual(expected('bank'));
  expect((await ask.walk('nobody')).rows).toEqual([]);
  expect(await ask.status('shop')).toMatchObject({ series: SERIES, scored: SERIES });
  const ownerOf = (row: Row) =>
    partitions.find(({ partition }) => partition === row.partition)?.scorer;
  const ofFirst = rows.find((row) => ownerOf(row) === first.url)!;
  const ofSecond = rows.find((row) => ownerOf(row) === second.url)!;
  expect((await ask.find(ofSecond.fingerprint, 'shop')).body).toMatchObject(
    ofSecond.labels && {
      labels: ofSecond.labels,
    },
  );
  expect((await ask.find(ofSecond.fingerprint, 'bank')).status).toBe(404);
  expect((await ask.find(UNKNOWN, 'shop')).status).toBe(404);

  process.kill(second.treeline!.program.pid, 'SIGSTOP');
  const unsure = await ask.find(ofSecond.fingerprint, 'shop');
  expect(unsure.status).toBe(503);
  expect(unsure.body.error).toContain(`${second.url} (no answer within 1000 ms)`);
  expect((await ask.find(ofFirst.fingerprint, 'shop')).status).toBe(200);
  const half = await ask.walk('shop');
  expect(half.unreachable).toEqual([second.url]);
  expect(instances(half.rows)).toContain(ofFirst.labels['instance']);
  expect((await ask.status()).unreachable).toEqual([
    { scorer: second.url, reason: 'no answer within 1000 ms' },
  ]);
  // The first takes over: then all is known although one does not answer.
  await eventually('the other to take over', TAKEOVER_MS_MAX, async () => {
    const found = await ask.find(ofSecond.fingerprint, 'shop');
    return found.status === 200 ? true : undefined;
  });
  await eventually('all partitions to be answered for', TAKEOVER_MS_MAX, async () =>
    (await ask.status()).partitionsUnanswered === undefined ? true : undefined,
  );
  expect((await ask.find(UNKNOWN, 'shop')).status).toBe(404);
  process.kill(second.treeline!.program.pid, 'SIGCONT');
  await whole(TAKEOVER_MS_MAX);

  await cluster.kill(second);
  expect((await ask.walk('shop')).unreachable).toEqual([second.url]);
  expect((await ask.find(UNKNOWN, 'shop')).status).toBe(503);
  // Another token for all of them, while one is away.
  token = 'second-token';
  writeFileSync(tokenFile, token);
  await cluster.start(second);
  const again = await whole(TAKEOVER_MS_MAX);
  expect(instances(again.rows)).toEqual(expected('shop'));
  for (const outcome of ['answered', 'late', 'unreachable']) {
    expect([outcome, (await ask.requests(outcome)) > 0]).toEqual([outcome, true]);
  }
  for (const member of cluster.members) await cluster.stop(member);
});
