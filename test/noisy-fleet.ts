// A fleet as a pager sees it: autoregressive series, a third of them with a daily rhythm, two to a pod, sent in fast forward
// to a running program by remote-write; and in its last week 40 faults of 8 to 20 standard deviations that last 15
// samples. Everything follows from the seed. Afterwards: which incidents were told of, and which of the faults are among
// them. Bodies are written field by field: the large fleet has a hundred million samples.

import assert from 'node:assert';
import { compressSync } from 'snappy';
import { encodeLabels } from '../src/outputs/remote-write-body.js';
import { randomOf } from './random.js';
import { openSender } from './remote-write-sender.js';
import type { Treeline } from './treeline-process.js';

export const FAULTS = 40;
/** At the default of five a day. */
export const BUDGET_OF_WEEK = 35;
const FAULT_STEPS = 15;
const FAULTY_DAYS = 7;
const STEPS_PER_BODY = 60;
const SAMPLES_PER_BODY = 300_000;
/** How much of its deviation a series keeps from sample to sample. */
const KEPT = 0.7;
const SAMPLE_BYTES = 18;

export interface Fault {
  series: number;
  /** Step of its beginning. */
  from: number;
  /** In standard deviations of the series. */
  size: number;
}

export interface Fleet {
  series: number;
  stepSeconds: number;
  steps: number;
  beginMs: number;
  /** Step of the beginning of the week with faults. */
  faultyFrom: number;
  faults: readonly Fault[];
  random: () => number;
}

/** Its last sample is of now. */
export function noisyFleet(shape: {
  seed: number;
  series: number;
  stepSeconds: number;
  /** Before the week that counts. */
  quietDays: number;
}): Fleet {
  const { seed, series, stepSeconds, quietDays } = shape;
  const day = 86_400 / stepSeconds;
  const steps = (quietDays + FAULTY_DAYS) * day;
  const faultyFrom = quietDays * day;
  const random = randomOf(seed);
  const faults = Array.from({ length: FAULTS }, () => ({
    series: Math.floor(random() * series),
    from: faultyFrom + Math.floor(random() * (FAULTY_DAYS * day - 4 * FAULT_STEPS)),
    size: 8 + 12 * random(),
  }));
  const beginMs = Math.floor(Date.now() / 1000 / stepSeconds - steps) * stepSeconds * 1000;
  return { series, stepSeconds, steps, beginMs, faultyFrom, faults, random };
}

/** `onBody` hears how many steps have been taken. */
export async function sendFleet(
  url: string,
  fleet: Fleet,
  onBody: (steps: number) => void = () => {},
): Promise<void> {
  const perBody = Math.min(STEPS_PER_BODY, Math.floor(SAMPLES_PER_BODY / fleet.series));
  const sender = fleetSender(url, fleet);
  for (let from = 0; from < fleet.steps; from += perBody) {
    const to = Math.min(from + perBody, fleet.steps);
    await sender.send({ from: 0, to: fleet.series }, { from, to });
    onBody(to);
  }
  sender.close();
}

interface Range {
  from: number;
  /** Not in it. */
  to: number;
}

export interface FleetSender {
  /** Some series in one request; of each the steps must follow on those that were sent before. */
  send(series: Range, steps: Range): Promise<void>;
  close(): void;
}

export function fleetSender(url: string, fleet: Fleet): FleetSender {
  const next = valuesOf(fleet);
  const heads = Array.from({ length: fleet.series }, (_, series) => headOf(series));
  const sender = openSender(url);
  return {
    async send(series, steps) {
      const parts: Uint8Array[] = [];
      const count = steps.to - steps.from;
      for (let one = series.from; one < series.to; one++) {
        const head = heads[one] as Uint8Array;
        const bytes = head.length + count * SAMPLE_BYTES;
        const samples = Buffer.allocUnsafe(3 + bytes);
        samples.writeUInt8(0x0a, 0);
        samples.writeUInt8((bytes & 0x7f) | 0x80, 1);
        samples.writeUInt8(bytes >> 7, 2);
        samples.set(head, 3);
        for (let i = 0; i < count; i++) {
          const step = steps.from + i;
          const timestampMs = fleet.beginMs + step * fleet.stepSeconds * 1000;
          const at = 3 + head.length + i * SAMPLE_BYTES;
          writeSample(samples, at, { value: next(one, step), timestampMs });
        }
        parts.push(samples);
      }
      const { status, text } = await sender.send(compressSync(Buffer.concat(parts)));
      assert.equal(status, 204, text);
    },
    close: () => sender.close(),
  };
}

