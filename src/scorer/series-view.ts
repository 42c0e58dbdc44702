// What the scorer knows of a series, for people: read-only, made on demand, nothing kept.

import { fromBinary } from '@bufbuild/protobuf';
import { MetricType, type SeriesInfo, SeriesInfoSchema } from '../gen/sample_block_pb.js';
import type { KnownSeries, WindowPoint } from '../known-series.js';
import { fingerprintText, type Label, seriesText } from '../series.js';
import { type EntityRow, entityFields } from './entity-view.js';
import type { Partition } from './partition.js';
import { filterOf } from './series-filter.js';
import { NO_ENTRY, NO_SLOT } from './slots.js';
import type { VerdictOutcome } from './verdict-overlay.js';
import type { Suitability } from './wasm-forest.js';

/** As everybody knows a series, and of the distance of an entity also what is behind it. */
export type SeriesRow = KnownSeries & { entity?: EntityRow };

/** What the deep check says of flags. */
export interface Verdicts {
  isUp(index: number, entry: number): boolean;
  verdictOf(index: number, entry: number): VerdictOutcome | undefined;
}

export interface SeriesPage {
  rows: SeriesRow[];
  /** Where the next page begins; absent on the last one. */
  next?: string;
}

const ENTRIES_PER_TURN = 2000;
/** For people: why a series is called unsuited. */
const UNSUITED: Record<Exclude<Suitability, 'suited'>, string> = {
  clock:
    'Its value is a time and rises as time does; only that it falls or stands still is flagged',
  'only-grows':
    'Whole numbers that only grow, by about the same each time: an id, or a counter without its type. Only that it ' +
    'falls or stands still is flagged; a counter is scored by its rate when its type is known or its name ends in _total',
  'never-moved':
    'It has never moved, so there is nothing to learn; its first move is scored and may be flagged',
};

/** Up to `limit` matching series in the order of partitions and entries. Lets the event loop turn in between. */
export async function pageOfSeries(
  partitions: Iterable<[number, Partition]>,
  query: {
    tenant: string;
    /** Selectors, as `matches` has them; to pass over what cannot match. */
    match?: readonly string[];
    matches: (labels: readonly Label[]) => boolean;
    limit: number;
    cursor?: string;
  },
  verdicts?: Verdicts,
): Promise<SeriesPage> {
  const [fromPartition = 0, fromEntry = 0] = (query.cursor ?? '0.0').split('.').map(Number);
  const rows: SeriesRow[] = [];
  const mayMatch = filterOf(query.match ?? []);
  for (const [index, partition] of [...partitions].sort(([a], [b]) => a - b)) {
    if (index < fromPartition) continue;
    const { slots } = partition;
    for (let entry = index === fromPartition ? fromEntry : 0; entry < slots.entryEnd; entry++) {
      if (entry % ENTRIES_PER_TURN === 0) await new Promise((turn) => setImmediate(turn));
      // While others had their turn, the series may have been removed.
      if (!slots.isUsed(entry)) continue;
      if (mayMatch?.(slots.announcement(entry)) === false) continue;
      const announced = announcementOf(partition, entry);
      if (announced.tenant !== query.tenant || !query.matches(announced.label)) continue;
      if (rows.length >= query.limit) return { rows, next: `${index}.${entry}` };
      rows.push(rowOf(announced, { partition, index, entry, verdicts }));
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

/** By the 16 hexadecimal digits of its fingerprint; with its window. */
export function findSeries(
  partitions: Iterable<[number, Partition]>,
  { fingerprint, tenant }: { fingerprint: string; tenant: string },
  verdicts?: Verdicts,
): SeriesRow | undefined {
  const high = Number.parseInt(fingerprint.slice(0, 8), 16);
  const low = Number.parseInt(fingerprint.slice(8), 16);
  for (const [index, partition] of partitions) {
    const entry = partition.slots.find(low, high);
    if (entry === NO_ENTRY) continue;
    const announced = announcementOf(partition, entry);
    if (announced.tenant !== tenant) return undefined;
    const row = rowOf(announced, { partition, index, entry, verdicts });
    const window = windowPoints(partition, entry);
    return window.length === 0 ? row : { ...row, window };
  }
  return undefined;
}

function announcementOf(partition: Partition, entry: number): SeriesInfo {
  return fromBinary(SeriesInfoSchema, partition.slots.announcement(entry));
}

interface Place {
  partition: Partition;
  index: number;
  entry: number;
  verdicts: Verdicts | undefined;
}

function rowOf(announced: SeriesInfo, { partition, index, entry, verdicts }: Place): SeriesRow {
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
  const reason = whyUnsuited(view.unsuited, () => forest.suitability(slot));
  if (reason !== undefined && view.stage === 'active')
    Object.assign(row, { state: 'unsuited', reason });
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
  const isUp = view.flag && (verdicts === undefined || verdicts.isUp(index, entry));
  Object.assign(row, { score: view.score, flag: isUp ? 1 : 0 });
  const verdict = view.flag ? verdicts?.verdictOf(index, entry) : undefined;
  if (verdict !== undefined) row.verdict = verdict;
  if (Number.isFinite(view.expected)) {
    Object.assign(row, { expected: view.expected, lower: view.lower, upper: view.upper });
  }
  Object.assign(row, entityFields(partition, entry));
  return row;
}

function windowPoints({ slots, forest }: Partition, entry: number): WindowPoint[] {
  const slot = slots.slotOf(entry);
  if (slot === NO_SLOT || forest.windows === undefined) return [];
  const { stepMs, endMs, values } = forest.windows.recent(slot);
  const { lastTimestampMs, lastValue, score, expected, lower, upper } = forest.view(slot);
  const points: WindowPoint[] = [];
  for (const [i, value] of values.entries()) {
    const behind = values.length - 1 - i;
    const atMs = Math.round(behind === 0 ? endMs : endMs - behind * stepMs);
    if (!isDate(atMs)) continue;
    const timestamp = new Date(atMs).toISOString();
    points.push({ timestamp, value: Number.isFinite(value) ? value : null });
  }
  const newest = points.at(-1);
  if (newest !== undefined && endMs === lastTimestampMs && Number.isFinite(expected)) {
    // Exactly as it was scored; the others may have lost their last digits.
    Object.assign(newest, { value: lastValue, score, expected, lower, upper });
  }
  return points;
}

/** A clock, or what only grows, is unsuited from when it is marked: until then it may be flagged. */
function whyUnsuited(marked: Suitability, now: () => Suitability): string | undefined {
  if (marked !== 'suited') return UNSUITED[marked];
  return now() === 'never-moved' ? UNSUITED['never-moved'] : undefined;
}

function isDate(ms: number): boolean {
  return Math.abs(ms) <= 8.64e15;
}
