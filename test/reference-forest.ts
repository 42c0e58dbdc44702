// The forest once more, in plain TypeScript: the readable explanation of the algorithm and the
// judge of the WebAssembly one, which must agree with it bit for bit, records included. Numbers
// that the record keeps as f32 are rounded after each operation (`f`), because that is what f32
// arithmetic does. The trees are walked one by one. The fields are the record's, by name;
// reference-record.ts puts them into bytes, reference-trees.ts makes the table, reference-habits.ts
// knows the clock and reference-rarity.ts calibrates.

import { binOf, Clocks, Drift, inSixteenths, Season } from './reference-habits.js';
import { Magnitude, Novelty, Youth, Zeros } from './reference-rarity.js';
import {
  drawLevel,
  exp2,
  HALVED,
  log2,
  minuteOfWeek,
  NOVELTIES,
  numberOf,
  STEPS,
  squash,
  type Trees,
  timeOfDay,
  towards,
  usualSeconds,
  VANISHING,
} from './reference-trees.js';

const f = Math.fround;
const STALE_MARKER = 0x7ff0000000000002n;
const NO_TIMESTAMP = -(2n ** 63n);
export const KINDS = ['none', 'gauge', 'counter', 'guessed-counter'];
const TREES = 48;
const CAUSES = ['none', 'novelty', 'magnitude', 'quiet'];

export interface Row {
  outcome: string;
  score: number;
  alarm: number;
  flag: number;
  value: number;
  expected: number;
  lower: number;
  upper: number;
  event?: { phase: string; cause: string; onset: bigint; timestamp: bigint };
}

/** One series: what its record holds, by name. */
export class ReferenceSeries {
  readonly trees: Trees;
  readonly ahead: (timestamp: bigint) => number;
  kind: number;
  lastTimestamp = NO_TIMESTAMP;
  lastBits = 0n;
  origin = 0;
  onset = 0n;
  lastAnomalous = 0n;
  samples = 0;
  interval = 0;
  centre = 0;
  spread = 0;
  volatilityFast = 0;
  volatilitySlow = 0;
  means = new Float32Array(8);
  scales = new Float32Array(9);
  low = 0;
  high = 0;
  smooth = 0;
  novelty = new Novelty();
  magnitude = new Magnitude();
  season = new Season();
  clocks = new Clocks();
  drift = new Drift();
  zeros = new Zeros();
  youth = new Youth();
  held = 0;
  highest = { rarity: 0, age: 0 };
  score = 0;
  peak = 0;
  cause = 0;
  calm = 0;
  isOpen = false;
  expected = 0;
  halfWidth = 0;
  quiet = { previous: 0, step: 0, longest: 0, run: 0, moves: 0, isReported: false };
  isStale = false;
  isBack = false;
  leaves = new Uint8Array(TREES);
  counters = new Uint8Array(TREES * 16);
  /** Of the last sample, and in no record: see reference-rules.ts. */
  lastCause = 0;
  isPlain = false;
  hasBegunAnew = false;

  /** `ahead`: what the clock on the wall is ahead of UTC, in minutes. */
  constructor(trees: Trees, kind: string, ahead: (timestamp: bigint) => number = () => 0) {
    this.trees = trees;
    this.ahead = ahead;
    this.kind = KINDS.indexOf(kind);
  }

  observe(timestamp: bigint, bits: bigint): Row {
    const row: Row = {
      outcome: 'applied',
      score: NaN,
      alarm: 0,
      flag: Number(this.isOpen),
      value: NaN,
      expected: NaN,
      lower: NaN,
      upper: NaN,
    };
    if (timestamp < this.lastTimestamp) return { ...row, outcome: 'late' };
    if (timestamp === this.lastTimestamp) {
      return { ...row, outcome: bits === this.lastBits ? 'duplicate' : 'conflict' };
    }
    const isFirst = this.lastTimestamp === NO_TIMESTAMP;
    const elapsed = Number(timestamp) - Number(this.lastTimestamp);
    const elapsedMs = isFirst ? 0 : Math.max(1, elapsed);
    const previousBits = this.lastBits;
    this.lastTimestamp = timestamp;
    this.lastBits = bits;
    this.isStale = bits === STALE_MARKER;
    if (this.isStale) {
      this.isBack = true;
      if (this.isOpen) row.event = this.end();
      return { ...row, flag: 0 };
    }
    const number = numberOf(bits);
    if (!Number.isFinite(number)) {
      if (!Number.isFinite(numberOf(previousBits))) this.isBack = true;
      return row;
    }

    this.hasBegunAnew = false;
    let value = number;
    const previous = numberOf(previousBits);
    if (this.kind === 3 && Number.isFinite(previous) && number < previous) {
      if (number >= 0.5 * previous || number < 0) {
        if (this.isOpen) row.event = this.end();
        this.becomeGauge();
        this.hasBegunAnew = true;
      }
    }
    if (this.kind !== 1) {
      if (isFirst || !Number.isFinite(previous)) return row;
      const growth = number >= previous ? number - previous : Math.max(number, 0);
      value = Math.min(1e300, growth / (elapsedMs / 1000));
    }
    if (this.samples === 0) this.origin = value;
    const distance = value - this.origin;
    const isNear = Math.abs(distance) < 1e-30;
    const x = isNear ? 0 : f(Math.max(-1e30, Math.min(1e30, distance)));

    const { score, isAlarm, cause } = this.scoreValue(x, value === 0, timestamp, elapsedMs);
    this.lastCause = cause;
    this.score = score;
    row.score = score;
    row.alarm = isAlarm ? score : 0;
    row.value = value;
    row.expected = this.origin + this.expected;
    row.lower = row.expected - this.halfWidth;
    row.upper = row.expected + this.halfWidth;
    const event = this.judge(timestamp, score, cause);
    if (event !== undefined) row.event = event;
    row.flag = Number(this.isOpen);
    return row;
  }

