// Treeline's roles as processes of their own on real brokers: each is the built program, with a port and a directory that
// stay its own over kills and restarts. And the two judges of what they did, which read the log themselves: which
// acknowledged samples are missing, and what state and candidates an uninterrupted run over the same log arrives at.

import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FOREST_SEED } from '../src/compose-scorer.js';
import { CandidateSchema } from '../src/gen/candidate_pb.js';
import { SampleBlockSchema } from '../src/gen/sample_block_pb.js';
import { READ_BYTES_MAX } from '../src/limits.js';
import { openKafkaLog } from '../src/log/kafka-log.js';
import type { Log, Topic } from '../src/log/log.js';
import { stateHash, takeSnapshot } from '../src/scorer/checkpoint.js';
import { Partition } from '../src/scorer/partition.js';
import { WasmForest } from '../src/scorer/wasm-forest.js';
import { loadWasm } from '../src/wasm-files.js';
import { sampleSent } from './cluster-load.js';
import { eventually, freePort, temporaryDirectory } from './programs.js';
import { type PartitionRow, spawnTreeline, type Treeline } from './treeline-process.js';

const REST_MS_MAX = 120_000;
const forever = new AbortController().signal;

export interface Member {
  readonly name: string;
  readonly url: string;
  readonly role: 'receiver' | 'scorer' | 'api';
  /** Undefined while it is not running. */
  treeline: Treeline | undefined;
  kills: number;
  readonly dataDir: string;
  /** Of its next start, behind those of the cluster. */
  args: readonly string[];
  /** Built program of its next start, when it is not ours. */
  main: string | undefined;
}

export type MemberOptions = Partial<Pick<Member, 'args' | 'main'>>;

export interface ClusterOptions {
  brokers: readonly string[];
  partitions: number;
  seriesMax: number;
  replication: number;
  args?: readonly string[];
}

export interface Cluster {
  readonly members: readonly Member[];
  add(role: Member['role'], count: number, options?: MemberOptions): Promise<void>;
  start(member: Member): Promise<void>;
  kill(member: Member): Promise<void>;
  /** In order, as at a rolling update. */
  stop(member: Member): Promise<void>;
  stopAll(): Promise<void>;
  /** Resolves when every partition is owned once and scored to its end. */
  atRest(): Promise<PartitionRow[]>;
}

export function openCluster(options: ClusterOptions): Cluster {
  const members: (Member & { port: number })[] = [];
  const find = (member: Member) => members.find(({ name }) => name === member.name)!;
  const start = async (member: Member) => {
    const { port, dataDir, role, main } = find(member);
    const args = [
      ...['--roles', role, '--log-kind', 'kafka', '--log-partitions', String(options.partitions)],
      ...['--log-kafka-brokers', options.brokers.join(',')],
      ...['--log-kafka-replication', String(options.replication)],
      ...['--ingest-max-series', String(options.seriesMax), '--logging-level', 'warn'],
      ...(options.args ?? []),
      ...member.args,
    ];
    const program = { port, dataDir, args, ...(main !== undefined && { main }) };
    member.treeline = await spawnTreeline(program);
  };
  return {
    members,
    async add(role, count, { args = [], main } = {}) {
      for (let i = 0; i < count; i++) {
        const name = `${role} ${members.filter((member) => member.role === role).length + 1}`;
        const port = await freePort();
        const dataDir = join(temporaryDirectory('cluster'), 'data');
        const url = `http://127.0.0.1:${port}`;
        const place = { name, url, port, dataDir, role };
        const member = { ...place, treeline: undefined, kills: 0, args, main };
        members.push(member);
        await start(member);
      }
    },
    start,
    async kill(member) {
      await member.treeline?.kill();
      member.treeline = undefined;
      member.kills++;
    },
    async stop(member) {
      const exit = await member.treeline?.program.stop('SIGTERM');
      member.treeline = undefined;
      if (exit !== undefined && exit.code !== 0) {
        throw new Error(`${member.name} ended with ${JSON.stringify(exit)}`);
      }
    },
    async stopAll() {
      await Promise.all(members.map(({ treeline }) => treeline?.program.stop('SIGKILL')));
    },
    atRest() {
      let seen = 'nothing';
      const rest = eventually('every partition to be scored to its end', REST_MS_MAX, async () => {
        const rows: PartitionRow[] = [];
        for (const { treeline, role } of members) {
          if (role !== 'scorer' || treeline === undefined) continue;
          if (treeline.program.hasExited()) {
            const exit = JSON.stringify(await treeline.program.exited);
            seen = `a scorer ended with ${exit}: ${treeline.program.stderr().slice(-2_000)}`;
            continue;
          }
          const path = '/anomaly/v1/status?stateHash=now';
          // A scorer that is just starting or leaving is asked again.
          const status = await treeline
            .json<{ partitions: PartitionRow[] }>(path)
            .catch(() => undefined);
          rows.push(...(status?.partitions ?? []));
        }
        rows.sort((a, b) => a.partition - b.partition);
        const places = rows.map(({ partition, offset, high }) => [partition, offset, high]);
        if (rows.length > 0) seen = JSON.stringify(places);
        const isWhole = rows.length === options.partitions;
        const isDone = rows.every(
          ({ partition, offset, high, stateHash: hash }, index) =>
            partition === index && offset === high && hash !== null,
        );
        return isWhole && isDone ? rows : undefined;
      });
      return rest.catch((error: Error) => {
        throw new Error(`${error.message}: ${seen}`);
      });
    },
  };
}

