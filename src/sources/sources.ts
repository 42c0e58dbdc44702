// All sources of a process: started, replaced when the settings change, stopped, counted. What they count outlives them,
// so that a reload takes nothing back. That a source is away makes the process no less ready: what is pushed goes on, and
// no other process would reach that Prometheus any better. So readiness carries a note, and the counters an alert.

import type { Metrics } from '../metrics.js';
import {
  PULL_OUTCOMES,
  type PullOutcome,
  type Source,
  type SourceParts,
  type SourceQuery,
  startSource,
} from './source.js';

export interface Sources {
  /** Stops what runs and starts these; names are unique. Returns the way back. */
  use(queries: readonly SourceQuery[]): () => void;
  /** Undefined when each brings samples. */
  note(): string | undefined;
  stop(): Promise<void>;
}

export function createSources(parts: Omit<SourceParts, 'count'> & { metrics: Metrics }): Sources {
  const { metrics } = parts;
  let inUse: readonly SourceQuery[] = [];
  let running: Source[] = [];
  const ends = new Set<Promise<void>>();
  const counts = new Map<string, Record<PullOutcome, number>>();
  observe(metrics, counts, () => running);

  function end(): void {
    for (const source of running) {
      const ended = source.stop();
      ends.add(ended);
      void ended.then(() => ends.delete(ended));
    }
    running = [];
  }

  function start(queries: readonly SourceQuery[]): void {
    inUse = queries;
    running = queries.map((query) => {
      const counted = counts.get(query.name) ?? zeros();
      counts.set(query.name, counted);
      const count = (outcome: PullOutcome, ticks: number): void => {
        counted[outcome] += ticks;
      };
      return startSource(query, { ...parts, count });
    });
    // Names that are gone would otherwise pile up, reload after reload.
    for (const name of counts.keys()) {
      if (!queries.some((query) => query.name === name)) counts.delete(name);
    }
  }

  return {
    use(queries) {
      const before = inUse;
      end();
      start(queries);
      return () => {
        end();
        start(before);
      };
    },
    note() {
      const notes = running.flatMap((source) => source.note() ?? []);
      if (notes.length === 0) return undefined;
      const more = notes.length > 1 ? `; and ${notes.length - 1} more` : '';
      return `${notes.length} of ${running.length} bring nothing or not all: ${notes[0]}${more}`;
    },
    async stop() {
      end();
      await Promise.all(ends);
    },
  };
}

function zeros(): Record<PullOutcome, number> {
  return Object.fromEntries(PULL_OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    PullOutcome,
    number
  >;
}

function observe(
  metrics: Metrics,
  counts: ReadonlyMap<string, Record<PullOutcome, number>>,
  running: () => readonly Source[],
): void {
  metrics.observe(
    'counter',
    {
      name: 'treeline_pulls_total',
      help: 'Ticks of a source, by what became of them',
      labels: ['source', 'outcome'],
    },
    () =>
      [...counts].flatMap(([source, counted]) =>
        Object.entries(counted).map(([outcome, value]) => ({ labels: { source, outcome }, value })),
      ),
  );
  metrics.observe(
    'gauge',
    {
      name: 'treeline_pull_timestamp_seconds',
      help: 'Tick of the newest result of a source that is in the log',
      labels: ['source'],
    },
    () =>
      running()
        .filter((source) => !Number.isNaN(source.lastMs()))
        .map((source) => ({ labels: { source: source.name }, value: source.lastMs() / 1000 })),
  );
}
