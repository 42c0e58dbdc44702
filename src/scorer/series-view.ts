// What the scorer knows of a series, for people: read-only, made on demand, nothing kept.

import { fromBinary } from '@bufbuild/protobuf';
import { MetricType, type SeriesInfo, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import { fingerprintText, type Label, seriesText } from '../series.js';
import type { Partition } from './partition.js';
import { NO_ENTRY, NO_SLOT } from './slots.js';

export interface SeriesRow {
  fingerprint: string;
  series: string;
  labels: Record<string, string>;
  type: string;
  partition: number;
  state: 'warming' | 'active' | 'stale' | 'unscored';
  /** Samples learnt, and how many are needed before flags; only while warming. */
  progress?: { samples: number; needed: number; readyAt: string | null };
  reason?: string;
  scoredAs?: 'value' | 'rate';
  lastTimestamp?: string;
  lastValue?: number | null;
  intervalSeconds?: number;
  score?: number;
  flag?: 0 | 1;
  expected?: number;
  lower?: number;
  upper?: number;
}

export interface SeriesPage {
  rows: SeriesRow[];
  /** Where the next page begins; absent on the last one. */
  next?: string;
}

const ENTRIES_PER_TURN = 2000;

/** Up to `limit` matching series in the order of partitions and entries. Lets the event loop turn in between. */
export async function pageOfSeries(
  partitions: Iterable<[number, Partition]>,
  query: {
    tenant: string;
    matches: (labels: readonly Label[]) => boolean;
    limit: number;
    cursor?: string;
  },
): Promise<SeriesPage> {
  const [fromPartition = 0, fromEntry = 0] = (query.cursor ?? '0.0').split('.').map(Number);
  const rows: SeriesRow[] = [];
  for (const [index, partition] of [...partitions].sort(([a], [b]) => a - b)) {
    if (index < fromPartition) continue;
    const { slots } = partition;
    for (let entry = index === fromPartition ? fromEntry : 0; entry < slots.entryEnd; entry++) {
      if (entry % ENTRIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn));
      // While others had their turn, the series may have been removed.
      if (!slots.isUsed(entry)) continue;
      const announced = announcementOf(partition, entry);
      if (announced.tenant !== query.tenant || !query.matches(announced.label)) continue;
      if (rows.length >= query.limit) return { rows, next: `${index}.${entry}` };
      rows.push(rowOf(announced, { partition, index, entry }));
    }
  }
  return { rows };
}

/** How many series of a tenant are known here, and how many of them are scored. */
export async function countSeries(
  partitions: Iterable<[number, Partition]>,
  tenant: string,
): Promise<{ series: number; scored: number }> {
  const counts = { series: 0, scored: 0 };
  for (const [, partition] of partitions) {
    const { slots } = partition;
    for (let entry = 0; entry < slots.entryEnd; entry++) {
      if (entry % ENTRIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn));
      if (!slots.isUsed(entry) || partition.tenant(entry) !== tenant) continue;
      counts.series++;
      if (slots.slotOf(entry) !== NO_SLOT) counts.scored++;
    }
  }
  return counts;
}

/** By the 16 hexadecimal digits of its fingerprint. */
export function findSeries(
  partitions: Iterable<[number, Partition]>,
  { fingerprint, tenant }: { fingerprint: string; tenant: string },
): SeriesRow | undefined {
  const high = Number.parseInt(fingerprint.slice(0, 8), 16);
  const low = Number.parseInt(fingerprint.slice(8), 16);
  for (const [index, partition] of partitions) {
    const entry = partition.slots.find(low, high);
    if (entry === NO_ENTRY) continue;
    const announced = announcementOf(partition, entry);
    return announced.tenant === tenant ? rowOf(announced, { partition, index, entry }) : undefined;
  }
  return undefined;
}

function announcementOf(partition: Partition, entry: number): SeriesInfo {
  return fromBinary(SeriesInfoSchema, partition.slots.announcement(entry));
}

function rowOf(
  announced: SeriesInfo,
  { partition, index, entry }: { partition: Partition; index: number; entry: number },
): SeriesRow {
  const { slots, forest } = partition;
  const row: SeriesRow = {
    fingerprint: fingerprintText(slots.lowOf(entry), slots.highOf(entry)),
    series: seriesText(announced.label),
    labels: Object.fromEntries(announced.label.map(({ name, value }) => [name, value])),
    type: (MetricType[announced.type] ?? 'unspecified').toLowerCase(),
    partition: index,
    state: 'unscored',
  };
  const slot = slots.slotOf(entry);
  if (slot === NO_SLOT) {
    row.reason =
      'Parts of a histogram are scored together, as quantiles and shape; ALERTS are not scored';
    return row;
  }
  const view = forest.view(slot);
  row.state = view.stage;
  row.scoredAs = view.kind === 'gauge' ? 'value' : 'rate';
  if (view.stage === 'warming') {
    const left = (view.warmSamples - view.samples) * view.intervalMs;
    const isKnown = view.samples > 1 && Number.isFinite(left);
    row.progress = {
      samples: view.samples,
      needed: view.warmSamples,
      readyAt: isKnown ? new Date(view.lastTimestampMs + left).toISOString() : null,
    };
  }
  if (Number.isFinite(partition.streamTimeMs) && isDate(view.lastTimestampMs)) {
    row.lastTimestamp = new Date(view.lastTimestampMs).toISOString();
  }
  row.lastValue = Number.isFinite(view.lastValue) ? view.lastValue : null;
  row.intervalSeconds = view.intervalMs / 1000;
  Object.assign(row, { score: view.score, flag: view.flag ? 1 : 0 });
  if (Number.isFinite(view.expected)) {
    Object.assign(row, { expected: view.expected, lower: view.lower, upper: view.upper });
  }
  return row;
}

function isDate(ms: number): boolean {
  return Math.abs(ms) <= 8.64e15;
}
