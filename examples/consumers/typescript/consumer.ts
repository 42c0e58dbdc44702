// Prints what goes through Treeline's topics, one line each: samples with the names of their series, candidates,
// and anomalies.
//
//   node consumer.js --brokers localhost:9092 [--prefix treeline] [--group my-group] [--from beginning|end]
//
// Names come with the samples now and then, at least every 10 minutes; until then a series is shown by its fingerprint.

import { parseArgs } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { Kafka, logLevel } from 'kafkajs';
import { type Anomaly, AnomalySchema } from './gen/anomaly_pb.js';
import { type Candidate, CandidateSchema, Phase } from './gen/candidate_pb.js';
import { HistogramSchema } from './gen/remote_write_v2_pb.js';
import { type Label, type SampleBlock, SampleBlockSchema } from './gen/sample_block_pb.js';

/** Prometheus writes this NaN when a series has ended. No arithmetic may touch the bits before they are compared. */
const STALE = 0x7ff0000000000002n;
const SERIES_MAX = 1_000_000;
const SEEN_MAX = 10_000;

const { values: options } = parseArgs({
  options: {
    brokers: { type: 'string', default: 'localhost:9092' },
    prefix: { type: 'string', default: 'treeline' },
    group: { type: 'string', default: `consumer-${process.pid}` },
    from: { type: 'string', default: 'end' },
  },
});

/** By tenant and fingerprint: a tenant's series have fingerprints of their own, so the number alone would do. */
const names = new Map<bigint, string>();

function showBlock(block: SampleBlock): void {
  for (const series of block.series) {
    if (names.size >= SERIES_MAX) names.clear(); // each is announced again
    names.set(series.fingerprint, nameOf(series.label));
  }
  for (const [i, fingerprint] of block.fingerprint.entries()) {
    const value = valueText(block.valueBits[i] as bigint);
    show(fingerprint, block.timestampMs[i] as bigint, value);
  }
  for (const sample of block.histogram) {
    const { sum, count } = fromBinary(HistogramSchema, sample.histogram);
    show(sample.fingerprint, sample.timestampMs, `histogram of ${count.value} with sum ${sum}`);
  }
}

function show(fingerprint: bigint, timestampMs: bigint, value: string): void {
  const name = names.get(fingerprint) ?? `#${fingerprint.toString(16).padStart(16, '0')}`;
  console.log(`sample ${timestampMs} ${name} ${value}`);
}

const bits = new DataView(new ArrayBuffer(8));

function valueText(valueBits: bigint): string {
  if (valueBits === STALE) return 'stale';
  bits.setBigUint64(0, valueBits);
  return String(bits.getFloat64(0));
}

function nameOf(labels: readonly Label[]): string {
  const metric = labels.find(({ name }) => name === '__name__')?.value ?? '';
  const pairs = labels
    .filter(({ name }) => name !== '__name__')
    .map(({ name, value }) => `${name}=${JSON.stringify(value)}`)
    .sort();
  return `${metric}{${pairs.join(',')}}`;
}

const seen = new Set<string>();

function showCandidate(candidate: Candidate): void {
  // After a restart the same candidates may come again.
  const { fingerprint, timestampMs, phase, score, label } = candidate;
  if (!isNew(`${fingerprint}/${timestampMs}/${phase}`)) return;
  const what = Phase[phase].toLowerCase();
  console.log(`candidate ${timestampMs} ${nameOf(label)} ${what} score ${score.toFixed(3)}`);
}

function showAnomaly(anomaly: Anomaly): void {
  // Told when it opens, when it grows and when it ends: the last record of an onset is the newest.
  const { fingerprint, onsetMs, score, endMs, label } = anomaly;
  if (!isNew(`anomaly ${fingerprint}/${onsetMs}/${score}/${endMs}`)) return;
  const state = endMs === undefined ? 'open' : 'closed';
  console.log(`anomaly ${onsetMs} ${nameOf(label)} ${state} score ${score.toFixed(3)}`);
}

function isNew(key: string): boolean {
  if (seen.has(key)) return false;
  if (seen.size >= SEEN_MAX) seen.clear();
  seen.add(key);
  return true;
}

const kafka = new Kafka({
  clientId: 'treeline-consumer',
  brokers: options.brokers.split(','),
  logLevel: logLevel.ERROR,
});
const consumer = kafka.consumer({ groupId: options.group });
const topics = ['samples', 'candidates', 'anomalies'].map((topic) => `${options.prefix}.${topic}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await consumer.disconnect(); // finishes the message in work, commits, and leaves the group
    process.exit(0);
  });
}
consumer.on(consumer.events.GROUP_JOIN, () => console.error(`reading ${topics.join(' and ')}`));
await consumer.connect();
await consumer.subscribe({ topics, fromBeginning: options.from === 'beginning' });
await consumer.run({
  eachMessage: async ({ topic, message: { value } }) => {
    if (value === null) return;
    if (topic === topics[0]) showBlock(fromBinary(SampleBlockSchema, value));
    else if (topic === topics[1]) showCandidate(fromBinary(CandidateSchema, value));
    else showAnomaly(fromBinary(AnomalySchema, value));
  },
});
