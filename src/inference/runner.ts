// A model in a place of its own, a child process or a worker thread, that is asked one thing at a time: load, then run
// after run. What takes longer than its deadline is ended, for a run cannot be cancelled; whoever waited hears of it, and
// after a rest a new place is opened. Nothing that happens in there can end this process.
//
//   closed ──open──▶ loading ──loaded──▶ idle ──run──▶ running ──answer──▶ idle
//     ▲                 └────── exit, error, deadline ─────┴── rest ──┐       │ unused for RUNTIME_IDLE_MS
//     └───────────────────────────────────────────────────────────────┴───────┘

import { OperatingError } from '../errors.js';
import {
  MODEL_LOAD_MS_MAX,
  RUN_MS_MAX,
  RUNS_WAITING_MAX,
  RUNTIME_IDLE_MS,
} from '../limits-models.js';
import { Rest } from './rest.js';
import type { Runtime, Tensor } from './tensor.js';

export type ToPlace =
  | { load: { bytes: Uint8Array; output: string } }
  | { run: { inputs: readonly Tensor[] } };
export type FromPlace = { loaded: true } | { output: Tensor } | { fault: string };

/** What has been opened. Messages come in the order in which they were asked for. */
export interface Place {
  send(message: ToPlace): void;
  /** Ends it at once. Resolves when it is gone. */
  end(): Promise<void>;
}

export interface PlaceEvents {
  onMessage(message: FromPlace): void;
  /** It is gone, or never came. */
  onExit(reason: string): void;
}

export interface RunnerSettings {
  kind: Runtime['kind'];
  model: Uint8Array;
  /** Name of the output that is wanted. */
  output: string;
  open(events: PlaceEvents): Place;
  clock: () => number;
  runMsMax?: number;
  /** Unused for so long it is closed; Infinity: never. */
  idleMs?: number;
}

interface Asked {
  message: ToPlace;
  settle(answer: FromPlace): void;
  timer: NodeJS.Timeout;
}

export class Runner implements Runtime {
  readonly kind: Runtime['kind'];
  readonly #settings: RunnerSettings;
  readonly #rest = new Rest();
  #place: Place | undefined;
  #asked: Asked | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #idle: NodeJS.Timeout | undefined;
  #ends = new Set<Promise<void>>();
  #isClosed = false;

  constructor(settings: RunnerSettings) {
    this.#settings = settings;
    this.kind = settings.kind;
  }

  get failures(): number {
    return this.#rest.count;
  }

  trouble(): string | undefined {
    const reason = this.#rest.reason(this.#settings.clock());
    return reason === undefined ? undefined : `the ${this.kind} runtime rests: ${reason}`;
  }

  async prepare(): Promise<void> {
    // Whoever runs it first hears what is wrong.
    await this.#inTurn(() => this.#opened()).catch(() => {});
  }

  run(inputs: readonly Tensor[]): Promise<Tensor> {
    if (this.#waiting >= RUNS_WAITING_MAX) {
      return Promise.reject(unavailable(`${this.#waiting} runs wait for the ${this.kind} runtime`));
    }
    return this.#inTurn(async () => {
      await this.#opened();
      const answer = await this.#ask({ run: { inputs } }, this.#settings.runMsMax ?? RUN_MS_MAX);
      if ('output' in answer) return answer.output;
      // An exception of the runtime about these inputs: the place itself is sound.
      throw unavailable(`The ${this.kind} runtime: ${faultOf(answer)}`);
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#drop('it is closed');
    await this.#turn.catch(() => {}); // whoever asked hears of it
    await Promise.all(this.#ends);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#turn
      .catch(() => {}) // whoever asked before has heard of it
      .then(work)
      .finally(() => {
        this.#waiting--;
      });
    this.#turn = turn;
    return turn;
  }

  async #opened(): Promise<void> {
    if (this.#isClosed) throw unavailable(`the ${this.kind} runtime is closed`);
    const trouble = this.trouble();
    if (trouble !== undefined) throw unavailable(trouble);
    if (this.#place !== undefined) return;
    const { model, output, open } = this.#settings;
    const place = open({
      onMessage: (message) => {
        if (this.#place === place) this.#answer(message);
      },
      onExit: (reason) => {
        if (this.#place === place) this.#fail(reason);
      },
    });
    this.#place = place;
    const answer = await this.#ask({ load: { bytes: model, output } }, MODEL_LOAD_MS_MAX);
    if ('loaded' in answer) return;
    const reason = `it cannot load the model: ${faultOf(answer)}`;
    // Unless it is gone, which has been counted.
    if (this.#place === place) this.#fail(reason);
    throw unavailable(`The ${this.kind} runtime: ${reason}`);
  }

  #ask(message: ToPlace, msMax: number): Promise<FromPlace> {
    clearTimeout(this.#idle);
    return new Promise((resolve) => {
      const late = `no answer within ${msMax / 1000} s`;
      const timer = setTimeout(() => this.#fail(late), msMax);
      this.#asked = { message, settle: resolve, timer };
      this.#place?.send(message);
    });
  }

  #answer(message: FromPlace): void {
    const asked = this.#asked;
    this.#asked = undefined;
    clearTimeout(asked?.timer);
    asked?.settle(message);
    const idleMs = this.#settings.idleMs ?? RUNTIME_IDLE_MS;
    if (!Number.isFinite(idleMs) || this.#isClosed) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#drop('it was idle'), idleMs);
    this.#idle.unref();
  }

  #fail(reason: string): void {
    if (this.#isClosed) return;
    this.#rest.failed(reason, this.#settings.clock());
    this.#drop(reason);
  }

  /** Whoever waits for an answer gets the reason as one. */
  #drop(reason: string): void {
    clearTimeout(this.#idle);
    const place = this.#place;
    this.#place = undefined;
    if (place !== undefined) {
      const ended = place.end().finally(() => this.#ends.delete(ended));
      this.#ends.add(ended);
    }
    const asked = this.#asked;
    this.#asked = undefined;
    clearTimeout(asked?.timer);
    asked?.settle({ fault: reason });
  }
}

function faultOf(answer: FromPlace): string {
  return 'fault' in answer ? answer.fault : 'an answer to another question';
}

export function unavailable(message: string, cause?: unknown): OperatingError {
  return new OperatingError('inference_unavailable', message, cause);
}

/** The program of a place lies beside this file, compiled; sources run from the build. */
export function placeFile(name: string): URL {
  const isCompiled = new URL('.', import.meta.url).pathname.endsWith('/dist/src/inference/');
  return new URL(`${isCompiled ? '.' : '../../dist/src/inference'}/${name}.js`, import.meta.url);
}
