// Series as monitoring sees them, made from a seed: what is usual, with the noise that belongs to
// it, and what can go wrong with each. A background is a function of the seed; a fault changes a
// copy from one sample on. The noise of a background is told, so that a fault can be as large as so
// many standard deviations of it.

const TWO_PI = 2 * Math.PI;
const DAY_S = 86400;
const BURST_EVERY_S = 3 * 3600;
const BURST_S = 600;
const JOB_HOUR = 2;
const JOB_HOURS = 2;

export interface Background {
  values: Float64Array;
  /**
   * Standard deviation of the noise around what is expected of the sample, in the unit that is
   * scored.
   */
  noise: number;
  /** A counter's samples grow; it is scored as a rate. */
  isCounter: boolean;
  stepSeconds: number;
}

export interface Shape {
  seed: number;
  stepSeconds: number;
  days: number;
}

/** Uniform within [0, 1), the same everywhere: a Weyl sequence, mixed. */
export function randomFrom(seed: number): () => number {
  let state = Math.imul(seed, 0x2545f491) | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let h = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    h = Math.imul(h ^ (h >>> 15), 0xd35a2d97);
    return ((h ^ (h >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal, by the transform of Box and Muller. */
export function normalFrom(random: () => number): () => number {
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(TWO_PI * random());
}

type Next = (second: number, index: number) => number;
type Sources = { random: () => number; normal: () => number; stepSeconds: number };

const KINDS = {
  gauss({ random, normal }: Sources) {
    const level = 50 + 100 * random();
    return { noise: 5, next: () => level + 5 * normal() };
  },
  /** A day's rise and fall as large as half the level, and little noise. */
  daily({ random, normal }: Sources) {
    const level = 50 + 100 * random();
    const noise = 0.03 * level;
    const next = (second: number) => level + 0.5 * level * dayWave(second) + noise * normal();
    return { noise, next };
  },
  /** Yesterday's noise lingers: 0.8 of it in the next sample. */
  autoregressive({ random, normal }: Sources) {
    const level = 50 + 100 * random();
    let lingering = 0;
    const next = (second: number) => {
      lingering = 0.8 * lingering + normal();
      return level + 10 * dayWave(second) + 3 * lingering;
    };
    return { noise: 5, next };
  },
  lognormal({ random, normal }: Sources) {
    const level = 50 + 100 * random();
    return { noise: 0.3 * level, next: () => level * Math.exp(0.3 * normal()) };
  },
  /** A job at every full hour, sixty times the noise. */
  hourly({ normal, stepSeconds }: Sources) {
    const next = (second: number) => {
      const job = second % 3600 < 2 * stepSeconds ? 60 + 5 * normal() : 0;
      return 10 + normal() + job;
    };
    return { noise: 1, next };
  },
  integer({ normal }: Sources) {
    return { noise: 1.2, next: () => Math.max(0, Math.round(3 + 1.2 * normal())) };
  },
  /**
   * Long calm, and now and then some minutes of work of any size, as of a queue that fills: its
   * bursts are what is usual.
   */
  bursty({ random, normal, stepSeconds }: Sources) {
    const level = 20 + 30 * random();
    let left = 0;
    let height = 0;
    const next = () => {
      if (left <= 0 && random() < stepSeconds / BURST_EVERY_S) {
        left = BURST_S * (0.5 + random());
        height = 20 * Math.exp(0.5 * normal());
      }
      left -= stepSeconds;
      return level + (left > 0 ? height : 0) + normal();
    };
    return { noise: 1, next };
  },
  /** A level that wanders, by about ten times the noise in a day, and a day's rhythm on it. */
  drifting({ random, normal, stepSeconds }: Sources) {
    const base = 200 + 100 * random();
    const step = 20 * Math.sqrt(stepSeconds / DAY_S);
    let level = 0;
    const next = (second: number) => {
      // Drawn back over five days, or it would wander away.
      level += step * normal() - (level * stepSeconds) / (5 * DAY_S);
      return base + level + 15 * dayWave(second) + 2 * normal();
    };
    return { noise: 2, next };
  },
  /** A job from two to four every night, forty times the noise. */
  nightly({ random, normal }: Sources) {
    const level = 20 + 20 * random();
    const next = (second: number) => {
      const hour = (second % DAY_S) / 3600;
      return level + (hour >= JOB_HOUR && hour < JOB_HOUR + JOB_HOURS ? 40 : 0) + normal();
    };
    return { noise: 1, next };
  },
  /**
   * Requests: a rate with the day's rhythm, counted, and begun anew by a restart about every third
   * day.
   */
  counter({ random, normal, stepSeconds }: Sources) {
    const rate = 20 + 80 * random();
    const noise = 0.05 * rate;
    let total = Math.floor(1e6 * random());
    const next = (second: number) => {
      const now = Math.max(0, rate + 0.4 * rate * dayWave(second) + noise * normal());
      if (random() < stepSeconds / (3 * DAY_S)) total = 0;
      total += now * stepSeconds;
      return total;
    };
    return { noise, next };
  },
} satisfies Record<string, (sources: Sources) => { noise: number; next: Next }>;

export type BackgroundKind = keyof typeof KINDS;

export function makeBackground(kind: BackgroundKind, shape: Shape): Background {
  const { seed, stepSeconds, days } = shape;
  const random = randomFrom(seed);
  const { noise, next } = KINDS[kind]({ random, normal: normalFrom(random), stepSeconds });
  const advance: Next = next;
  const values = new Float64Array(Math.round((days * DAY_S) / stepSeconds));
  for (let i = 0; i < values.length; i++) values[i] = advance(i * stepSeconds, i);
  return { values, noise, isCounter: kind === 'counter', stepSeconds };
}

function dayWave(second: number): number {
  return Math.sin((TWO_PI * (second % DAY_S)) / DAY_S);
}

/** What goes wrong from sample `at` on. A counter's fault is one of its rate. */
export const FAULTS = {
  'spike of 12': (rate: number, i: number, noise: number) => (i === 0 ? rate + 12 * noise : rate),
  'spike of 8': (rate: number, i: number, noise: number) => (i === 0 ? rate + 8 * noise : rate),
  'level shift of 8': (rate: number, i: number, noise: number) =>
    i < 60 ? rate + 8 * noise : rate,
  'drop to zero': (rate: number, i: number) => (i < 30 ? 0 : rate),
  'eightfold rate': (rate: number, i: number) => (i < 30 ? 8 * rate : rate),
} satisfies Record<string, (rate: number, i: number, noise: number) => number>;

export type Fault = keyof typeof FAULTS;

/** A copy with the fault in it. */
export function withFault(background: Background, fault: Fault, at: number): Float64Array {
  const { values, noise, isCounter, stepSeconds } = background;
  const change: (rate: number, i: number, noise: number) => number = FAULTS[fault];
  const faulty = values.slice();
  for (let i = at; i < values.length; i++) {
    if (!isCounter) {
      faulty[i] = change(values[i]!, i - at, noise);
      continue;
    }
    const grown = values[i]! - values[i - 1]!;
    const isRestart = grown < 0;
    const rate = (isRestart ? values[i]! : grown) / stepSeconds;
    const total = isRestart ? 0 : faulty[i - 1]!;
    faulty[i] = total + Math.max(0, change(rate, i - at, noise)) * stepSeconds;
  }
  return faulty;
}

interface Change {
  /** Samples that are not as they would have been. */
  length: number;
  /** The hour of the day at which this fault begins; absent: at any. */
  hour?: number;
  /** The sample `i` of the fault, from the series as it would have been. */
  value(values: Float64Array, at: number, change: { i: number; noise: number }): number;
}

/**
 * Faults that are no single value: a sensor that stands still, a leak, a clock gone wrong, a job
 * that did not run or ran twice. Lengths follow time, not samples. The last three take values that
 * the series has had, at an hour at which it has not.
 */
function changeOf(fault: LongFault, stepSeconds: number): Change {
  const samples = (seconds: number): number => Math.round(seconds / stepSeconds);
  const earlier = (hours: number): Change['value'] => {
    const back = samples(3600 * hours);
    return (values, at, { i }) => values[at + i - back]!;
  };
  const changes: Record<LongFault, Change> = {
    'flat line': { length: STUCK_SAMPLES, value: (values, at) => values[at]! },
    ramp: {
      length: RAMP_SAMPLES,
      value: (values, at, { i, noise }) => values[at + i]! + (i * noise) / 10,
    },
    drift: {
      length: samples(6 * 3600),
      value: (values, at, { i, noise }) =>
        values[at + i]! + (DRIFT_NOISES * noise * i) / samples(6 * 3600),
    },
    // At nine the day's wave is where it was at three: the curve goes on, in the wrong direction.
    'phase error': { length: samples(12 * 3600), hour: 9, value: earlier(6) },
    'missed job': { length: samples(3600 * JOB_HOURS), hour: JOB_HOUR, value: earlier(12) },
    'extra job': { length: samples(3600 * JOB_HOURS), hour: JOB_HOUR + 12, value: earlier(12) },
  };
  return changes[fault];
}

export const STUCK_SAMPLES = 120;
/** A tenth of the noise more with each sample. */
export const RAMP_SAMPLES = 120;
const DRIFT_NOISES = 20;

export const LONG_FAULTS = [
  'flat line',
  'ramp',
  'drift',
  'phase error',
  'missed job',
  'extra job',
] as const;

export type LongFault = (typeof LONG_FAULTS)[number];

/** A copy of a gauge with the fault in it, and where: samples `at` to `at` + `length` - 1. */
export function withLongFault(
  background: Background,
  fault: LongFault,
  from: number,
): { values: Float64Array; at: number; length: number } {
  const { values, noise, stepSeconds } = background;
  const change = changeOf(fault, stepSeconds);
  const day = Math.round(DAY_S / stepSeconds);
  const hour = change.hour === undefined ? undefined : (change.hour * 3600) / stepSeconds;
  const at = hour === undefined ? from : from + ((((hour - from) % day) + day) % day);
  const faulty = values.slice();
  const length = Math.min(change.length, values.length - at);
  for (let i = 0; i < length; i++) faulty[at + i] = change.value(values, at, { i, noise });
  return { values: faulty, at, length };
}