function valuesOf(fleet: Fleet): (series: number, step: number) => number {
  const { random, stepSeconds } = fleet;
  const day = 86_400 / stepSeconds;
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const levels = new Float64Array(fleet.series);
  const deviation = 1 / Math.sqrt(1 - KEPT ** 2);
  const faultsOf = new Map<number, Fault[]>();
  for (const fault of fleet.faults) {
    faultsOf.set(fault.series, [...(faultsOf.get(fault.series) ?? []), fault]);
  }
  return (series, step) => {
    const level = KEPT * (levels[series] as number) + normal();
    levels[series] = level;
    const fault = faultsOf
      .get(series)
      ?.find(({ from }) => step >= from && step < from + FAULT_STEPS);
    const daily = series % 3 === 0 ? 10 * Math.sin((2 * Math.PI * step) / day + series) : 0;
    return 100 + daily + 2 * (level + (fault?.size ?? 0) * deviation);
  };
}

function headOf(series: number): Uint8Array {
  const labels = Object.entries({ ...podOf(series), job: 'pods' });
  return encodeLabels(
    `load_${series % 10}`,
    labels.map(([name, value]) => ({ name, value })),
  );
}

function podOf(series: number): { namespace: string; pod: string } {
  return { namespace: `ns-${series % 25}`, pod: `p-${Math.floor(series / 2)}` };
}

/** A Sample of remote-write 1.0 in a TimeSeries; its timestamp takes six bytes until the year 2109. */
function writeSample(
  into: Buffer,
  at: number,
  { value, timestampMs }: { value: number; timestampMs: number },
): void {
  into[at] = 0x12;
  into[at + 1] = 16;
  into[at + 2] = 0x09;
  into.writeDoubleLE(value, at + 3);
  into[at + 11] = 0x10;
  let rest = timestampMs;
  for (let i = 0; i < 6; i++) {
    const low = rest % 128;
    rest = (rest - low) / 128;
    into[at + 12 + i] = i < 5 ? low | 0x80 : low;
  }
}

export interface IncidentRow {
  start: string;
  entities: string[];
  notification: string;
  rank: number;
}

/** All pages. */
export async function incidentsOf(treeline: Treeline): Promise<IncidentRow[]> {
  const rows: IncidentRow[] = [];
  for (let cursor = ''; ; ) {
    const path = `/anomaly/v1/incidents?limit=1000${cursor}`;
    const page = await treeline.json<{ incidents: IncidentRow[]; cursor?: string }>(path);
    rows.push(...page.incidents);
    if (page.cursor === undefined) return rows;
    cursor = `&cursor=${page.cursor}`;
  }
}

export interface Told {
  /** Of the week with faults. */
  incidents: IncidentRow[];
  notified: IncidentRow[];
  /** Faults that somebody was notified of. */
  heard: number;
  /** Notified, and no fault. */
  byChance: number;
  isFault: (row: IncidentRow) => boolean;
}

export function toldOf(rows: readonly IncidentRow[], fleet: Fleet): Told {
  const fromMs = fleet.beginMs + fleet.faultyFrom * fleet.stepSeconds * 1000;
  const incidents = rows.filter(({ start }) => Date.parse(start) >= fromMs);
  const notified = incidents.filter(({ notification }) => notification === 'notified');
  const isFault = (row: IncidentRow) => fleet.faults.some((fault) => isNear(row, fault, fleet));
  const isHeard = (fault: Fault) => notified.some((row) => isNear(row, fault, fleet));
  const heard = fleet.faults.filter(isHeard).length;
  const byChance = notified.filter((row) => !isFault(row)).length;
  return { incidents, notified, heard, byChance, isFault };
}

/** On the entity of the fault, at most twenty samples from its beginning. */
export function isNear(row: IncidentRow, fault: Fault, fleet: Fleet): boolean {
  const stepMs = fleet.stepSeconds * 1000;
  const offMs = Math.abs(Date.parse(row.start) - fleet.beginMs - fault.from * stepMs);
  return row.entities.includes(entityOf(fault.series)) && offMs < 20 * stepMs;
}

export function entityOf(series: number): string {
  const { namespace, pod } = podOf(series);
  return `namespace=${namespace} pod=${pod}`;
}
