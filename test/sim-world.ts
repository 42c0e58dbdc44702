// A world of its own in one thread: a clock that moves only when nothing else can happen, a queue of events in an order
// that the seed decides, and processes that can be killed, frozen and thawed. What is simulated is the surroundings; the
// code that runs in it is the real one. Between two events every promise that can go on goes on (one turn of the event
// loop does that), so a seed decides everything.

import type { Pace } from '../src/pace.js';
import { randomOf } from './random.js';

/** Wall clock at the beginning of every world. */
export const WORLD_BEGIN_MS = 1_760_000_000_000;

interface Event {
  at: number;
  tie: number;
  run: () => void;
}

export class World {
  nowMs = 0;
  readonly random: () => number;
  /** What happened, for whoever looks for the cause of a failure. */
  readonly trace: string[] = [];
  /** Named places where a process was killed, and how often something happened. */
  readonly happened = new Map<string, number>();
  /** What ended a process although nobody killed it. */
  readonly failures: unknown[] = [];
  readonly #heap: Event[] = [];

  constructor(seed: number) {
    this.random = randomOf(seed);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  between(from: number, to: number): number {
    return from + (to - from) * this.random();
  }

  int(below: number): number {
    return Math.floor(this.random() * below);
  }

  note(text: string): void {
    this.trace.push(`${(this.nowMs / 1000).toFixed(3)} ${text}`);
    if (this.trace.length > 4000) this.trace.splice(0, 2000);
  }

  count(what: string): void {
    this.happened.set(what, (this.happened.get(what) ?? 0) + 1);
  }

  after(ms: number, run: () => void): void {
    const heap = this.#heap;
    const event = { at: this.nowMs + ms, tie: this.random(), run };
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  /** Runs events until `isDone`; throws when that takes more than `limitMs` of this world's time. */
  async until(isDone: () => boolean, limitMs: number, what: string): Promise<void> {
    const deadline = this.nowMs + limitMs;
    for (;;) {
      await new Promise((turn) => setImmediate(turn));
      if (this.failures.length > 0) throw this.failures[0];
      if (isDone()) return;
      const event = this.#next();
      if (event === undefined) throw new Error(`Nothing happens any more before: ${what}`);
      if (event.at > deadline) throw new Error(`Not within ${limitMs / 1000} s: ${what}`);
      this.nowMs = Math.max(this.nowMs, event.at);
      event.run();
    }
  }

  async done<T>(promise: Promise<T>, limitMs: number, what: string): Promise<T> {
    let isSettled = false;
    const settled = promise.finally(() => {
      isSettled = true;
    });
    settled.catch(() => {}); // it is awaited below, after the events that lead to it
    await this.until(() => isSettled, limitMs, what);
    return settled;
  }

  #next(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Event)) child++;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.tie < b.tie);
}

/** One process, from its start to its end. What is told to a frozen one reaches it when it thaws; to a dead one, never. */
export class Host {
  readonly world: World;
  readonly name: string;
  isDead = false;
  /** How wrong its wall clock is. */
  skewMs = 0;
  #frozenUntilMs = 0;
  /** What has arrived while it was frozen, in order. */
  #arrived: (() => void)[] = [];

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  get isFrozen(): boolean {
    return this.world.nowMs < this.#frozenUntilMs;
  }

  clock(): number {
    return WORLD_BEGIN_MS + this.world.nowMs + this.skewMs;
  }

  kill(where: string): void {
    if (this.isDead) return;
    this.isDead = true;
    this.world.count(`killed ${where}`);
    this.world.note(`${this.name} killed ${where}`);
  }

  freeze(ms: number): void {
    this.#frozenUntilMs = this.world.nowMs + ms;
    this.world.after(ms, () => {
      if (!this.isFrozen) this.thaw();
    });
    this.world.count('frozen');
    this.world.note(`${this.name} frozen for ${ms.toFixed(0)} ms`);
  }

  thaw(): void {
    this.#frozenUntilMs = 0;
    for (const run of this.#arrived.splice(0)) this.deliver(run);
  }

  deliver(run: () => void): void {
    if (this.isDead) return;
    if (this.isFrozen) this.#arrived.push(run);
    else run();
  }

  /** Something outside answers later, if at all. A dead process asks nobody. */
  ask<T>(work: () => T | Promise<T>, latencyMs: () => number): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.isDead) return;
      const answer = (settle: () => void) => {
        this.world.after(latencyMs(), () => this.deliver(settle));
      };
      this.world.after(latencyMs(), () => {
        // In an async function, so that what it throws is an answer too.
        (async () => work())().then(
          (value) => answer(() => resolve(value)),
          (error) => answer(() => reject(error as Error)),
        );
      });
    });
  }

  get pace(): Pace {
    const { world } = this;
    return {
      turn: () =>
        new Promise((resolve) => world.after(world.between(0, 2), () => this.deliver(resolve))),
      sleep: (ms, signal) =>
        new Promise((resolve) => {
          if (signal.aborted) return resolve();
          const wake = () => {
            signal.removeEventListener('abort', wake);
            resolve();
          };
          signal.addEventListener('abort', wake);
          world.after(ms, () => this.deliver(wake));
        }),
      every: (ms, work) => {
        let isOver = false;
        const tick = () => {
          if (isOver || this.isDead) return;
          this.deliver(work);
          world.after(ms, tick);
        };
        world.after(ms, tick);
        return () => {
          isOver = true;
        };
      },
    };
  }
}
