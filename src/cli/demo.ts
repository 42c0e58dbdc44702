// `treeline demo`: the service on a temporary directory, fed over real remote-write: weeks of history first, as fast as
// they are taken, then one fault, then a sample a minute. Prints where to look and what is to be seen there.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTreeline, type Treeline } from '../compose.js';
import { loadSettings } from '../config.js';
import { OperatingError } from '../errors.js';
import { createLogger } from '../logger.js';
import { seriesText } from '../series.js';
import type { SeriesSamples } from '../write-request.js';
import { createFleet, DISTURBED, type FleetSeries, STEP_MS } from './demo-fleet.js';
import { remoteWrite } from './remote-write.js';
import { endWith, welcome } from './run.js';

const WEEK_MS = 7 * 864e5;
const FAULT_STEPS = 5;
const STEPS_PER_REQUEST = 100;
const FOUND_MS_MAX = 30_000;

export interface DemoOptions {
  listen?: string;
  weeks: string;
  once?: boolean;
}

export async function demo(options: DemoOptions): Promise<void> {
  const weeks = Number(options.weeks);
  if (!(weeks > 0 && weeks <= 52)) {
    throw new OperatingError('config_invalid', `--weeks is ${options.weeks}, expected up to 52`);
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-demo-'));
  const { listen } = options;
  const settings = loadSettings({
    environment: { TREELINE_LISTEN: process.env['TREELINE_LISTEN'] },
    flags: { 'data-dir': dataDir, ...(listen !== undefined && { listen }) },
  });
  const logger = createLogger({ level: 'warn', format: 'text' });
  const started = await startTreeline(settings, { logger });
  const treeline: Treeline = {
    ...started,
    stop: async () => {
      await started.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
  endWith(treeline, logger);
  process.stdout.write(welcome(treeline.url, settings));
  const fleet = createFleet(2);
  const now = Math.floor(Date.now() / STEP_MS) * STEP_MS;
  const begin = now - weeks * WEEK_MS;
  const faultFrom = now - (FAULT_STEPS - 1) * STEP_MS;
  process.stderr.write(`Sending ${weeks} weeks of ${fleet.length} series, one sample a minute …\n`);
  const began = Date.now();
  for (let at = begin; at <= now; at += STEPS_PER_REQUEST * STEP_MS) {
    const until = Math.min(now, at + (STEPS_PER_REQUEST - 1) * STEP_MS);
    await remoteWrite(
      `${treeline.url}/api/v1/write`,
      samplesOf(fleet, { from: at, until, faultFrom }),
    );
  }
  const samples = fleet.length * (Math.floor((now - begin) / STEP_MS) + 1);
  const seconds = (Date.now() - began) / 1000;
  process.stderr.write(`${samples} samples taken in ${seconds.toFixed(1)} s\n`);
  process.stdout.write(await describeFault(treeline.url));
  if (options.once === true) {
    await treeline.stop();
    process.exit();
  }
  await feed(treeline, fleet, now);
}

function samplesOf(
  fleet: readonly FleetSeries[],
  span: { from: number; until: number; faultFrom: number },
): SeriesSamples[] {
  return fleet.map((series) => {
    const samples: SeriesSamples['samples'] = [];
    for (let at = span.from; at <= span.until; at += STEP_MS) {
      samples.push({ timestampMs: at, value: series.next(at, at >= span.faultFrom) });
    }
    return { labels: series.labels, samples };
  });
}

/** Waits until the fault is in the gauges, and says how to see it. Rejects when it is not found in time. */
async function describeFault(url: string): Promise<string> {
  const gauges = `${url}/metrics/anomalies`;
  for (const until = Date.now() + FOUND_MS_MAX; Date.now() < until; await sleep(100)) {
    const text = await (await fetch(gauges)).text();
    const flag = text
      .split('\n')
      .find(
        (line) =>
          line.startsWith('anomaly_flag{') && line.includes(DISTURBED) && line.endsWith(' 1'),
      );
    if (flag === undefined) continue;
    return `
A fault was put into one series ${FAULT_STEPS - 1} minutes ago, and found:
  ${flag}

See it:
  curl -s ${gauges} | grep 'anomaly_flag.* 1$'
  curl -s '${url}/anomaly/v1/anomalies?state=open'
In Prometheus:
  anomaly_flag == 1
`;
  }
  throw new OperatingError(
    'input_invalid',
    `The fault in ${DISTURBED} was not found; see ${gauges}`,
  );
}

/** Goes on with a sample a minute; the fault stays. */
async function feed(
  treeline: Treeline,
  fleet: readonly FleetSeries[],
  last: number,
): Promise<void> {
  process.stdout.write(
    `\nOne sample a minute from now on; the fault stays. Ctrl-C ends the demo.\n`,
  );
  for (let at = last + STEP_MS; ; at += STEP_MS) {
    await sleep(Math.max(0, at - Date.now()));
    try {
      await remoteWrite(
        `${treeline.url}/api/v1/write`,
        samplesOf(fleet, { from: at, until: at, faultFrom: 0 }),
      );
    } catch (error) {
      // Stopping: the listener is closed before this loop ends with the process.
      process.stderr.write(
        `${seriesText(fleet[0]?.labels ?? [])} and others not sent: ${(error as Error).message}\n`,
      );
    }
  }
}
