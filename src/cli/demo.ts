// `treeline demo`: the service on a temporary directory, fed over real remote-write: weeks of a small shop's history, as
// fast as they are taken, the last hours in the steps of live, then one fault, then live. Faults are put in by keys or by
// POST /demo/faults. It prints where to look and what is to be seen there.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTreeline, type Treeline } from '../compose.js';
import { loadSettings, type Settings } from '../config.js';
import { OperatingError } from '../errors.js';
import type { Logger } from '../http-server.js';
import { createLogger } from '../logger.js';
import { FAULTS, Faults, SLOW } from './demo-faults.js';
import { demoRoutes } from './demo-routes.js';
import { createShop, type Shop } from './demo-shop.js';
import { remoteWrite } from './remote-write.js';
import { endWith, welcome } from './run.js';

const DAY_MS = 864e5;
const WEEK_MS = 7 * DAY_MS;
const HISTORY_STEP_MS = 60_000;
const LIVE_STEP_MS = 5_000;
/** Of history in steps of live: the forest has to know them before it judges by them. */
const FINE_MS = 3 * 36e5;
/** However often faults come and go, steps are so far apart. */
const STEP_MS_MIN = 1_000;
const STEPS_PER_REQUEST = 100;
/** The first fault is so old when live begins. */
const FIRST_FAULT_MS = 6 * LIVE_STEP_MS;
const FOUND_MS_MAX = 30_000;
const SEED = 2;
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
  await feed.replay(`${treeline.url}/api/v1/write`, weeks * WEEK_MS);
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

/** What the shop says, sent as Prometheus would send it. */
class Feed {
  readonly faults = new Faults();
  readonly #shop: Shop = createShop(SEED);
  #url = '';
  #lastMs = 0;
  #wake: (() => void) | undefined;
  #isStopped = false;

  async replay(url: string, lengthMs: number): Promise<void> {
    this.#url = url;
    const now = Math.floor(Date.now() / LIVE_STEP_MS) * LIVE_STEP_MS;
    const begin = now - lengthMs;
    const fineFrom = Math.max(begin, now - FINE_MS);
    this.#planHistory(now);
    const count = this.#shop.series.length;
    process.stderr.write(`Sending ${lengthMs / DAY_MS} days of ${count} series …\n`);
    const began = Date.now();
    let samples = 0;
    for (let at = begin; at <= now; ) {
      const times: number[] = [];
      for (; times.length < STEPS_PER_REQUEST && at <= now; ) {
        times.push(at);
        at += at < fineFrom ? HISTORY_STEP_MS : LIVE_STEP_MS;
      }
      samples += await this.#send(times);
    }
    const seconds = (Date.now() - began) / 1000;
    process.stderr.write(`${samples} samples taken in ${seconds.toFixed(1)} s\n`);
  }

  /** Goes on in steps of live, and at once when a fault begins or ends, until it is stopped. */
  async live(): Promise<void> {
    while (!this.#isStopped) {
      const pause = this.#lastMs + LIVE_STEP_MS - Date.now();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, Math.max(0, pause));
      });
      const at = Date.now();
      if (at - this.#lastMs < STEP_MS_MIN) await sleep(STEP_MS_MIN - (at - this.#lastMs));
      if (this.#isStopped) return;
      try {
        await this.#send([Date.now()]);
      } catch (error) {
        // log_unavailable, or nobody listens any more: stopping, or it is tried again with the next step.
        if (this.#isStopped) return;
        process.stderr.write(`Not sent: ${(error as Error).message}\n`);
        await sleep(LIVE_STEP_MS);
      }
    }
  }

  wake(): void {
    this.#wake?.();
  }

  stop(): void {
    this.#isStopped = true;
    this.wake();
  }

  /** The shop had its troubles before, and the page has something to show of them. */
  #planHistory(now: number): void {
    const plan = (name: Parameters<Faults['plan']>[0], agoMs: number, lengthMs: number) =>
      this.faults.plan(name, { fromMs: now - agoMs, untilMs: now - agoMs + lengthMs });
    plan('traffic-surge', 4 * DAY_MS, 25 * 60_000);
    plan('latency-step', 2 * DAY_MS + 3 * 36e5, 15 * 60_000);
    plan('memory-leak', 5 * 36e5, 20 * 60_000);
    this.faults.set('latency-step', true, now - FIRST_FAULT_MS);
  }

  async #send(times: readonly number[]): Promise<number> {
    const { series } = this.#shop;
    const bodies = series.map(({ labels }) => ({
      labels,
      samples: [] as { timestampMs: number; value: number }[],
    }));
    for (const timestampMs of times) {
      const moment = this.#shop.momentAt(timestampMs, this.faults);
      for (const [index, { next }] of series.entries()) {
        const value = next(moment);
        if (value !== undefined) bodies[index]?.samples.push({ timestampMs, value });
      }
      this.#lastMs = timestampMs;
    }
    await remoteWrite(
      this.#url,
      bodies.filter(({ samples }) => samples.length > 0),
    );
    return bodies.reduce((sum, { samples }) => sum + samples.length, 0);
  }
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
