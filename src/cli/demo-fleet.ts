// The demo's fleet: 20 series of a small shop with a daily rhythm, noise and restarts, the same for the same seed. One
// of them can be disturbed.

import type { Label } from '../series.js';

export const STEP_MS = 60_000;

export interface FleetSeries {
  labels: Label[];
  /** The value at a time; called once per step, in order. */
  next(timestampMs: number, isDisturbed: boolean): number;
}

export const DISTURBED = 'demo_checkout_latency_seconds';

const INSTANCES = ['shop-1:9100', 'shop-2:9100', 'shop-3:9100', 'shop-4:9100'];

export function createFleet(seed: number): FleetSeries[] {
  const random = uniform(seed);
  return INSTANCES.flatMap((instance, index) => {
    const labels = (metric: string): Label[] => [
      { name: '__name__', value: metric },
      { name: 'instance', value: instance },
      { name: 'job', value: 'shop' },
    ];
    const noise = () => gauss(random);
    const isFaulty = index === 0;
    return [
      {
        labels: labels(DISTURBED),
        next: (at, isDisturbed) => {
          const usual = 0.2 + 0.05 * dayWave(at) + 0.01 * noise();
          return isFaulty && isDisturbed ? usual * (4 + Math.abs(noise())) : usual;
        },
      },
      counter(
        labels('demo_http_requests_total'),
        (at) => 3000 + 1500 * dayWave(at) + 100 * noise(),
        random,
      ),
      { labels: labels('demo_memory_bytes'), next: autoregressive(6e8, 4e6, noise) },
      {
        labels: labels('demo_queue_length'),
        next: (at) => Math.max(0, Math.round(8 + 4 * dayWave(at) + 2 * noise())),
      },
      { labels: labels('demo_temperature_celsius'), next: autoregressive(45, 0.3, noise) },
    ] satisfies FleetSeries[];
  });
}

/** -1 in the small hours, 1 in the afternoon. */
function dayWave(timestampMs: number): number {
  return -Math.cos((2 * Math.PI * (timestampMs % 864e5)) / 864e5);
}

function autoregressive(level: number, step: number, noise: () => number): (at: number) => number {
  let deviation = 0;
  return (at) => {
    deviation = 0.9 * deviation + step * noise();
    return level + deviation + 5 * step * dayWave(at);
  };
}

/** A counter that restarts about once in three days. */
function counter(
  labels: Label[],
  perStep: (at: number) => number,
  random: () => number,
): FleetSeries {
  let total = 0;
  return {
    labels,
    next: (at) => {
      if (random() < 1 / 4320) total = 0;
      total += Math.max(0, Math.round(perStep(at)));
      return total;
    },
  };
}

/** splitmix32, uniform in [0, 1). */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
  };
}

/** Box-Muller. */
function gauss(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
