// The parts of the reference forest that calibrate: novelty and magnitude by their blocks' highest values, the
// first day's patience, and runs of zeros by how often they happen. Each owns the fields of the
// record of that name.

import { in16Bits } from './reference-habits.js';
import { exp2, log2, towards } from './reference-trees.js';

const f = Math.fround;

export class Novelty {
  max = 0;
  usual = 0;
  fill = 0;
  blocks = 0;

  rarity(ofLeaf: number, ofRange: number, at: { interval: number; isNoise: boolean }): number {
    const fine = f(f(8.228818690495881) - Math.min(f(11.813781191217037), at.interval));
    const octaves = f(1.5 * Math.max(0, Math.min(5, fine)));
    const dead = f(f(4 + octaves) + (at.isNoise ? 2 : 0));
    const excess = this.blocks > 0 ? f(ofLeaf - f(f(0.4) * this.usual)) : 0;
    const news = ofRange < dead ? 0 : ofRange;
    this.max = Math.max(this.max, ofLeaf);
    if (++this.fill >= 80) {
      const rate = Math.max(f(0.1), f(1 / (this.blocks + 1)));
      this.usual = f(this.usual + f(rate * f(this.max - this.usual)));
      this.blocks = Math.min(255, this.blocks + 1);
      this.max = 0;
      this.fill = 0;
    }
    return f(f(f(10 + excess) + news) - f(0.5 * fine));
  }
}

export class Magnitude {
  max = 0;
  usual = 3;
  low = 0;
  fill = 0;
  blocks = 0;
  isLeftOut = false;

  /** The size that must be passed; `interval` is log2 of the usual seconds between samples. */
  bar(interval: number): number {
    const octaves = Math.max(0, Math.min(2, f(f(5.906890595608519) - interval)));
    const bar = f(f(f(1.2) * this.usual) + f(0.4));
    const less = f(f(0.2) * octaves);
    if (this.blocks === 0) return f(bar - less);
    const apart = f(this.usual - this.low);
    const tight = Math.max(0, Math.min(1, f(1 - apart)));
    const wider = f(bar + f(f(0.6) * Math.max(0, f(apart - f(0.6)))));
    return f(wider - f(less * tight));
  }

  isUsual(size: number, bar: number): boolean {
    return this.blocks > 0 && size > this.low && size <= bar;
  }

  /** True when a block has ended. */
  learn(size: number, n: number, usualSeconds: number, isHabit: boolean): boolean {
    if (isHabit) this.isLeftOut = true;
    else if (n >= 30) this.max = Math.max(this.max, size);
    this.fill++;
    if (this.fill < 200 || f(this.fill * usualSeconds) < 12000) return false;
    const { max, usual, low, blocks } = this;
    const off = f(max - usual);
    const lowOff = f(max - low);
    const least = off < 0 && this.isLeftOut ? f(0.1) : 0;
    const rate = Math.max(f(0.02), f(1 / (blocks + 1)));
    const step = Math.max(least, f(rate * (off > 0 ? f(1.4) : f(0.6))));
    const lowStep = Math.min(1, f(rate * (lowOff > 0 ? f(0.4) : f(1.6))));
    this.usual = blocks === 0 ? max : f(usual + f(step * off));
    this.low = in16Bits(blocks === 0 ? max : f(low + f(lowStep * lowOff)));
    this.blocks = Math.min(255, blocks + 1);
    this.max = 0;
    this.fill = 0;
    this.isLeftOut = false;
    return true;
  }
}

export class Youth {
  /** Highest size that raised an alarm on the first 18 hours, in sixteenths of an octave; or 0. */
  max = 0;

  bar(age: number, isOpen: boolean): number {
    return this.#hasSpoken(age, isOpen) ? this.max / 16 + 1 : 0;
  }

  discount(age: number, isOpen: boolean, isRecurrent: boolean): number {
    let discount = isRecurrent ? 3 : 0;
    if (age < 216000) discount = f(discount + log2(f(216000 / Math.max(1, age))));
    return this.#hasSpoken(age, isOpen) ? f(discount + 20) : discount;
  }

  learn(age: number, size: number, bar: number): void {
    if (age >= 64800) return;
    const sixteenths = Math.trunc(Math.min(255, f(Math.max(size, bar) * 16)));
    this.max = Math.max(this.max, Math.min(255, sixteenths + 1));
  }

  #hasSpoken(age: number, isOpen: boolean): boolean {
    return age < 64800 && this.max > 0 && !isOpen;
  }
}

export class Zeros {
  begins = 0;
  stays = 0.5;
  run = 0;
  left = 0;
  /** log2 of the longest run. */
  octave = 0;
  isReported = false;

  /** True at the zero at which a run is noticed. */
  learn(isZero: boolean, at: { n: number; young: number; usual: number; moves: number }): boolean {
    if (this.run > 0) {
      this.left = Math.min(65535, this.left + 1);
      const rate = Math.max(1 / 4096, f(1 / f(this.left + 2)));
      this.stays = towards(this.stays, Number(isZero), rate);
    }
    if (!isZero) {
      const began = Number(this.run > 0);
      this.begins = towards(this.begins, began, Math.max(1 / 16384, at.young));
      if (this.run === 0) return false;
      this.octave = Math.max(this.octave, Math.min(7, Math.floor(Math.log2(this.run))));
      this.run = 0;
      this.isReported = false;
      return false;
    }
    this.run = Math.min(65535, this.run + 1);
    const { run, octave } = this;
    const isTold = run < 2 || this.isReported || at.moves < 20 || at.n <= 500 + run;
    if (isTold || (octave >= 2 && run <= 4 * 2 ** octave)) return false;
    this.isReported = this.#expectedPerDay(at.usual) < f(0.05);
    return this.isReported;
  }

  #expectedPerDay(usual: number): number {
    const begins = f(this.begins + f(usual / 2592000));
    const stays = Math.max(f(1e-6), this.stays);
    const ends = Math.max(f(1e-6), f(1 - stays));
    const perDay = f(f(begins * ends) * f(86400 / usual));
    return f(perDay * exp2(Math.max(-100, f((this.run - 1) * log2(stays)))));
  }
}
