// What tests of a cluster wait for and look at: who is ready, who owns how many partitions and has saved them, how long
// partitions stood; and the verdict at the end, that nothing acknowledged is missing and that states and counters are those
// of one run over the same log.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import {
  type Cluster,
  type Member,
  missingSamples,
  openClusterLog,
  referenceRun,
} from './cluster.js';
import { type Load, startLoad } from './cluster-load.js';
import { eventually } from './programs.js';
import type { PartitionRow } from './treeline-process.js';

export const WAIT_MS_MAX = 60_000;
const POLL_MS = 50;
const FIRST_MS = Math.floor((Date.now() - 30 * 864e5) / 15_000) * 15_000;

/** Undefined when nobody listens. */
export async function ask(
  { url }: Member,
  path: string,
): Promise<{ status: number; text: string } | undefined> {
  const answer = await fetch(`${url}${path}`).catch(() => undefined);
  return answer && { status: answer.status, text: await answer.text() };
}

export async function ready(...members: readonly Member[]): Promise<void> {
  for (const member of members) {
    await eventually(`${member.name} to be ready`, WAIT_MS_MAX, async () => {
      return (await ask(member, '/-/ready'))?.status === 200 || undefined;
    });
  }
}

interface StatusRow {
  partition: number;
  offset: number;
  high: number;
  checkpoint: { offset: number } | null;
  stopped?: { offset: number };
}

/** Of the partitions that it owns. Undefined while it is starting, leaving or frozen. */
export async function statusOf({ url }: Member): Promise<StatusRow[] | undefined> {
  try {
    const signal = AbortSignal.timeout(2_000);
    const answer = await fetch(`${url}/anomaly/v1/status`, { signal });
    if (answer.status !== 200) return undefined;
    return ((await answer.json()) as { partitions: StatusRow[] }).partitions;
  } catch {
    return undefined;
  }
}

/** Until each of them owns so many partitions. */
export async function shares(...wanted: readonly (readonly [Member, number])[]): Promise<void> {
  await eventually(`shares of ${wanted.map(([, count]) => count)}`, WAIT_MS_MAX, async () => {
    for (const [member, count] of wanted) {
      if ((await statusOf(member))?.length !== count) return undefined;
    }
    return true;
  });
}

/** Until it owns so many partitions and has a checkpoint of each. */
export async function saved(member: Member, count: number): Promise<void> {
  await eventually('a checkpoint of every partition', WAIT_MS_MAX, async () => {
    const rows = await statusOf(member);
    const isSaved = rows?.every(({ checkpoint }) => (checkpoint?.offset ?? 0) > 0);
    return (rows?.length === count && isSaved) || undefined;
  });
}

/** One connection to each receiver, 250 series each. */
export function loadOf({ members }: Cluster): Load {
  const urls = members.filter(({ role }) => role === 'receiver').map(({ url }) => url);
  const [seriesPerConnection, stepsMax] = [250, 10_000];
  const shape = { seriesPerConnection, seriesPerBody: 250, stepsMax };
  return startLoad({ ...shape, urls, firstMs: FIRST_MS, paceMs: 20 });
}

/** Until so many more bodies are answered. */
export async function moreAnswers(load: Load, count: number): Promise<void> {
  const before = load.answers();
  await eventually(`${count} more answers`, WAIT_MS_MAX, async () => {
    return load.answers() >= before + count || undefined;
  });
}

/**
 * Ends the load, waits until all is scored, and judges. Then `last` may look at what is left before all is ended;
 * it is told what the scorers said.
 */
export async function judge(
  cluster: Cluster,
  load: Load,
  site: { brokers: readonly string[]; partitions: number; prefix: string; seriesMax: number },
  last: (rows: readonly PartitionRow[]) => Promise<void> = async () => {},
): Promise<void> {
  await load.stop();
  const rows = await cluster.atRest();
  const log = await openClusterLog(site);
  try {
    const { acknowledged, series } = load;
    const { missing, foreign } = await missingSamples(log, {
      ...{ acknowledged, series, firstMs: FIRST_MS },
    });
    expect({ missing, foreign }).toEqual({ missing: 0, foreign: 0 });
    const reference = await referenceRun(log, site.seriesMax);
    expect(rows.map(({ outcomes }) => outcomes)).toEqual(reference.outcomes);
    expect(rows.map(({ stateHash }) => stateHash)).toEqual(reference.hashes);
    expect(reference.outcomes.every(({ applied }) => (applied ?? 0) > 1_000)).toBe(true);
    await last(rows);
  } finally {
    await log.close();
    await cluster.stopAll();
  }
}

export interface Stops {
  /** What was seen since the phase before belongs to this one. */
  closePhase(phase: string): void;
  /** Longest stop of any partition, in milliseconds, per phase. */
  end(): Promise<ReadonlyMap<string, number>>;
}

/** How long partitions stood, as seen from outside: the time between two looks at which an offset had grown. */
export function watchStops({ members }: Cluster): Stops {
  const grown = new Map<number, { offset: number; at: number }>();
  const longest = new Map<string, number>();
  let [worstMs, isEnding] = [0, false];
  const look = async () => {
    for (const member of members) {
      if (member.role !== 'scorer' || member.treeline === undefined) continue;
      for (const { partition, offset } of (await statusOf(member)) ?? []) {
        const before = grown.get(partition);
        if (before !== undefined && before.offset >= offset) continue;
        const at = performance.now();
        if (before !== undefined) worstMs = Math.max(worstMs, at - before.at);
        grown.set(partition, { offset, at });
      }
    }
  };
  const watch = async () => {
    while (!isEnding) {
      await look();
      await sleep(POLL_MS);
    }
  };
  const watching = watch();
  return {
    closePhase(phase) {
      longest.set(phase, worstMs);
      worstMs = 0;
    },
    async end() {
      isEnding = true;
      await watching;
      return longest;
    },
  };
}
