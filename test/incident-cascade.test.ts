// A fault that travels db → api → web, half a minute each, and another one of the same minute that has nothing to do with
// it: sent as samples to the real program, read back as incidents over HTTP. Ten shops at once, each with noise of its own.

import { afterAll, expect, test } from 'vitest';
import { endPrograms, eventually } from './programs.js';
import { randomOf } from './random.js';
import { openSender, type Series, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, startTreeline, type Treeline } from './treeline-process.js';

const SEED = Number(process.env['TREELINE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const SHOPS = 10;
const INTERVAL_MS = 15_000;
const SAMPLES = 1600;
const FAULT_AT = 1560;
const FAULT_SAMPLES = 20;

/** Each service: its place, its metric, and how many samples after the first it is hit. */
const SERVICES = [
  { namespace: 'shop', pod: 'db-0', metric: 'db_query_seconds', level: 0.2, lag: 0 },
  { namespace: 'shop', pod: 'api-7c9', metric: 'api_request_seconds', level: 0.5, lag: 2 },
  { namespace: 'shop', pod: 'web-5d4', metric: 'web_queue_length', level: 40, lag: 4 },
  { namespace: 'billing', pod: 'mailer-0', metric: 'mail_backlog', level: 300, lag: 1 },
  { namespace: 'shop', pod: 'cart-0', metric: 'cart_open', level: 70, lag: undefined },
  { namespace: 'billing', pod: 'ledger-0', metric: 'ledger_open', level: 9, lag: undefined },
];

afterAll(endPrograms);

test('a cascade and an unrelated fault are two incidents, and the first mover is named', {
  timeout: 120_000,
}, async ({ onTestFailed, onTestFinished }) => {
  onTestFailed(() => console.error(`TREELINE_SEED=${SEED} repeats the noise`));
  const treeline = await startTreeline({ args: ['--logging-level', 'warn'] });
  onTestFinished(async () => {
    await treeline.stop();
  });
  const beginMs = Math.floor(Date.now() / INTERVAL_MS - SAMPLES) * INTERVAL_MS;
  await send(treeline, beginMs);
  await partitionsAtRest(treeline);
  const faultMs = beginMs + FAULT_AT * INTERVAL_MS;
  let right = 0;
  // The api reads behind the scorer; what it has read last is what counts.
  await eventually(`9 of ${SHOPS} shops to show what was injected`, 20_000, async () => {
    const shops = Array.from({ length: SHOPS }, (_, shop) => shop);
    const found = await Promise.all(shops.map((shop) => incidentsAround(treeline, shop, faultMs)));
    right = found.filter((incidents) => isRight(incidents, faultMs)).length;
    return right >= 9 ? true : undefined;
  });
  console.log(`seed ${SEED}: ${right} of ${SHOPS} as injected`);
});

interface IncidentRow {
  id: string;
  start: string;
  entities: string[];
  firstMover: { series: string; entity: string; onset: string };
}

async function incidentsAround(
  treeline: Treeline,
  shop: number,
  faultMs: number,
): Promise<IncidentRow[]> {
  const match = encodeURIComponent(`{cluster="shop-${shop}"}`);
  const [start, end] = [faultMs, faultMs + 4 * 60_000].map((ms) => ms / 1000);
  const path = `/anomaly/v1/incidents?match[]=${match}&start=${start}&end=${end}&limit=1000`;
  return (await treeline.json<{ incidents: IncidentRow[] }>(path)).incidents;
}

/** Two and no more, told apart; the cascade complete, and begun where and when it began. */
function isRight(incidents: readonly IncidentRow[], faultMs: number): boolean {
  const cascade = incidents.find(({ entities }) => entities.includes('namespace=shop pod=db-0'));
  const other = incidents.find(({ entities }) =>
    entities.includes('namespace=billing pod=mailer-0'),
  );
  if (incidents.length !== 2 || cascade === undefined || other === undefined) return false;
  const members = ['db-0', 'api-7c9', 'web-5d4'].map((pod) => `namespace=shop pod=${pod}`);
  return (
    cascade.id !== other.id &&
    JSON.stringify(cascade.entities) === JSON.stringify(members) &&
    cascade.firstMover.entity === members[0] &&
    Date.parse(cascade.firstMover.onset) === faultMs &&
    JSON.stringify(other.entities) === '["namespace=billing pod=mailer-0"]'
  );
}

async function send(treeline: Treeline, beginMs: number): Promise<void> {
  const random = randomOf(SEED);
  /** Standard normal: the sum of twelve uniform ones, less six. */
  const normal = () => Array.from({ length: 12 }, random).reduce((sum, one) => sum + one, -6);
  const all: Series[] = [];
  for (let shop = 0; shop < SHOPS; shop++) {
    for (const { namespace, pod, metric, level, lag } of SERVICES) {
      const points = Array.from({ length: SAMPLES }, (_, at) => {
        const first = FAULT_AT + (lag ?? Number.POSITIVE_INFINITY);
        const isFault = at >= first && at < first + FAULT_SAMPLES;
        const value = level * (1 + 0.05 * normal() + (isFault ? 1 : 0));
        return [beginMs + at * INTERVAL_MS, value] as const;
      });
      const labels = { __name__: metric, cluster: `shop-${shop}`, namespace, pod, job: 'pods' };
      all.push({ labels, points });
    }
  }
  const sender = openSender(treeline.url);
  for (let from = 0; from < SAMPLES; from += 100) {
    const series = all.map(({ labels, points }) => ({
      labels,
      points: points.slice(from, from + 100),
    }));
    const answer = await sender.send(writeBody(series));
    expect(answer.status, answer.text).toBe(204);
  }
  sender.close();
}
