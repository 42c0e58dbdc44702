// What can befall the demo's shop, and since when it does. History has its own faults, written down before; live ones are
// put in and taken away by a key or by a request.

/** The pods and the job that are befallen. */
export const LEAKING = 'worker-1';
export const DYING = 'catalog-3';
export const SLOW = 'database-1';
export const MISSED_JOB = 'stock-sync';

export type FaultName =
  | 'latency-step'
  | 'memory-leak'
  | 'dead-pod'
  | 'cron-missing'
  | 'traffic-surge';

export interface FaultKind {
  name: FaultName;
  key: string;
  title: string;
  /** What is to be seen, and where. */
  look: string;
}

export const FAULTS: readonly FaultKind[] = [
  {
    name: 'latency-step',
    key: 'l',
    title: 'Latency step',
    look: `Queries of ${SLOW} take eight times as long: it moves first, then checkout and catalog, then the front ends, as one incident.`,
  },
  {
    name: 'memory-leak',
    key: 'm',
    title: 'Memory leak',
    look: `${LEAKING} loses 1 % of its memory a second: container_memory_working_set_bytes leaves its band within half a minute, and the pod is killed at twice its size.`,
  },
  {
    name: 'dead-pod',
    key: 'd',
    title: 'Dead pod',
    look: `${DYING} answers no more: its up falls to 0, its other series end, and the two others take its requests.`,
  },
  {
    name: 'cron-missing',
    key: 'c',
    title: 'Cron job missing',
    look: `${MISSED_JOB} runs every minute and does not run now: from when it is due cronjob_start_delay_seconds rises by a second a second.`,
  },
  {
    name: 'traffic-surge',
    key: 's',
    title: 'Traffic surge',
    look: 'Two and a half times as many requests: everything that carries them moves at once, as one incident.',
  },
];

interface Period {
  fromMs: number;
  untilMs: number;
}

export class Faults {
  readonly #periods = new Map<FaultName, Period[]>();

  /** One that has an end already. */
  plan(name: FaultName, period: Period): void {
    this.#of(name).push(period);
  }

  /** Live. Starting what runs, or ending what does not, changes nothing. */
  set(name: FaultName, isOn: boolean, atMs: number): void {
    const running = this.#of(name).find(({ untilMs }) => untilMs === Number.POSITIVE_INFINITY);
    if (isOn && running === undefined) {
      this.plan(name, { fromMs: atMs, untilMs: Number.POSITIVE_INFINITY });
    } else if (!isOn && running !== undefined) running.untilMs = atMs;
  }

  /** Since when it befalls the shop at this time; undefined when it does not. */
  since(name: FaultName, atMs: number): number | undefined {
    return this.#periods.get(name)?.find(({ fromMs, untilMs }) => atMs >= fromMs && atMs < untilMs)
      ?.fromMs;
  }

  #of(name: FaultName): Period[] {
    let periods = this.#periods.get(name);
    if (periods === undefined) {
      periods = [];
      this.#periods.set(name, periods);
    }
    return periods;
  }
}

export function isFaultName(name: string): name is FaultName {
  return FAULTS.some((fault) => fault.name === name);
}
