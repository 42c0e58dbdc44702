// What the pod service is asked for: the latest vector of every pod with its verdict, whether anything has been learnt
// yet, and two gauges by its names. A pod is told by namespace and name, so that two of one name are two; where a gauge
// has no place for a namespace it is added for just those.

import { type Static, Type } from '@sinclair/typebox';
import { type HttpServer, tenantOf } from './http-server.js';
import type { PodPage, PodRow } from './pod-page.js';

export interface PodSource {
  pods(tenant: string): Promise<PodPage>;
  /** What is in the way of samples; undefined when nothing is known to be. */
  hindrance(): string | undefined;
  /** Lower is worse, as the pod service has it. */
  isInverted: boolean;
}

const SLICE_CHARACTERS = 32 * 1024;
/** Unless asked for, a row is what the pod service has, and no more. */
const DetectQuery = Type.Object({
  contributions: Type.Boolean({
    default: false,
    description: 'Also what each feature has to do with the score, together 1',
  }),
});
const SUMMARY = 'The latest vector of every pod with its verdict, as the pod service answers';

const ANY = { type: 'object', additionalProperties: true };
const ANSWERS = {
  200: { ...ANY, description: 'Pods, each with its features, flag, score and age' },
  400: {
    description: 'The request cannot be understood',
    content: { 'text/plain': { schema: Type.String() } },
  },
  503: { ...ANY, description: 'No vector yet, and why; or no detector of pods is set' },
};

export function detectRoute(server: HttpServer, source: PodSource | undefined): void {
  server.get<{ Querystring: Static<typeof DetectQuery> }>(
    '/detect',
    {
      schema: {
        ...{ tags: ['pods'], summary: SUMMARY },
        ...{ querystring: DetectQuery, response: ANSWERS },
      },
    },
    async (request, reply) => {
      if (source === undefined) {
        const error = 'No detector of pods is set; set detectors to [{preset: kubernetes-pods}]';
        return reply.code(503).send({ error });
      }
      const { rows, warm, progress } = await source.pods(tenantOf(request));
      if (warm === 0) {
        const error = reasonOf(source, progress);
        return reply.code(503).send({ error, ...(progress !== undefined && { progress }) });
      }
      const { contributions: hasShares } = request.query;
      return {
        pods: rows.map((row) => ({
          ...podAnswer(row, source.isInverted),
          ...(hasShares && { contributions: row.shares }),
        })),
      };
    },
  );
}

function reasonOf(source: PodSource, progress: PodPage['progress']): string {
  const hindrance = source.hindrance();
  const why = hindrance === undefined ? '' : `; ${hindrance}`;
  if (progress === undefined) return `No pod has been heard of within five of its intervals${why}`;
  const { vectors, needed, readyAt } = progress;
  const when = readyAt === null ? '' : `, ready about ${readyAt}`;
  return `Learning: ${vectors} of ${needed} vectors of the pod that knows most${when}${why}`;
}

function podAnswer(row: PodRow, isInverted: boolean): object {
  const { pod, namespace, cpu, memory, restarts, isFlagged, score, ageSeconds } = row;
  return {
    ...{ pod, namespace, cpu, memory, restarts },
    anomaly_flag: isFlagged ? 1 : 0,
    anomaly_score: isInverted ? invertedScore(score) : score,
    age_seconds: ageSeconds,
  };
}

/**
 * On the scale of the decision function that the pod service shows: 0 at the threshold, below it what is flagged, between
 * 0.5 (a score of 0) and -0.5.
 */
export function invertedScore(score: number): number {
  if (!Number.isFinite(score)) return -0.5;
  return (1 - score) / (2 * (1 + score));
}

/** Always 200 while the process lives. `trained`: has any pod, or where none is looked for any series, learnt enough? */
export function healthzRoute(
  server: HttpServer,
  site: { trained: () => Promise<boolean>; prometheus: () => string | undefined },
): void {
  server.get('/healthz', async () => ({
    status: 'ok',
    model_trained: await site.trained(),
    prometheus_url: withoutSecrets(site.prometheus()),
  }));
}

function withoutSecrets(address: string | undefined): string | null {
  if (address === undefined) return null;
  const url = new URL(address);
  url.username = '';
  url.password = '';
  return url.toString().replace(/\/$/, '');
}

/** The two gauges of the pod service, in slices. */
export function* podLines(rows: readonly PodRow[]): Generator<string> {
  const names = new Map<string, number>();
  for (const { pod } of rows) names.set(pod, (names.get(pod) ?? 0) + 1);
  const gauges = [
    ['anomaly_flag', '1 while the pod is anomalous', (row: PodRow) => (row.isFlagged ? 1 : 0)],
    ['anomaly_score', 'Below 0 beyond the threshold', (row: PodRow) => invertedScore(row.score)],
  ] as const;
  let slice = '';
  for (const [name, help, read] of gauges) {
    slice += `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
    for (const row of rows) {
      const isAlone = names.get(row.pod) === 1 || row.namespace === '';
      const namespace = isAlone ? '' : `,namespace="${escaped(row.namespace)}"`;
      slice += `${name}{pod="${escaped(row.pod)}"${namespace}} ${read(row)}\n`;
      if (slice.length <= SLICE_CHARACTERS) continue;
      yield slice;
      slice = '';
    }
  }
  yield slice;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