  /** Score, then learn. `x` is the value's distance from the series' first one. */
  scoreValue(
    x: number,
    isZero: boolean,
    timestamp: bigint,
    elapsedMs: number,
  ): { score: number; isAlarm: boolean; cause: number } {
    const n = this.samples;
    this.samples = n + 1;
    const young = f(1 / f(f(n) + 1));
    const seconds = Math.max(1, f(elapsedMs / 1000));
    const usual = usualSeconds(this.interval);
    const age = f(f(n) * usual);
    const isAway = (n > 1 && seconds > f(5 * usual)) || this.isBack;
    const learnt = this.learntOf(n, x);
    if (isAway) {
      this.isBack = false;
      this.means.fill(learnt, 0, 3);
      this.centre = learnt;
    }
    if (n === 1) this.season.open.bin = -1;
    const isStuck = this.learnQuiet(n, young, x);
    const isSilent = this.zeros.learn(isZero, { n, young, usual, moves: this.quiet.moves });
    const range = f(this.high - this.low);

    // How far outside the range seen so far, in widths of it.
    const outside = Math.max(f(x - this.high), f(this.low - x));
    const exceed = outside <= 0 ? 0 : range > 0 ? Math.min(1e6, f(outside / range)) : 1;
    const beyond = log2(f(1 + f(30 * exceed)));

    // How large the residual from the nearer of two predictions is, in units of its usual size.
    const minute = minuteOfWeek(timestamp, this.ahead);
    const clock = minute % 1440;
    const bin = binOf(minute);
    const lag = f(f(f(6 / 7200) * usual) * this.season.climb(bin));
    const straight = Math.abs(f(x - this.centre));
    const bent = Math.abs(f(x - f(this.centre + lag)));
    const residual = Math.min(straight, bent);
    const spread = Math.max(this.spread, f(f(1e-6) * range));
    const size = log2(f(1 + (spread > 0 ? Math.min(16777216, f(residual / spread)) : 0)));

    // What is usual, at this hour and at these minutes of any hour, is no alarm.
    const usualBar = this.magnitude.bar(this.interval);
    const ofHour = this.clocks.hourBar(clock, age);
    const ofPhase = this.clocks.phaseBar(clock);
    const bar = Math.max(usualBar, this.youth.bar(age, this.isOpen), ofHour, ofPhase);
    const isJob = size <= ofPhase && this.clocks.isJobSize(size);
    const isHabit = isJob || (size > usualBar && size <= ofHour);
    const isRecurrent = isHabit || (size <= ofHour && this.clocks.isLoudHour(size));
    const reach = f(exp2(f(bar + 0.03125)) - 1);
    this.expected = f(this.centre + f(0.5 * lag));
    this.halfWidth = f(Math.min(3e38, spread * reach + Math.abs(f(0.5 * lag))));

    const lastHour = this.season.open.bin % 24;
    if (n >= 10) this.clocks.learn(clock, lastHour, size, isJob, age);
    const spreadRate = Math.max(young, Math.min(f(1 / 1440), f(usual * f(1 / 86400))));
    const isInflated = n >= 30 && n < 600 && spread > f(8 * this.volatilityFast);
    const floor = f(f(f(1e-9) * range) + VANISHING);
    const faster = log2(f(this.volatilityFast + floor));
    const slower = log2(f(this.volatilitySlow + floor));
    const isHeld = isJob && this.held < 3;
    this.held = isJob ? Math.min(3, this.held + 1) : 0;
    const moved = learnt === x ? residual : Math.abs(f(learnt - this.centre));
    this.centre = towards(this.centre, learnt, isHeld ? 0 : Math.max(f(1 / 6), young));
    const counted = isHabit ? Math.min(moved, spread) : moved;
    this.spread = towards(this.spread, counted, isInflated ? 1 / 32 : spreadRate);
    this.volatilityFast = towards(this.volatilityFast, moved, Math.max(f(1 / 20), young));
    this.volatilitySlow = towards(this.volatilitySlow, moved, Math.max(f(1 / 4000), young));
    this.learnInterval(n, young, log2(seconds));
    const off = this.season.minuteResidual(minute, learnt);
    const walk = { n, young, rate: spreadRate, range, isJob, isAway };
    const driftSize = this.drift.size(off, learnt, walk);

    const volatility = squash(f(0.25 * f(faster - slower)), 1);
    const features = this.features(learnt, n, young, bin);
    features.push(volatility, ...timeOfDay(minute));

    const shrink = f(range * Math.min(f(1 / 20000), f(usual / f(6e7))));
    this.low = Math.min(learnt, f(this.low + shrink));
    this.high = Math.max(learnt, f(this.high - shrink));

    const isNoise = this.magnitude.isUsual(size, bar);
    const rarityOfLeaf = f(3 * log2(this.descend(features, n)));
    const ofForest = this.novelty.rarity(rarityOfLeaf, f(3 * beyond), {
      interval: this.interval,
      isNoise,
    });
    const novelty = f(ofForest - this.youth.discount(age, this.isOpen, isRecurrent));
    const magnitude = f(10 + Math.min(20, f(160 * f(size - bar))));
    const isSaid = Math.max(novelty, magnitude) >= 15;
    const isWalking = this.drift.notice(driftSize, n, age, isSaid || isHabit);
    if (n >= 100 && !isHabit) {
      this.drift.max = Math.max(this.drift.max, inSixteenths(driftSize));
    }
    const { blocks } = this.magnitude;
    if (this.magnitude.learn(size, n, usual, isHabit)) this.drift.closeBlock(blocks);
    if (n >= 100 && isSaid) this.youth.learn(age, size, usualBar);

    const rarity = n < 100 ? 0 : Math.max(novelty, magnitude);
    const score = Math.max(0, f(f(rarity - 10) / 5));
    const isAlarm = n >= 100 && this.isNewRecord(rarity) && rarity >= 14;
    const isQuiet = isStuck || isSilent;
    this.isPlain = (isQuiet || isWalking) && score < f(1.2);
    if (this.isPlain) {
      return { score: f(1.2), isAlarm: true, cause: isQuiet ? 3 : 2 };
    }
    return { score, isAlarm, cause: novelty >= magnitude ? 1 : 2 };
  }

