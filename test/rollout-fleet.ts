// Workloads whose pods are replaced again and again, for tests and benches of hand-over: weeks of scrapes of a few
// Deployments over several partitions, with the words that scorers tell each other carried between them, and what was
// flagged on the way. A rollout is what Kubernetes makes of one: a new pod starts, works hard for some minutes, has a memory
// that fills, serves its share, and a minute later an old one is gone; each version needs a little more or less. Everything
// follows from the seed.

import { create, toBinary } from '@bufbuild/protobuf';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { HeritageCarrier } from '../src/scorer/heritage-carrier.js';
import type { Partition } from '../src/scorer/partition.js';
import { detectorSet, partitionWith } from './pods.js';
import { randomOf } from './random.js';

export const FLEET_BEGIN = 1_760_000_000_000;
const METRICS = [
  'container_cpu_usage_seconds_total',
  'container_memory_usage_bytes',
  'kube_pod_container_status_restarts_total',
] as const;
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
/** Steps in which a new pod is busy with its start; when it is ready the old one is taken out of service and ends. */
const START_STEPS = 3;
const FAULT_STEPS = 12;
/** Past the warm-up of whoever learns by itself. */
const SOON_STEPS = 180;

/** Processor time, or memory, three times as much; a tenth of the processor time; a restart at each step. */
const FAULT_KINDS = ['cpu', 'memory', 'idle', 'restarts'] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface FleetOptions {
  seed: number;
  steps: number;
  stepMs: number;
  partitions: number;
  /** Spread evenly over the time after the first day. */
  rollouts: number;
  /** Of each so-manyth rollout one of the new pods has a fault, younger than its warm-up; 0: of none. */
  faultEvery: number;
  /** Do scorers tell each other anything? */
  isCarried: boolean;
}

export interface Flag {
  pod: string;
  metric: string;
  step: number;
}

export interface FleetStory {
  /** Onsets, without those of the first day, when everything is new. */
  flags: Flag[];
  faults: { kind: FaultKind; pod: string; fromStep: number; untilStep: number }[];
  rollouts: { workload: string; step: number }[];
  /** Pods that were started by rollouts, and of these the ones that began with what others had learnt. */
  newcomers: number;
  heirs: number;
  counts: HeritageCarrier['counts'];
}

interface Member {
  name: string;
  workload: Workload;
  bornStep: number;
  goneStep: number;
  /** What this version needs for the same work. */
  factor: { cpu: number; memory: number };
  seconds: number;
  restarts: number;
  /** Work that its memory is filled by: it follows slowly. */
  held: number;
  ids: bigint[];
  isAnnounced: boolean;
}

interface Workload {
  name: string;
  replicas: number;
  cores: number;
  bytes: number;
  walk: number;
  version: number;
  members: Member[];
}

