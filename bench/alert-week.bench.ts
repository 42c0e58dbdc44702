// Who is told of what in a week of a noisy fleet: 5,000 autoregressive series, a third of them with a daily rhythm, two weeks
// in fast forward through the real program at its defaults, which watches for the first one; in the second one 40 faults of
// 8 to 20 standard deviations that last 15 samples. What must hold: the notified incidents are 0.3 to 1.2 of the budget of these days, and
// nine of ten faults are among them. `node dist/bench/alert-week.bench.js [--series 5000] [--step 60] [--seed N] [--smoke]`.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compressSync } from 'snappy';
import { encodeLabels } from '../src/outputs/remote-write-body.js';
import { endPrograms, eventually, removeDirectory, temporaryDirectory } from '../test/programs.js';
import { randomOf } from '../test/random.js';
import { openSender } from '../test/remote-write-sender.js';
import { partitionsAtRest, startTreeline, type Treeline } from '../test/treeline-process.js';
import { cpuSecondsOf, memoryOf } from './process-readings.js';

const { values: flags } = parseArgs({
  options: {
    series: { type: 'string' },
    step: { type: 'string' },
    seed: { type: 'string', default: '20260' },
    smoke: { type: 'boolean', default: false },
  },
});
const SERIES = Number(flags.series ?? (flags.smoke ? 100 : 5_000));
/** Seconds between two samples of a series. */
const STEP = Number(flags.step ?? (flags.smoke ? 300 : 60));
const SEED = Number(flags.seed);
const DAY = 86_400 / STEP;
/** A week in shadow, as every installation has it, and the week that counts. */
const STEPS = 14 * DAY;
const FAULTY_FROM = 7 * DAY;
const FAULTS = 40;
const FAULT_STEPS = 15;
const BUDGET_OF_WEEK = 35;
/** 300,000 samples at most. */
const PER_BODY = Math.min(60, Math.floor(300_000 / SERIES));
/** How much of its deviation a series keeps. */
const KEPT = 0.7;
const SAMPLE_BYTES = 18;

interface Fault {
  series: number;
  from: number;
  size: number;
}

interface Row {
  start: string;
  entities: string[];
  notification: string;
  rank: number;
}

const directory = temporaryDirectory('alert-week');
const treeline = await startTreeline({
  dataDir: join(directory, 'data'),
  args: ['--logging-level', 'warn'],
});
const beginMs = Math.floor(Date.now() / 1000 / STEP - STEPS) * STEP * 1000;
const random = randomOf(SEED);
const faults: Fault[] = Array.from({ length: FAULTS }, () => ({
  series: Math.floor(random() * SERIES),
  from: FAULTY_FROM + Math.floor(random() * (7 * DAY - 4 * FAULT_STEPS)),
  size: 8 + 12 * random(),
}));
const begun = performance.now();
await send(treeline);
await partitionsAtRest(treeline);
const seconds = (performance.now() - begun) / 1000;
let rows = await incidentsOf(treeline);
// The api decides a moment after the last candidate was written.
await eventually('the decisions to stand', 60_000, async () => {
  const before = JSON.stringify(rows);
  rows = await incidentsOf(treeline);
  const isPending = rows.some(({ notification }) => notification === 'pending');
  return !isPending && JSON.stringify(rows) === before ? true : undefined;
});
const ofWeek = rows.filter(({ start }) => Date.parse(start) >= beginMs + FAULTY_FROM * STEP * 1000);
const told = ofWeek.filter(({ notification }) => notification === 'notified');
const heard = faults.filter((fault) => told.some((row) => isNear(row, fault)));
/** How far apart the ranks of faults and of chance are, whoever was told. */
const quantiles = (found: readonly Row[]) => {
  const ranks = found.map(({ rank }) => rank).sort((a, b) => b - a);
  return [0, 0.1, 0.5, 0.9, 1].map((q) => ranks[Math.round(q * (ranks.length - 1))]?.toFixed(2));
};
const isFault = (row: Row) => faults.some((fault) => isNear(row, fault));
const outcome = {
  seed: SEED,
  series: SERIES,
  stepSeconds: STEP,
  samples: SERIES * STEPS,
  incidents: ofWeek.length,
  told: told.length,
  ofBudget: Number((told.length / BUDGET_OF_WEEK).toFixed(3)),
  faultsTold: `${heard.length} of ${FAULTS}`,
  toldByChance: told.filter((row) => !isFault(row)).length,
  flagged: faults.filter((fault) => ofWeek.some((row) => isNear(row, fault))).length,
  ranksOfFaults: quantiles(ofWeek.filter(isFault)).join(' '),
  ranksOfOthers: quantiles(ofWeek.filter((row) => !isFault(row))).join(' '),
  highestOthers: ofWeek
    .filter((row) => !isFault(row))
    .map(({ rank }) => rank)
    .sort((a, b) => b - a)
    .slice(0, 50)
    .filter((_, i) => i % 7 === 0)
    .map((rank) => rank.toFixed(2))
    .join(' '),
  othersOnFaultyEntities: ofWeek.filter(
    (row) =>
      !isFault(row) &&
      row.rank > 3 &&
      faults.some((fault) => row.entities.includes(entityOf(fault.series))),
  ).length,
  seconds: Math.round(seconds),
  cpuSeconds: Math.round(cpuSecondsOf(treeline.program.pid)),
  ownMegabytes: Math.round(memoryOf(treeline.program.pid).ownMegabytes),
};
console.log(JSON.stringify(outcome, null, 2));
await treeline.stop();
removeDirectory(directory);
await endPrograms();
if (!flags.smoke) {
  assert(outcome.ofBudget >= 0.3 && outcome.ofBudget <= 1.2, 'the budget is missed');
  assert(heard.length >= 0.9 * FAULTS, 'faults are missed');
}

