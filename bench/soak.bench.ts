// 50,000 samples a second for a long time, with churn: every minute one series in twenty ends with a
// stale marker and another begins. What must stay as it is: every body is taken at once, memory grows
// with new series only, the gauges are scraped in time, every sample is applied, and at the end the
// counters add up. `node dist/bench/soak.bench.js [--seconds 1200] [--smoke]`.

import { fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { removeDirectory, temporaryDirectory } from '../test/programs.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  startTreeline,
} from '../test/treeline-process.js';
import type { CrowdOrder, CrowdReport } from './crowd-sender.js';
import { cpuSecondsOf, memoryOf } from './process-readings.js';

const { values: flags } = parseArgs({
  options: { seconds: { type: 'string' }, smoke: { type: 'boolean', default: false } },
});
const isSmoke = flags.smoke;
const SECONDS = Number(flags.seconds ?? (isSmoke ? 6 : 1_200));
const SAMPLES_PER_SECOND = isSmoke ? 5_000 : 50_000;
/** Each sends 1,000 samples a second, one of each of its series. */
const SERIES_PER_SENDER = 1_000;
const INTERVAL_MS = 1_000;
const CHURN_PER_MINUTE = 0.05;
const SCRAPE_MS = 15_000;
/** In stream time as in real time, and the newest sample is never of the future. */
const FIRST_MS = Date.now();
/** A series costs 832 B of record, its labels, and its part of the tables and checkpoints. */
const BYTES_PER_SERIES_MAX = 6_000;
const GROWTH_MEGABYTES_MAX = 80;
const ANSWER_MS_MAX = 1_000;

interface Moment {
  second: number;
  rssMegabytes: number;
  ownMegabytes: number;
  series: number;
  scrapeMs: number;
}

const directory = temporaryDirectory('soak');
const treeline = await startTreeline({
  dataDir: join(directory, 'data'),
  args: ['--logging-level', 'warn'],
});
const { pid } = treeline.program;
const crowd = fork(fileURLToPath(new URL('crowd-sender.js', import.meta.url)));
const moments: Moment[] = [];
const begun = performance.now();
const cpuBefore = cpuSecondsOf(pid);
let isOver = false;
const watching = watch();
const report = await new Promise<CrowdReport>((resolve, reject) => {
  crowd.once('message', (message) => resolve(message as CrowdReport));
  crowd.once('exit', (code) => reject(new Error(`The senders ended with ${code}`)));
  crowd.send(order());
});
const cpuShare = (cpuSecondsOf(pid) - cpuBefore) / report.seconds;
isOver = true;
await watching;
const rows = await partitionsAtRest(treeline);
const readings = await treeline.metrics();
const faults = identityFaults(readings);
const outcomes = rows.reduce<Record<string, number>>((sums, row) => {
  for (const [name, count] of Object.entries(row.outcomes)) sums[name] = (sums[name] ?? 0) + count;
  return sums;
}, {});
crowd.disconnect();
await treeline.stop();
removeDirectory(directory);

// From where the first series are warm to the end, what is not explained by new series.
const early = moments[Math.floor(moments.length / 4)] as Moment;
const late = moments.at(-1) as Moment;
const explained = ((late.series - early.series) * BYTES_PER_SERIES_MAX) / 1e6;
const growth = late.ownMegabytes - early.ownMegabytes;
const unexplained = growth - explained;
const results = {
  seconds: Math.round(report.seconds),
  samplesPerSecond: Math.round(report.takenSamples / report.seconds),
  wanted: SAMPLES_PER_SECOND,
  refused: report.refused + report.cut,
  otherStatuses: report.otherStatuses,
  lateBodies: report.late,
  answerMs: { p50: round(report.p50), p99: round(report.p99), slowest: round(report.slowest) },
  cpuShare: round(cpuShare),
  seriesBegun: report.seriesBegun,
  scrapeMs: Math.round(Math.max(...moments.map(({ scrapeMs }) => scrapeMs))),
  memory: moments.filter(
    (_, i) => i % Math.ceil(moments.length / 12) === 0 || i === moments.length - 1,
  ),
  ownGrowthMegabytes: { all: round(growth), beyondNewSeries: round(unexplained) },
  checkpointFailures: readingOf(readings, 'treeline_checkpoint_failures_total') ?? 0,
  gapRecords: readingOf(readings, 'treeline_log_gap_records_total') ?? 0,
  outcomes,
  faults,
};
console.log(JSON.stringify(results, null, 2));
const applied = outcomes['applied'] ?? 0;
if (applied !== report.takenSamples) {
  faults.push(`${report.takenSamples} samples were taken in order, ${applied} applied`);
  console.error(faults.at(-1));
}
const isWrong =
  faults.length > 0 ||
  results.checkpointFailures > 0 ||
  Object.keys(report.otherStatuses).length > 0;
const isSlow =
  !isSmoke &&
  (results.samplesPerSecond < 0.98 * SAMPLES_PER_SECOND ||
    results.refused > 0 ||
    report.p99 > ANSWER_MS_MAX ||
    unexplained > GROWTH_MEGABYTES_MAX);
if (isWrong || isSlow) process.exitCode = 1;

function order(): CrowdOrder {
  const senders = SAMPLES_PER_SECOND / SERIES_PER_SENDER;
  return {
    url: treeline.url,
    senders,
    seriesPerSender: SERIES_PER_SENDER,
    stepsPerBody: 1,
    connections: senders,
    seconds: SECONDS,
    isHalfImpatient: false,
    isCold: false,
    firstMs: FIRST_MS,
    stepMs: INTERVAL_MS,
    pauseMs: INTERVAL_MS,
    churnPerMinute: CHURN_PER_MINUTE,
  };
}

/** Scrapes as a Prometheus would, and looks at the process. */
async function watch(): Promise<void> {
  const pause = isSmoke ? 1_000 : SCRAPE_MS;
  for (let at = 1; !isOver; at++) {
    for (const due = begun + at * pause; !isOver && performance.now() < due; ) await sleep(100);
    const from = performance.now();
    await treeline.text('/metrics/anomalies');
    const scrapeMs = performance.now() - from;
    const series = readingOf(await treeline.metrics(), 'treeline_series') ?? 0;
    const { rssMegabytes, ownMegabytes } = memoryOf(pid);
    moments.push({
      second: Math.round((performance.now() - begun) / 1000),
      rssMegabytes: Math.round(rssMegabytes),
      ownMegabytes: Math.round(ownMegabytes),
      series,
      scrapeMs: round(scrapeMs),
    });
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
