// History with known faults, as blocks that promtool makes for a real Prometheus: gauges with a daily rhythm and noise,
// counters, and one series that jumps somewhere else several times a day. Always the same for a seed.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Prometheus, peerBinary, startPrometheus } from './peers.js';
import { normalFrom, randomFrom } from './realistic-series.js';

export interface History {
  /** Where the blocks lie. */
  tsdb: string;
  startMs: number;
  endMs: number;
  stepMs: number;
  faults: { metric: string; pod: string; fromMs: number; untilMs: number }[];
}

export interface HistoryShape {
  seed: number;
  startMs: number;
  days: number;
  pods: number;
}

/** History up to now, and a Prometheus that has it and an external label; whoever asks stops it. */
export async function serveHistory(
  directory: string,
  shape: Omit<HistoryShape, 'startMs'>,
): Promise<{ history: History; prometheus: Prometheus }> {
  const startMs = Math.floor(Date.now() / STEP_MS - shape.days * DAY_STEPS) * STEP_MS;
  const history = await makeHistory(directory, { ...shape, startMs });
  const config = 'global: { external_labels: { cluster: eu } }\n';
  return { history, prometheus: await startPrometheus(config, { tsdb: history.tsdb }) };
}

const STEP_MS = 60_000;
const DAY_STEPS = 1440;

/**
 * `queue_length{pod}` and `requests_total{pod}` of every pod; pod-1 has a fault in each, hours
 * apart. And `flaky_length{pod="pod-0"}`, each of whose jumps is larger than those before.
 */
export async function makeHistory(directory: string, shape: HistoryShape): Promise<History> {
  const { seed, startMs, days, pods } = shape;
  const steps = days * DAY_STEPS;
  const normal = normalFrom(randomFrom(seed));
  const queue = ['# TYPE queue_length gauge'];
  const requests = ['# TYPE requests counter'];
  const faultAt = { queue: steps - 900, requests: steps - 300 };
  for (let pod = 0; pod < pods; pod++) {
    const labels = `{namespace="shop",pod="pod-${pod}"}`;
    let total = 0;
    for (let step = 0; step < steps; step++) {
      const isQueueFault = pod === 1 && step >= faultAt.queue && step < faultAt.queue + 30;
      const isRateFault = pod === 1 && step >= faultAt.requests && step < faultAt.requests + 30;
      const rhythm = 20 * Math.sin((2 * Math.PI * step) / DAY_STEPS + pod);
      const at = (startMs + step * STEP_MS) / 1000;
      const length = 100 + rhythm + 2 * normal() + (isQueueFault ? 40 : 0);
      total += Math.max(0, (300 + 3 * rhythm + 10 * normal()) * (isRateFault ? 4 : 1));
      queue.push(`queue_length${labels} ${length.toFixed(3)} ${at}`);
      requests.push(`requests_total${labels} ${total.toFixed(0)} ${at}`);
    }
  }
  const flaky = ['# TYPE flaky_length gauge'];
  const random = randomFrom(seed + 1);
  let jump = 0;
  let until = 0;
  for (let step = 0; step < steps; step++) {
    if (step >= until) jump = 0;
    if (step > 200 && random() < 8 / DAY_STEPS) {
      jump = 30 * 1.3 ** (step / 200) * (random() < 0.5 ? -1 : 1);
      until = step + 3 + Math.floor(5 * random());
    }
    const value = (100 + 2 * normal() + jump).toFixed(3);
    flaky.push(`flaky_length{namespace="shop",pod="pod-0"} ${value} ${startMs / 1000 + 60 * step}`);
  }
  const text = join(directory, 'history.txt');
  await writeFile(text, `${[...queue, ...requests, ...flaky].join('\n')}\n# EOF\n`);
  const tsdb = join(directory, 'tsdb');
  const args = ['tsdb', 'create-blocks-from', 'openmetrics', text, tsdb];
  await promisify(execFile)(await peerBinary('promtool'), args, { maxBuffer: 1 << 26 });
  const fault = (metric: string, at: number) => ({
    metric,
    pod: 'pod-1',
    fromMs: startMs + at * STEP_MS,
    untilMs: startMs + (at + 30) * STEP_MS,
  });
  return {
    tsdb,
    startMs,
    endMs: startMs + (steps - 1) * STEP_MS,
    stepMs: STEP_MS,
    faults: [fault('queue_length', faultAt.queue), fault('requests_total', faultAt.requests)],
  };
}