/** The log of a cluster, read and written beside its members. */
export function openClusterLog(
  options: Pick<ClusterOptions, 'brokers' | 'partitions'> & { prefix: string },
): Promise<Log> {
  const settings = {
    connection: { brokers: options.brokers },
    prefix: options.prefix,
    partitions: options.partitions,
    partitionBy: [['namespace', 'pod'], ['instance']],
    replication: 1,
    retentionMs: {
      samples: 864e5,
      backfill: 864e5,
      candidates: 864e5,
      verdicts: 864e5,
      anomalies: 864e5,
    },
  };
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  return openKafkaLog(settings, { logger, clock: Date.now });
}

/** Every record of every partition of a topic, in order. Rejects when one is missing. */
export async function readWholeLog(
  log: Log,
  topic: Topic,
  visit: (value: Uint8Array, partition: number) => void,
): Promise<void> {
  const subscription = await log.subscribe(topic, { onAssigned() {}, onLost() {} });
  for (let partition = 0; partition < log.partitions; partition++) {
    const { low, high } = await log.bounds(topic, partition);
    for (let from = low; from < high; ) {
      const batch = await subscription.read(partition, from, READ_BYTES_MAX, forever);
      if (batch.gap > 0) throw new Error(`${batch.gap} records are missing at ${from}`);
      for (const { value } of batch.records) visit(value, partition);
      from = batch.next;
    }
  }
  await subscription.close();
}

/** Acknowledged samples that the log lacks, and logged ones that were never sent so. */
export async function missingSamples(
  log: Log,
  sent: { acknowledged: Uint8Array; series: number; firstMs: number },
): Promise<{ missing: number; foreign: number; logged: number }> {
  const names = new Map<bigint, number>();
  const found = new Uint8Array(sent.acknowledged.length);
  const value = new Float64Array(1);
  const bits = new BigUint64Array(value.buffer);
  let [foreign, logged] = [0, 0];
  await readWholeLog(log, 'samples', (record) => {
    const block = fromBinary(SampleBlockSchema, record);
    for (const { fingerprint, label } of block.series) {
      names.set(fingerprint, Number(label.find(({ name }) => name === 'series')?.value));
    }
    for (let i = 0; i < block.fingerprint.length; i++) {
      logged++;
      bits[0] = block.valueBits[i] as bigint;
      const series = names.get(block.fingerprint[i] as bigint) ?? Number.NaN;
      const sample = { series, timestampMs: Number(block.timestampMs[i]), value: value[0]! };
      const step = sampleSent(sample, sent.firstMs);
      if (step === undefined) foreign++;
      else found[step * sent.series + series] = 1;
    }
  });
  let missing = 0;
  for (let at = 0; at < found.length; at++) {
    if (sent.acknowledged[at] === 1 && found[at] === 0) missing++;
  }
  return { missing, foreign, logged };
}

export interface Outcome {
  /** Per partition, of the state behind its last record. */
  hashes: (string | null)[];
  /** Candidates without those that came twice, sorted. */
  candidates: string[];
  /** Per partition, what became of its samples. */
  outcomes: Record<string, number>[];
}

/** What an uninterrupted run over the log arrives at; `passed` are the records that it cannot read. */
export async function referenceRun(
  log: Log,
  seriesMax: number,
  passed: (value: Uint8Array) => boolean = () => false,
): Promise<Outcome> {
  const forest = loadWasm('forest');
  const perPartition = Math.ceil(seriesMax / log.partitions);
  const candidates = new Set<string>();
  const partitions = Array.from({ length: log.partitions }, () => {
    const settings = { seriesMax: perPartition, seed: FOREST_SEED };
    const partition = new Partition(new WasmForest(forest.module, settings), perPartition);
    partition.listen({
      onOpened() {},
      onRemoved() {},
      onPhase({ entry, timestampMs, score, phase }) {
        const { slots } = partition;
        const high = BigInt(slots.highOf(entry)) << 32n;
        const key = (high | BigInt(slots.lowOf(entry))).toString(16);
        candidates.add(`${key} ${timestampMs} ${phase} ${score}`);
      },
    });
    return partition;
  });
  await readWholeLog(log, 'samples', (record, index) => {
    if (!passed(record)) partitions[index]!.apply(record);
  });
  const hashes: string[] = [];
  for (const [index, partition] of partitions.entries()) {
    const { high } = await log.bounds('samples', index);
    const lineage = {
      logId: log.id,
      partition: index,
      partitions: log.partitions,
      engineId: new Uint8Array(),
      seed: FOREST_SEED,
    };
    hashes.push(Buffer.from(stateHash(takeSnapshot(partition, lineage, high))).toString('hex'));
  }
  const outcomes = partitions.map(({ counts }) => ({ ...counts }));
  return { hashes, candidates: [...candidates].sort(), outcomes };
}

/** What the scorers have written, without what came twice. */
export async function loggedCandidates(log: Log): Promise<string[]> {
  const phases = ['unspecified', 'onset', 'peak', 'end'];
  const candidates = new Set<string>();
  await readWholeLog(log, 'candidates', (record) => {
    const { fingerprint, timestampMs, phase, score } = fromBinary(CandidateSchema, record);
    candidates.add(`${fingerprint.toString(16)} ${timestampMs} ${phases[phase]} ${score}`);
  });
  return [...candidates].sort();
}