  /** A value far outside all that was seen is judged as it is, and learnt as if it lay nearer. */
  learntOf(n: number, x: number): number {
    const range = f(this.high - this.low);
    if (n < 30 || range <= 0) return x;
    const most = f(1440 * Math.max(this.spread, f(f(1e-6) * range)));
    const lowest = Math.min(f(this.centre - most), f(this.low - range));
    const highest = Math.max(f(this.centre + most), f(this.high + range));
    return Math.max(lowest, Math.min(highest, x));
  }

  /** log2 of the usual seconds between samples. */
  learnInterval(n: number, young: number, elapsed: number): void {
    const step = Math.max(-1, Math.min(1, f(elapsed - this.interval)));
    if (n === 1) this.interval = elapsed;
    else if (n > 1) this.interval = f(this.interval + f(Math.max(1 / 64, young) * step));
  }

  learnQuiet(n: number, young: number, x: number): boolean {
    const quiet = this.quiet;
    const move = n === 0 ? 0 : Math.abs(f(x - quiet.previous));
    let isStuck = false;
    if (move > f(f(0.02) * quiet.step)) {
      quiet.longest = Math.max(quiet.longest, quiet.run);
      quiet.run = 0;
      quiet.isReported = false;
      quiet.moves = Math.min(20, quiet.moves + 1);
    } else {
      quiet.run = Math.min(65535, quiet.run + 1);
      const long = Math.max(30, f(f(3 * quiet.longest) + 10));
      isStuck = !quiet.isReported && n > 500 && quiet.moves >= 20 && quiet.run >= long;
      if (isStuck) quiet.isReported = true;
    }
    const longest = f(quiet.longest * f(f(1) - f(1e-5)));
    quiet.longest = longest < VANISHING ? 0 : longest;
    const bounded = n >= 30 && quiet.step > 0 ? Math.min(move, f(1000 * quiet.step)) : move;
    quiet.step = towards(quiet.step, bounded, Math.max(f(1 / 1000), young));
    quiet.previous = x;
    return isStuck;
  }