function isNear(row: Row, fault: Fault): boolean {
  const offMs = Math.abs(Date.parse(row.start) - beginMs - fault.from * STEP * 1000);
  return row.entities.includes(entityOf(fault.series)) && offMs < 20 * STEP * 1000;
}

function entityOf(series: number): string {
  return `namespace=ns-${series % 25} pod=p-${Math.floor(series / 2)}`;
}

async function incidentsOf(from: Treeline): Promise<Row[]> {
  const found: Row[] = [];
  for (let cursor = ''; ; ) {
    const path = `/anomaly/v1/incidents?limit=1000${cursor}`;
    const page = await from.json<{ incidents: Row[]; cursor?: string }>(path);
    found.push(...page.incidents);
    if (page.cursor === undefined) return found;
    cursor = `&cursor=${page.cursor}`;
  }
}

async function send(to: Treeline): Promise<void> {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const levels = new Float64Array(SERIES);
  const deviation = 1 / Math.sqrt(1 - KEPT ** 2);
  const faultsOf = Array.from({ length: SERIES }, (_, series) =>
    faults.filter((fault) => fault.series === series),
  );
  const heads = Array.from({ length: SERIES }, (_, series) => {
    const [namespace, pod] = [`ns-${series % 25}`, `p-${Math.floor(series / 2)}`];
    const labels = Object.entries({ namespace, pod, job: 'pods' });
    return encodeLabels(
      `load_${series % 10}`,
      labels.map(([name, value]) => ({ name, value })),
    );
  });
  const sender = openSender(to.url);
  for (let from = 0; from < STEPS; from += PER_BODY) {
    const count = Math.min(PER_BODY, STEPS - from);
    const parts: Buffer[] = [];
    for (let series = 0; series < SERIES; series++) {
      const head = heads[series] as Uint8Array;
      const samples = Buffer.alloc(count * SAMPLE_BYTES);
      for (let i = 0; i < count; i++) {
        const at = from + i;
        levels[series] = KEPT * (levels[series] as number) + normal();
        const own = faultsOf[series] as Fault[];
        const fault = own.find((one) => at >= one.from && at < one.from + FAULT_STEPS);
        const daily = series % 3 === 0 ? 10 * Math.sin((2 * Math.PI * at) / DAY + series) : 0;
        const excess = 2 * ((levels[series] as number) + (fault?.size ?? 0) * deviation);
        const sample = { value: 100 + daily + excess, timestampMs: beginMs + at * STEP * 1000 };
        writeSample(samples, i * SAMPLE_BYTES, sample);
      }
      const bytes = head.length + samples.length;
      parts.push(
        Buffer.from([0x0a, (bytes & 0x7f) | 0x80, bytes >> 7]),
        Buffer.from(head),
        samples,
      );
    }
    const body = compressSync(Buffer.concat(parts));
    const { status, text } = await sender.send(body);
    assert.equal(status, 204, text);
  }
  sender.close();
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
