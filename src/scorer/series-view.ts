// What the scorer knows of a series, for people: read-only, made on demand, nothing kept.

import { fromBinary } from '@bufbuild/protobuf';
import { MetricType, SeriesInfoSchema } from '../gen/sample_block_pb.js';
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
  query: { matches: (labels: readonly Label[]) => boolean; limit: number; cursor?: string },
): Promise<SeriesPage> {
  const [fromPartition = 0, fromEntry = 0] = (query.cursor ?? '0.0').split('.').map(Number);
  const rows: SeriesRow[] = [];
  for (const [index, partition] of [...partitions].sort(([a], [b]) => a - b)) {
    if (index < fromPartition) continue;
    const { slots } = partition;
    for (let entry = index === fromPartition ? fromEntry : 0; entry < slots.entryEnd; entry++) {
      if (!slots.isUsed(entry)) continue;
      if (!query.matches(partition.labels(entry))) continue;
      if (rows.length >= query.limit) return { rows, next: `${index}.${entry}` };
      rows.push(rowOf(partition, index, entry));
      if (entry % ENTRIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn));
    }
  }
  return { rows };
}

/** By the 16 hexadecimal digits of its fingerprint. */
export function findSeries(
  partitions: Iterable<[number, Partition]>,
  fingerprint: string,
): SeriesRow | undefined {
  const high = Number.parseInt(fingerprint.slice(0, 8), 16);
  const low = Number.parseInt(fingerprint.slice(8), 16);
  for (const [index, partition] of partitions) {
    const entry = partition.slots.find(low, high);
    if (entry !== NO_ENTRY) return rowOf(partition, index, entry);
  }
  return undefined;
}

function rowOf(partition: Partition, index: number, entry: number): SeriesRow {
  const { slots, forest } = partition;
  const announced = fromBinary(SeriesInfoSchema, slots.announcement(entry));
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
    row.reason = 'Raw histogram buckets and ALERTS are not scored by themselves';
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
