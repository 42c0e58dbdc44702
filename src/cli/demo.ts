// `treeline demo`: the service on a temporary directory, fed with a small shop by demo-feed.ts: weeks of history, one fault,
// then live. Faults are put in by keys or by POST /demo/faults. It prints where to look and what is to be seen there.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTreeline, type Treeline } from '../compose.js';
import { loadSettings, type Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { createLogger } from '../logger.js';
import { FAULTS, SLOW } from './demo-faults.js';
import { Feed, FIRST_FAULT_MS } from './demo-feed.js';
import { demoRoutes } from './demo-routes.js';
import { endWith, welcome } from './run.js';

const WEEK_MS = 7 * 864e5;
const FOUND_MS_MAX = 30_000;
/** The series that moves first when the database is slow. */
const FIRST_MOVER = `pod="${SLOW}"`;
const FIRST_METRIC = 'db_query_duration_seconds';

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
    // Nobody has to be spared false alarms here: what is found is shown as it would be after the first week.
    flags: { 'data-dir': dataDir, mode: 'live', ...(listen !== undefined && { listen }) },
  });
  const logger = createLogger({ level: 'warn', format: 'text' });
  const feed = new Feed();
  const treeline = await start(settings, { dataDir, logger, feed });
  endWith(treeline, logger);
  process.stdout.write(welcome(treeline.url, settings));
  const replayed = { lengthMs: weeks * WEEK_MS, untilMs: Date.now() };
  process.stderr.write(`Sending ${7 * weeks} days of a shop …\n`);
  const { samples, seconds } = await feed.replay(`${treeline.url}/api/v1/write`, replayed);
  process.stderr.write(`${samples} samples taken in ${seconds.toFixed(1)} s\n`);
  process.stdout.write(await describeFault(treeline.url));
  if (options.once === true) {
    await treeline.stop();
    process.exit();
  }
  process.stdout.write(storyboard(treeline.url));
  listenToKeys(feed);
  await feed.live();
}

async function start(
  settings: Settings,
  parts: { dataDir: string; logger: Logger; feed: Feed },
): Promise<Treeline> {
  const { dataDir, logger, feed } = parts;
  const { faults } = feed;
  const started = await startTreeline(settings, {
    logger,
    addRoutes: (server) =>
      demoRoutes(server, { faults, clock: Date.now, onChange: () => feed.wake() }),
  });
  return {
    ...started,
    stop: async () => {
      feed.stop();
      await started.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
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
          line.startsWith('anomaly_flag{') &&
          line.includes(FIRST_METRIC) &&
          line.includes(FIRST_MOVER) &&
          line.endsWith(' 1'),
      );
    if (flag === undefined) continue;
    return `
${SLOW} became slow ${FIRST_FAULT_MS / 1000} seconds ago, and that was found:
  ${flag}

See it:
  curl -s ${gauges} | grep 'anomaly_flag.* 1$'
  curl -s '${url}/anomaly/v1/anomalies?state=open'
In Prometheus:
  anomaly_flag == 1
`;
  }
  throw new OperatingError('input_invalid', `The slow ${SLOW} was not found; see ${gauges}`);
}

function storyboard(url: string): string {
  const lines = FAULTS.map(({ key, title, look }) => `  ${key}  ${title.padEnd(16)} ${look}`);
  const keys = process.stdin.isTTY
    ? 'Press a key to put a fault in, and again to take it away (q ends the demo):'
    : `POST /demo/faults {"fault": "latency-step", "on": false} puts faults in and takes them away:`;
  return `
Look at ${url}
  Now names the incident that has begun, with ${SLOW} as its first mover: open it, then its first series.

${keys}

${lines.join('\n')}

Anomalies of one namespace that begin within two minutes of each other are one incident; worker-1 and the cron
jobs have namespaces of their own.
`;
}

function listenToKeys(feed: Feed): void {
  const { stdin } = process;
  if (!stdin.isTTY) return;
  stdin.setRawMode(true);
  stdin.resume();
  stdin.setEncoding('utf8');
  stdin.on('data', (key: string) => {
    if (key === '\u0003' || key === 'q') {
      stdin.setRawMode(false);
      process.kill(process.pid, 'SIGINT');
      return;
    }
    const fault = FAULTS.find((known) => known.key === key);
    if (fault === undefined) return;
    const isOn = feed.faults.since(fault.name, Date.now()) === undefined;
    feed.faults.set(fault.name, isOn, Date.now());
    feed.wake();
    process.stdout.write(isOn ? `${fault.title}: ${fault.look}\n` : `${fault.title}: over\n`);
  });
}