  /** The first ten features, as bytes; means and scales learn. */
  features(x: number, n: number, young: number, bin: number): number[] {
    const range = f(this.high - this.low);
    const seasonal = this.season.residual(bin, x, this.means[7]!);
    const residuals: number[] = [];
    let shorter = x;
    for (let k = 0; k < 8; k++) {
      const rate = k < 7 ? f(1 / (1.5 * 3 ** k)) : f(1 / 4000);
      this.means[k] = towards(this.means[k]!, x, Math.max(rate, young));
      residuals.push(k < 7 ? f(shorter - this.means[k]!) : seasonal);
      shorter = this.means[k]!;
    }
    this.smooth = towards(this.smooth, seasonal, 1 / 24);
    residuals.push(this.smooth);

    const rate = Math.max(f(1 / 4000), young);
    const features = residuals.map((residual, k) => {
      const kept = this.scales[k]!;
      const scale = Math.max(kept, f(f(1e-3) * range), VANISHING);
      let aim = Math.abs(residual);
      if (kept > (n >= 30 ? 0 : f(3e38))) aim = Math.min(aim, f(8 * scale));
      this.scales[k] = towards(kept, aim, rate);
      return squash(residual, f(4 * scale));
    });
    const place = range > 0 ? f(f(x - this.low) / range) : 0.5;
    const inRange = f(0.25 + f(0.5 * Math.max(-0.5, Math.min(1.5, place))));
    features.push(Math.trunc(f(inRange * 254.5)));
    return features;
  }

  /** 1 + the mean novelty of the 48 leaves over 0.02; then the leaves count. */
  descend(features: number[], n: number): number {
    let sum = 0;
    for (let tree = 0; tree < TREES; tree++) {
      let leaf = 0;
      for (let level = 0; level < 4; level++) {
        const isAbove =
          features[this.trees.features[tree]![level]!]! >= this.trees.cuts[tree]![level]!;
        leaf = 2 * leaf + Number(isAbove);
      }
      const at = 16 * tree + leaf;
      const counter = this.counters[at]!;
      sum += NOVELTIES[counter]!;
      const isNew = n === 0 || leaf !== this.leaves[tree] || (n + tree) % 16 === 0;
      if (isNew && drawLevel(n, tree >> 4) >= STEPS[counter]!) this.counters[at] = counter + 1;
      this.leaves[tree] = leaf;
    }
    if (n % 16384 === 16383) this.counters = this.counters.map((counter) => HALVED[counter]!);
    return f(f(f(sum) * f(1 / (65535 * 48 * 0.02))) + 1);
  }

  isNewRecord(rarity: number): boolean {
    const { rarity: highest, age } = this.highest;
    if (rarity > f(highest + (highest > 0 ? f(0.8) : 0))) {
      this.highest = { rarity, age: 0 };
      return true;
    }
    const isOver = age + 1 >= 120 || highest < f(0.03);
    this.highest = { rarity: isOver ? 0 : f(highest - f(0.03)), age: Math.min(120, age + 1) };
    return false;
  }

  /** Opens, raises and closes the anomaly. */
  judge(timestamp: bigint, score: number, cause: number): Row['event'] {
    if (score > 1) {
      this.lastAnomalous = timestamp;
      this.calm = 0;
      const isNew = !this.isOpen;
      if (!isNew && score < f(f(1.1) * this.peak)) return undefined;
      if (isNew) this.onset = timestamp;
      this.isOpen = true;
      this.peak = score;
      this.cause = cause;
      return this.event(isNew ? 'onset' : 'peak', timestamp);
    }
    if (!this.isOpen) return undefined;
    this.calm = Math.min(5, this.calm + 1);
    const calmMs = Number(timestamp) - Number(this.lastAnomalous);
    return this.calm >= 5 && calmMs >= 60000 ? this.end() : undefined;
  }

  event(phase: string, timestamp: bigint): Row['event'] {
    return { phase, cause: CAUSES[this.cause]!, onset: this.onset, timestamp };
  }

  end(): NonNullable<Row['event']> {
    const event = this.event('end', this.lastAnomalous)!;
    this.isOpen = false;
    this.onset = 0n;
    this.lastAnomalous = 0n;
    this.peak = 0;
    this.cause = 0;
    this.calm = 0;
    return event;
  }

  /**
   * A fall that no restart explains: the series begins anew, but what it last sent is still a
   * duplicate.
   */
  becomeGauge(): void {
    const { lastTimestamp, lastBits } = this;
    Object.assign(this, new ReferenceSeries(this.trees, 'gauge'), { lastTimestamp, lastBits });
  }
}
