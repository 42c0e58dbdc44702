// The parts of the reference forest that know the clock: what an hour of the week usually has, how
// large the residuals of an hour of the day and of two minutes of an hour usually are, and how far a
// series has walked away from its season. Each owns the fields of the record of that name.

import { log2, towards } from './reference-trees.js';

const f = Math.fround;
const NO_MEAN = -0x8000;
const WORD = new Uint32Array(1);
const FLOAT = new Float32Array(WORD.buffer);

function powerOfTwo(exponent: number): number {
  WORD[0] = exponent << 23;
  return FLOAT[0]!;
}

/** Hours of the day on weekdays 0..23, at weekends 24..47. The week begins on a Thursday. */
export function binOf(minute: number): number {
  const day = Math.floor(minute / 1440);
  const hour = Math.floor((minute % 1440) / 60);
  return day === 2 || day === 3 ? hour + 24 : hour;
}

export class Season {
  open = { bin: -1, sum: 0, samples: 0 };
  visits = new Uint8Array(48);
  steps = new Int16Array(48).fill(NO_MEAN);
  middle = 0;
  /** The biased exponent of a step. */
  exponent = 0;

  /** Distance from what this hour usually has; then the hour takes the value in. */
  residual(bin: number, x: number, level: number): number {
    const open = this.open;
    if (bin !== open.bin) {
      if (open.bin >= 0) this.#closeHour();
      this.open = { bin, sum: x, samples: 1 };
    } else if (open.samples < 65535) {
      open.sum = f(open.sum + x);
      open.samples++;
    }
    return f(x - (this.#known(bin) ?? level));
  }

  #closeHour(): void {
    const { bin, sum, samples } = this.open;
    const visits = Math.min(15, this.visits[bin]! + 1);
    const rate = Math.max(f(0.1), f(1 / visits));
    const kept = this.#mean(bin);
    const mean = kept ?? 0;
    const next = f(mean + f(rate * f(f(sum / samples) - mean)));
    this.visits[bin] = visits;
    const distance = f(f(next - this.middle) * powerOfTwo(254 - this.exponent));
    const isKept = bin % 24 !== 0 && kept !== undefined && Math.abs(distance) <= 32000;
    if (isKept) this.steps[bin] = Math.floor(f(distance + 0.5));
    else this.#chooseSteps(bin, next);
  }

  /** Middle and step anew, for all means and the next one of `bin`. */
  #chooseSteps(bin: number, next: number): void {
    const means = Array.from(this.steps, (_, other) => (other === bin ? next : this.#mean(other)));
    const known = means.filter((mean) => mean !== undefined);
    const low = Math.min(...known);
    const high = Math.max(...known);
    this.middle = f(low + f(0.5 * f(high - low)));
    const half = Math.max(f(high - this.middle), f(this.middle - low));
    FLOAT[0] = Math.max(f(1e-30), f(half / 16384));
    this.exponent = (WORD[0]! >>> 23) + 1;
    const inverse = powerOfTwo(254 - this.exponent);
    for (const [other, mean] of means.entries()) {
      if (mean === undefined) continue;
      const distance = f(f(mean - this.middle) * inverse);
      this.steps[other] = Math.floor(f(distance + 0.5));
    }
  }

  #mean(bin: number): number | undefined {
    const steps = this.steps[bin]!;
    return steps === NO_MEAN ? undefined : f(this.middle + f(steps * powerOfTwo(this.exponent)));
  }

  #known(bin: number): number | undefined {
    return this.#mean(bin) ?? this.#mean((bin + 24) % 48);
  }

  /** Distance from the hour's mean or from the line to the nearer neighbour's, the smaller one. */
  minuteResidual(minute: number, x: number): number | undefined {
    const bin = binOf(minute);
    const mean = this.#known(bin);
    if (mean === undefined) return undefined;
    const off = f(x - mean);
    const inHour = minute % 60;
    const next = this.#known(neighbour(bin, inHour < 30 ? 23 : 1));
    if (next === undefined) return off;
    const part = f(Math.abs(inHour - 30) * f(1 / 60));
    const bent = f(x - f(mean + f(f(next - mean) * part)));
    return Math.abs(bent) < Math.abs(off) ? bent : off;
  }

  /** What two hours around this one usually climb. */
  climb(bin: number): number {
    const to = this.#mean(neighbour(bin, 1));
    const from = this.#mean(neighbour(bin, 23));
    return to === undefined || from === undefined ? 0 : f(to - from);
  }
}

function neighbour(bin: number, hours: number): number {
  const from = bin >= 24 ? 24 : 0;
  return from + ((bin - from + hours) % 24);
}

/** Sizes that move by small steps, as the 16 bits of the record keep them. */
export function in16Bits(size: number): number {
  return Math.min(65535, Math.floor(f(f(size * 2048) + 0.5))) / 2048;
}

