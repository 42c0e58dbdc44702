// Generated pods for the bench of entities: features that follow one load, each with its own noise, and faults of which
// some show in no single feature. Everything follows from a seed.

import { randomOf } from '../test/random.js';

export const CASE_KINDS = ['proportion', 'relief', 'restart', 'among 16', 'spike', 'calm'] as const;
export type CaseKind = (typeof CASE_KINDS)[number];

export const STEPS_PER_DAY = 5760;
export const FAULT_STEPS = 20;

export interface EntityCase {
  kind: CaseKind;
  features: number;
  steps: number;
  /** The fault begins here and lasts FAULT_STEPS; beyond the end when there is none. */
  faultAt: number;
  /** The feature that the fault is put into. */
  blamed: number;
  /** Writes the values of the next step. */
  next(into: Float64Array): void;
}

/** Three features: processor time, memory, and requests or restarts; with thirteen more in 'among 16'. */
export function entityCase(kind: CaseKind, seed: number): EntityCase {
  const days = kind === 'restart' ? 8 : 5;
  const features = kind === 'among 16' ? 16 : 3;
  const steps = days * STEPS_PER_DAY + Math.floor(randomOf(seed)() * STEPS_PER_DAY);
  const faultAt = kind === 'calm' ? steps : steps - 2 * FAULT_STEPS;
  const load = new Load(seed);
  const others = Array.from({ length: 13 }, () => 0);
  const { normal, random } = load;
  let step = 0;
  let restartAt = -1000;
  return {
    ...{ kind, features, steps, faultAt },
    blamed: kind === 'among 16' ? 7 : kind === 'restart' ? 2 : 0,
    next(into) {
      const isFaulty = step >= faultAt && step < faultAt + FAULT_STEPS;
      const requests = load.next(step);
      into[0] = 0.005 * requests * (1 + 0.04 * normal());
      into[1] = 2e8 + 5e5 * requests * (1 + 0.02 * normal());
      into[2] = requests;
      if (kind === 'proportion' && isFaulty) into[0] += 0.6;
      // Work is no longer done: processor time as at night, while requests come as by day.
      if (kind === 'relief' && isFaulty) into[0] *= 0.35;
      if (kind === 'spike' && isFaulty) into[0] = 6;
      if (kind === 'among 16') {
        for (const [i, before] of others.entries()) {
          others[i] = 0.9 * before + normal();
          into[3 + i] = 50 + others[i]! + normal();
        }
        if (isFaulty) into[7] = into[7]! + 25;
      }
      if (kind === 'restart') {
        if (step - restartAt > 100 && random() < 0.004 && !isFaulty) restartAt = step;
        const since = step - restartAt;
        // A start costs processor time and begins with little memory; the fault is one that does not.
        if (since < 4) into[0] += 1.5 * (1 + 0.1 * normal());
        if (since < 4) into[1] *= 0.5 + 0.1 * since;
        into[2] = since === 0 || step === faultAt + 5 ? 1 / 15 : 0;
      }
      step++;
    },
  };
}

/** Requests per second: a day, a slow walk, now and then a burst of up to four times as many. */
class Load {
  readonly random: () => number;
  readonly normal: () => number;
  #walk = 0;
  #burst = 0;

  constructor(seed: number) {
    const random = randomOf(seed);
    this.random = random;
    this.normal = () => {
      const [u, v] = [random(), random()];
      return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
    };
  }

  next(step: number): number {
    const day = 1 + 0.5 * Math.sin((2 * Math.PI * step) / STEPS_PER_DAY);
    this.#walk = 0.95 * this.#walk + 0.09 * this.normal();
    if (this.random() < 0.002) this.#burst = Math.max(this.#burst, 3 * this.random());
    this.#burst *= 0.9;
    const level = Math.max(0.1, day + this.#walk + this.#burst);
    return 100 * level * (1 + 0.03 * this.normal());
  }
}
