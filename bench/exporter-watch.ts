// The series of a real exporter, scraped as Prometheus would and scored as they come: gauges and
// counters of the text format, by their announced type. Buckets, quantiles and what only says which
// machine this is are left out, as the product leaves them out by default. The number of series is
// bounded, and what is refused is counted.

import { setTimeout as sleep } from 'node:timers/promises';
import { PHASES, WasmForest } from '../src/scorer/wasm-forest.js';

export interface Watched {
  series: number;
  refused: number;
  rounds: number;
  onsets: number;
  seriesWithOnsets: number;
  /** Of all series together, without their warm-up. */
  warmSeriesDays: number;
  loudest: { name: string; onsets: number }[];
}

const SERIES_MAX = 20_000;
const LOUDEST_SHOWN = 10;
const SCRAPE_MS_MAX = 10_000;
/** As the forest has it: samples before a series may speak. */
const WARM_SAMPLES = 100;
const STRUCTURE_SEED = 1;
const LEFT_OUT = /(_info|_created|_time_seconds)$|^(scrape_|go_|process_|promhttp_)/;

export async function watchExporter(
  module: WebAssembly.Module,
  { url, minutes, stepSeconds }: { url: string; minutes: number; stepSeconds: number },
): Promise<Watched> {
  const forest = new WasmForest(module, { seriesMax: SERIES_MAX, seed: STRUCTURE_SEED });
  const slots = new Map<string, number>();
  const refused = new Set<string>();
  const onsets = new Map<string, number>();
  const samples: number[] = [];
  const until = Date.now() + minutes * 60_000;
  let rounds = 0;
  for (let next = Date.now(); next < until; next += 1000 * stepSeconds) {
    await sleep(Math.max(0, next - Date.now()));
    const text = await (await fetch(url, { signal: AbortSignal.timeout(SCRAPE_MS_MAX) })).text();
    const round = [...samplesOf(text)].filter(({ name, type }) => {
      if (slots.has(name)) return true;
      if (slots.size === SERIES_MAX) {
        if (refused.size < SERIES_MAX) refused.add(name);
        return false;
      }
      forest.open(slots.size, type);
      slots.set(name, slots.size);
      return true;
    });
    for (const { name } of round) samples[slots.get(name)!] = (samples[slots.get(name)!] ?? 0) + 1;
    for (let from = 0; from < round.length; from += forest.batchMax) {
      const batch = round.slice(from, from + forest.batchMax);
      for (const at of observeBatch(forest, batch, { slots, timestampMs: next })) {
        const { name } = batch[at]!;
        onsets.set(name, (onsets.get(name) ?? 0) + 1);
      }
    }
    rounds++;
  }
  const warm = samples.reduce((sum, count) => sum + Math.max(0, count - WARM_SAMPLES), 0);
  const loudest = [...onsets].sort(([, a], [, b]) => b - a).slice(0, LOUDEST_SHOWN);
  return {
    series: slots.size,
    refused: refused.size,
    rounds,
    onsets: [...onsets.values()].reduce((sum, count) => sum + count, 0),
    seriesWithOnsets: onsets.size,
    warmSeriesDays: (warm * stepSeconds) / 86400,
    loudest: loudest.map(([name, count]) => ({ name, onsets: count })),
  };
}

interface Scraped {
  name: string;
  type: 'gauge' | 'counter';
  value: number;
}

/** The text exposition format: https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function* samplesOf(text: string): Generator<Scraped> {
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    const announced = /^# TYPE (\S+) (\S+)/.exec(line);
    if (announced !== null) types.set(announced[1]!, announced[2]!);
    const sample = /^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)/.exec(line);
    if (sample === null || LEFT_OUT.test(sample[1]!)) continue;
    const type = types.get(sample[1]!);
    if (type !== 'gauge' && type !== 'counter') continue;
    yield { name: sample[1]! + (sample[2] ?? ''), type, value: Number(sample[3]) };
  }
}

/** Indexes of the samples at which an anomaly began. */
function observeBatch(
  forest: WasmForest,
  batch: readonly Scraped[],
  { slots, timestampMs }: { slots: ReadonlyMap<string, number>; timestampMs: number },
): number[] {
  const { buffer } = forest.slots;
  const times = new BigInt64Array(buffer, forest.timestampBytes.byteOffset, forest.batchMax);
  const inputs = new Float64Array(buffer, forest.valueBytes.byteOffset, forest.batchMax);
  batch.forEach(({ name, value }, i) => {
    forest.slots[i] = slots.get(name)!;
    times[i] = BigInt(timestampMs);
    inputs[i] = value;
  });
  const events = forest.observe(batch.length);
  const began: number[] = [];
  for (let event = 0; event < events; event++) {
    if (forest.eventPhases[event] === PHASES.indexOf('onset'))
      began.push(forest.eventIndexes[event]!);
  }
  return began;
}