class Fleet {
  readonly story: FleetStory;
  readonly #options: FleetOptions;
  readonly #random: () => number;
  readonly #workloads: Workload[];
  readonly #partitions: Partition[];
  readonly #carrier: HeritageCarrier;
  readonly #newcomers = new Set<string>();
  #mail: [partition: number, record: Uint8Array][] = [];
  #nextId = 1n;
  step = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#random = randomOf(options.seed);
    this.#workloads = [
      ['web', 3, 0.5, 2e8],
      ['api', 2, 0.2, 4e8],
      ['worker', 1, 1.5, 1e9],
    ].map(([name, replicas, cores, bytes]) => {
      const sizes = {
        replicas: replicas as number,
        cores: cores as number,
        bytes: bytes as number,
      };
      return { name: name as string, ...sizes, walk: 0, version: 0, members: [] };
    });
    this.#partitions = Array.from({ length: options.partitions }, () =>
      partitionWith(detectorSet(), 2_000),
    );
    const log = {
      partitions: options.partitions,
      append: async (_topic: string, partition: number, record: Uint8Array) => {
        this.#mail.push([partition, record]);
        return 0;
      },
    };
    this.#carrier = new HeritageCarrier(log, () => this.#ms());
    const { counts } = this.#carrier;
    this.story = { flags: [], faults: [], rollouts: [], newcomers: 0, heirs: 0, counts };
    for (const [index, partition] of this.#partitions.entries()) {
      if (options.isCarried) this.#carrier.own(index, partition);
      partition.listen({
        onPhase: ({ phase, entry }) => this.#onPhase(partition, phase, entry),
        onOpened() {},
        onRemoved() {},
      });
    }
    for (const workload of this.#workloads) {
      for (let i = 0; i < workload.replicas; i++) this.#start(workload, 0);
    }
  }

  async run(): Promise<FleetStory> {
    const { steps, rollouts, stepMs } = this.#options;
    const day = 86_400_000 / stepMs;
    const every = Math.floor((steps - day) / (rollouts + 1));
    for (; this.step < steps; this.step++) {
      const since = this.step - day;
      const isTime = since > 0 && since % every === 0 && since / every <= rollouts;
      if (isTime) this.#rollOut(since / every);
      this.#scrape();
      if (this.step % 60 === 59) this.#countHeirs();
      if (!this.#options.isCarried) continue;
      this.#carrier.send();
      await this.#carrier.stop();
      const mail = this.#mail;
      this.#mail = [];
      for (const [partition, record] of mail) this.#partitions[partition]!.apply(record);
    }
    return this.story;
  }

  #ms(): number {
    return FLEET_BEGIN + this.step * this.#options.stepMs;
  }

  #onPhase(partition: Partition, phase: string, entry: number): void {
    if (phase !== 'onset' || this.#ms() - FLEET_BEGIN < 86_400_000) return;
    const labels = new Map(partition.labels(entry).map(({ name, value }) => [name, value]));
    const metric = labels.get('__name__') ?? '';
    this.story.flags.push({ pod: labels.get('pod') ?? '', metric, step: this.step });
  }

  /** One replica after the other, two steps apart. */
  #rollOut(number: number): void {
    const workload = this.#workloads[number % this.#workloads.length]!;
    const old = workload.members.filter(({ goneStep }) => goneStep === Number.POSITIVE_INFINITY);
    workload.version++;
    this.story.rollouts.push({ workload: workload.name, step: this.step });
    const factor = { cpu: 0.9 + 0.2 * this.#random(), memory: 0.85 + 0.3 * this.#random() };
    for (const [i, member] of old.entries()) {
      const bornStep = this.step + 2 * i;
      member.goneStep = bornStep + START_STEPS;
      const { name } = this.#start(workload, bornStep, factor);
      this.#newcomers.add(name);
      this.story.newcomers++;
      const { faultEvery } = this.#options;
      if (faultEvery === 0 || number % faultEvery !== 0 || i > 0) continue;
      // Settled after 20 vectors, warm by itself after 120.
      const fromStep = bornStep + 50;
      const kind = FAULT_KINDS[this.story.faults.length % FAULT_KINDS.length]!;
      this.story.faults.push({ kind, pod: name, fromStep, untilStep: fromStep + FAULT_STEPS });
    }
  }

  #start(workload: Workload, bornStep: number, factor = { cpu: 1, memory: 1 }): Member {
    const random = () => LETTERS[Math.floor(this.#random() * LETTERS.length)]!;
    const hash = Array.from({ length: 9 }, (_, i) => LETTERS[(workload.version * 7 + 3 * i) % 27]);
    const name = `${workload.name}-${hash.join('')}-${Array.from({ length: 5 }, random).join('')}`;
    const ids = METRICS.map(() => BigInt.asUintN(64, this.#nextId++ * 0x9e3779b97f4a7c15n));
    const life = { bornStep, goneStep: Number.POSITIVE_INFINITY };
    const counts = { seconds: 0, restarts: 0, held: 0 };
    const member = { name, workload, ...life, factor, ids, ...counts, isAnnounced: false };
    workload.members.push(member);
    return member;
  }

  #scrape(): void {
    const rows: { member: Member; values: number[] }[][] = this.#partitions.map(() => []);
    const day = Math.sin((2 * Math.PI * (this.#ms() % 86_400_000)) / 86_400_000);
    for (const workload of this.#workloads) {
      workload.members = workload.members.filter(({ goneStep }) => goneStep > this.step);
      workload.walk = 0.97 * workload.walk + 0.05 * this.#normal();
      const load = Math.max(0.1, 1 + 0.5 * day + workload.walk);
      const here = workload.members.filter(({ bornStep }) => bornStep <= this.step);
      const serving = here.filter(({ bornStep }) => this.step - bornStep >= START_STEPS).length;
      // The whole work is shared by those who serve.
      const each = (load * workload.replicas) / Math.max(1, serving || here.length);
      for (const member of here) {
        rows[placeOf(member.name, rows.length)]!.push({
          member,
          values: this.#measure(member, each),
        });
      }
    }
    for (const [index, some] of rows.entries()) {
      if (some.length > 0) this.#partitions[index]!.apply(this.#recordOf(some));
    }
  }

  #measure(member: Member, load: number): number[] {
    const { workload, factor } = member;
    const age = this.step - member.bornStep;
    const isStarting = this.step > START_STEPS && age < START_STEPS;
    const fault = this.story.faults.find(
      ({ pod, fromStep, untilStep }) =>
        pod === member.name && this.step >= fromStep && this.step < untilStep,
    )?.kind;
    const work = isStarting ? 2.2 : load;
    let cores = workload.cores * factor.cpu * work * Math.max(0.2, 1 + 0.08 * this.#normal());
    if (fault === 'cpu') cores *= 3;
    if (fault === 'idle') cores *= 0.1;
    if (fault === 'restarts') member.restarts++;
    member.seconds += (cores * this.#options.stepMs) / 1000;
    const isOld = member.bornStep === 0 && member.held === 0;
    member.held = isOld ? load : member.held + 0.2 * ((isStarting ? 0.3 : load) - member.held);
    const size = (0.6 + 0.4 * member.held) * (fault === 'memory' ? 3 : 1);
    const memory = workload.bytes * factor.memory * size;
    return [member.seconds, memory * (1 + 0.02 * this.#normal()), member.restarts];
  }

  #recordOf(rows: readonly { member: Member; values: number[] }[]): Uint8Array {
    const at = BigInt(this.#ms());
    const bits = new DataView(new ArrayBuffer(8));
    const fresh = rows.filter(({ member }) => !member.isAnnounced);
    for (const { member } of fresh) member.isAnnounced = true;
    const block = create(SampleBlockSchema, {
      fingerprint: rows.flatMap(({ member }) => member.ids),
      timestampMs: rows.flatMap(() => METRICS.map(() => at)),
      valueBits: rows.flatMap(({ values }) =>
        values.map((value) => {
          bits.setFloat64(0, value);
          return bits.getBigUint64(0);
        }),
      ),
      series: fresh.flatMap(({ member }) =>
        METRICS.map((metric, i) => ({
          fingerprint: member.ids[i]!,
          label: [
            { name: '__name__', value: metric },
            { name: 'namespace', value: 'shop' },
            { name: 'pod', value: member.name },
            { name: 'container', value: 'app' },
          ],
        })),
      ),
    });
    return toBinary(SampleBlockSchema, block);
  }

  #countHeirs(): void {
    for (const partition of this.#partitions) {
      for (const { values, inheritedFrom } of partition.entities.all()) {
        if (inheritedFrom !== '' && this.#newcomers.delete(values[1]!)) this.story.heirs++;
      }
    }
  }

  #normal(): number {
    const [u, v] = [this.#random(), this.#random()];
    return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
  }
}

function placeOf(name: string, partitions: number): number {
  let hash = 2166136261;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619) >>> 0;
  return (hash >>> 8) % partitions;
}

export function runFleet(options: FleetOptions): Promise<FleetStory> {
  return new Fleet(options).run();
}

type Fault = FleetStory['faults'][number];

function isOf({ pod, step }: Flag, fault: Fault): boolean {
  return pod === fault.pod && step >= fault.fromStep && step < fault.untilStep;
}

/** Faults in whose time the vector of their pod was flagged. */
export function foundIn({ faults, flags }: FleetStory): Fault[] {
  return faults.filter((fault) =>
    flags.some((flag) => flag.metric === 'treeline_entity_distance' && isOf(flag, fault)),
  );
}

/** Flags of pods that nothing is wrong with, soon after a pod of their workload was replaced. */
export function flagsOfRollouts({ faults, flags, rollouts }: FleetStory): Flag[] {
  return flags.filter(
    ({ pod, step }) =>
      !faults.some((fault) => fault.pod === pod) &&
      rollouts.some(
        (rollout) =>
          pod.startsWith(`${rollout.workload}-`) &&
          step >= rollout.step &&
          step < rollout.step + SOON_STEPS,
      ),
  );
}
