// Load for a cluster: every series one sample a step, in bodies of some hundred series, each sent to one receiver until
// it is answered, as Prometheus does. Values are a function of series and step, with a spike now and then, so that there
// is something to find and every logged sample can be told from any other.

import { setTimeout as sleep } from 'node:timers/promises';
import { openSender, type Series, writeBody } from './remote-write-sender.js';

const STEP_MS = 15_000;
const RETRY_MS = 30;
/** Instances are what partitions are chosen by. */
const INSTANCES = 50;

export interface LoadOptions {
  /** One connection to each. */
  urls: readonly string[];
  seriesPerConnection: number;
  /** A divisor of those. */
  seriesPerBody: number;
  stepsMax: number;
  firstMs: number;
  /** Pause of a connection after each answered body. */
  paceMs: number;
}

export interface Load {
  readonly series: number;
  /** One byte per sample: 1 once it was answered 204. */
  readonly acknowledged: Uint8Array;
  answers(): number;
  /** Bodies sent again. */
  retries(): number;
  /** Longest time, in milliseconds, that a body waited for its 204. */
  longestMs(): number;
  steps(): number;
  /** The bodies in work are answered first. */
  stop(): Promise<void>;
}

export function startLoad(options: LoadOptions): Load {
  const { urls, seriesPerConnection, seriesPerBody, stepsMax, paceMs } = options;
  const series = urls.length * seriesPerConnection;
  const acknowledged = new Uint8Array(stepsMax * series);
  let [answers, retries, longestMs, steps, isStopping] = [0, 0, 0, 0, false];

  async function connection(url: string, index: number): Promise<void> {
    const sender = openSender(url);
    const first = index * seriesPerConnection;
    try {
      for (let step = 0; step < stepsMax; step++) {
        for (let from = first; from < first + seriesPerConnection; from += seriesPerBody) {
          if (isStopping) return;
          const body = writeBody(bodyOf({ from, count: seriesPerBody }, step, options.firstMs));
          const begun = performance.now();
          for (;;) {
            const status = await sender.send(body).then(
              (answer) => answer.status,
              () => 0, // killed, or not listening yet
            );
            if (status === 204) break;
            if (status !== 503 && status !== 0)
              throw new Error(`A good body is answered ${status}`);
            retries++;
            await sleep(RETRY_MS);
          }
          longestMs = Math.max(longestMs, performance.now() - begun);
          answers++;
          acknowledged.fill(1, step * series + from, step * series + from + seriesPerBody);
          if (paceMs > 0) await sleep(paceMs);
        }
        steps = Math.max(steps, step + 1);
      }
    } finally {
      sender.close();
    }
  }

  const running = Promise.all(urls.map(connection));
  running.catch(() => {}); // stop() hears of it
  return {
    series,
    acknowledged,
    answers: () => answers,
    retries: () => retries,
    longestMs: () => longestMs,
    steps: () => steps,
    async stop() {
      isStopping = true;
      await running;
    },
  };
}

/** Series and step of a logged sample; undefined when no such sample was ever sent. */
export function sampleSent(
  sample: { series: number; timestampMs: number; value: number },
  firstMs: number,
): number | undefined {
  const step = (sample.timestampMs - firstMs) / STEP_MS;
  return sampleValue(sample.series, step) === sample.value ? step : undefined;
}

function bodyOf(
  { from, count }: { from: number; count: number },
  step: number,
  firstMs: number,
): Series[] {
  return Array.from({ length: count }, (_, offset) => {
    const series = from + offset;
    return {
      labels: {
        __name__: 'cluster_queue_length',
        instance: `10.0.0.${series % INSTANCES}:9100`,
        job: 'load',
        series: String(series),
      },
      points: [[firstMs + step * STEP_MS, sampleValue(series, step)]],
    };
  });
}

/** Noise of a few units around 100; one sample in 400 is 20 times as far out. */
function sampleValue(series: number, step: number): number {
  const mixed = Math.imul(Math.imul(series + 1, 2654435761) ^ (step + 1), 2246822519) >>> 0;
  const noise = (mixed % 1024) / 128 - 4;
  const isSpike = step > 300 && (Math.imul(series, 40503) >>> 0) % 400 === step % 400;
  return 100 + noise + (isSpike ? 160 : 0);
}