export function inSixteenths(size: number): number {
  return Math.trunc(Math.min(255, f(size * 16)));
}

function stepped(kept: number, highest: number, rate: number): number {
  return kept + (((highest - kept) * rate) >> 8);
}

function meanOf(sizes: Uint8Array): number {
  const known = sizes.filter((size) => size > 0);
  return known.length > 0
    ? Math.floor(known.reduce((sum, size) => sum + size, 0) / known.length)
    : 0;
}

export class Clocks {
  hours = new Uint8Array(24);
  phases = new Uint8Array(30);
  hourMax = 0;
  phaseMax = 0;
  /** Two minutes of the hour, -1 before the first. */
  phase = -1;
  hourUsual = 0;
  phaseUsual = 0;

  hourBar(clock: number, age: number): number {
    const hour = Math.floor(clock / 60);
    const minute = clock % 60;
    const other = minute < 15 ? hour + 23 : minute >= 45 ? hour + 1 : hour;
    const kept = Math.max(this.hours[hour]!, this.hours[other % 24]!);
    if (kept === 0) return 0;
    const margin = f(1 + f(2 / f(1 + f(age * f(1 / 86400)))));
    return f(kept / 16 + f(f(0.3) * margin));
  }

  phaseBar(clock: number): number {
    const kept = this.phases[(clock % 60) >> 1]!;
    return kept === 0 ? 0 : f(kept / 16 + f(0.4));
  }

  isJobSize(size: number): boolean {
    return size > this.phaseUsual / 16 + 2;
  }

  isLoudHour(size: number): boolean {
    return this.hourUsual > 0 && size > this.hourUsual / 16 + 1;
  }

  /** `lastHour`: of the value before. */
  learn(clock: number, lastHour: number, size: number, isJob: boolean, age: number): void {
    const sixteenths = inSixteenths(size);
    if (Math.floor(clock / 60) !== lastHour) {
      const kept = this.hours[lastHour]!;
      const rate = age < 96000 ? 256 : this.hourMax > kept ? 153 : 102;
      this.hours[lastHour] = stepped(kept, this.hourMax, rate);
      this.hourUsual = meanOf(this.hours);
      this.hourMax = 0;
    }
    if (!isJob) this.hourMax = Math.max(this.hourMax, sixteenths);
    const phase = (clock % 60) >> 1;
    if (phase !== this.phase) {
      if (this.phase >= 0) {
        const kept = this.phases[this.phase]!;
        const rate = kept === 0 ? 256 : this.phaseMax > kept ? 128 : 25;
        this.phases[this.phase] = stepped(kept, this.phaseMax, rate);
        this.phaseUsual = meanOf(this.phases);
      }
      this.phase = phase;
      this.phaseMax = 0;
    }
    this.phaseMax = Math.max(this.phaseMax, sixteenths);
  }
}

export class Drift {
  fast = 0;
  slow = 0;
  spread = 0;
  usual = 0;
  max = 0;
  isReported = false;
  isKnown = false;

  /** log2(1 + z) of how far the two means have parted. `off`: undefined without a season. */
  size(
    off: number | undefined,
    x: number,
    at: { n: number; young: number; rate: number; range: number; isJob: boolean; isAway: boolean },
  ): number {
    const isKnown = off !== undefined;
    const distance = off ?? x;
    if (at.n === 0 || at.isAway || isKnown !== this.isKnown) {
      this.isKnown = isKnown;
      this.fast = distance;
      this.slow = distance;
    } else if (!at.isJob) {
      this.fast = towards(this.fast, distance, Math.max(1 / 8, at.young));
      this.slow = towards(this.slow, distance, Math.max(f(1 / 120), at.young));
    }
    const parted = Math.abs(f(this.fast - this.slow));
    const spread = Math.max(this.spread, f(f(1e-3) * at.range));
    const aim = at.n < 30 ? parted : Math.min(parted, f(8 * spread));
    this.spread = towards(this.spread, aim, at.rate);
    return log2(spread > 0 ? f(1 + Math.min(16777216, f(parted / spread))) : 1);
  }

  /** True at the sample at which a walk is noticed. */
  notice(size: number, n: number, age: number, isSaid: boolean): boolean {
    const bar = f(f(f(1.45) * this.usual) + 0.5);
    if (size < f(bar - 1)) {
      this.isReported = false;
      return false;
    }
    const isNoticed = size > bar && !this.isReported && n >= 200 && age > 172800;
    if (isSaid || isNoticed) this.isReported = true;
    return isNoticed && !isSaid;
  }

  closeBlock(blocks: number): void {
    const highest = this.max / 16;
    const off = f(highest - this.usual);
    const rate = f(Math.max(f(0.02), f(1 / (blocks + 1))) * (off > 0 ? f(1.4) : f(0.6)));
    this.usual = in16Bits(blocks === 0 ? Math.max(3, highest) : f(this.usual + f(rate * off)));
    this.max = 0;
  }
}
