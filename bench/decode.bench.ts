// How many samples one CPU-second turns from compressed remote-write bodies into blocks, beside
// snappy + fromBinary on the same bodies in the same run. Goals: the ratio, and that a
// faster-but-wrong decoder is seen (the hash). No goal: HTTP, the log, several cores. CPU time of
// all threads, median of the rounds. With --peers also beside decoders of others, see decode-peers.ts.
//
//   node dist/bench/decode.bench.js [--smoke] [--peers [--victoriametrics DIR]]

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { compressSync, uncompressSync } from 'snappy';
import { WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { RequestSchema } from '../src/gen/remote_write_v2_pb.js';
import type { Version } from '../src/receiver/bad-request.js';
import { type Decoded, WasmDecoder } from '../src/receiver/wasm-decoder.js';
import { setUpDecodePeers } from './decode-peers.js';
import { writeRequestBody, writeRequestBodyV2 } from './write-requests.js';

const { values: flags } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    victoriametrics: { type: 'string' },
  },
});
const isSmoke = flags.smoke;
const SERIES = isSmoke ? 200 : 2000;
const ROUNDS = isSmoke ? 3 : 15;
const ROUND_MICROSECONDS = isSmoke ? 2_000 : 150_000;
const PARTITIONS = 4;
const NOW_MS = 1_763_680_100_000;

const module = new WebAssembly.Module(readFileSync(new URL('../decode.wasm', import.meta.url)));

const peers = flags.peers ? await setUpDecodePeers(flags.victoriametrics) : undefined;
console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}, ${SERIES} series`);
for (const version of [1, 2] as const) {
  for (const samplesPerSeries of [1, 5]) await measure(version, samplesPerSeries);
}

async function measure(version: Version, samplesPerSeries: number): Promise<void> {
  const options = { seed: 777 + samplesPerSeries, series: SERIES, samplesPerSeries };
  const body = version === 1 ? writeRequestBody(options) : writeRequestBodyV2(options);
  const samples = SERIES * samplesPerSeries;
  console.log(
    `\nremote-write ${version}.0, K=${samplesPerSeries}, ${samples} samples, ${body.length} bytes`,
  );
  const decode = (to: WasmDecoder, tenant = ''): Decoded => {
    to.input(body.length).set(body);
    return to.decode(body.length, { tenant, nowMs: NOW_MS, version });
  };
  const fromObjects =
    version === 1
      ? () => fromBinary(WriteRequestSchema, uncompressSync(body) as Buffer)
      : () => fromBinary(RequestSchema, uncompressSync(body) as Buffer);

  const decoder = newDecoder();
  const announced = compressedBytes(decode(decoder)) / samples;
  const known = decode(decoder);
  const bytes = compressedBytes(known) / samples;
  const result = hashOf(known);
  const warm = medianMicroseconds(() => decode(decoder), 16);
  report('decode.wasm, series known', samples, warm);
  // Of a tenant never seen before every series is new: hashed, classified, announced.
  let tenants = 0;
  const cold = medianMicroseconds(() => decode(decoder, `tenant-${tenants++}`), 1);
  report('decode.wasm, series unknown', samples, cold);
  const objects = medianMicroseconds(fromObjects, 1);
  report('snappy + fromBinary', samples, objects);
  console.log(`  ratio ${(objects / warm).toFixed(1)}x`);
  for (const { name, rate } of (await peers?.measure(version, body)) ?? []) {
    report(name, samples, (samples / rate) * 1e6);
    console.log(`  ratio ${(samples / warm / (rate / 1e6)).toFixed(2)}x`);
  }
  const sizes = `${bytes.toFixed(1)}; with labels ${announced.toFixed(1)}`;
  console.log(`  block bytes per sample, snappy: ${sizes}`);
  console.log(`  result ${result}`);
}

function newDecoder(): WasmDecoder {
  return new WasmDecoder(module, {
    partitions: PARTITIONS,
    partitionBy: [['namespace', 'pod'], ['instance']],
    stripLabels: [],
    classify: () => 'keep',
  });
}

function medianMicroseconds(run: () => unknown, callsPerCheck: number): number {
  for (const until = cpuMicroseconds() + ROUND_MICROSECONDS * 2; cpuMicroseconds() < until; ) run();
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = cpuMicroseconds();
    let calls = 0;
    let spent = 0;
    do {
      for (let i = 0; i < callsPerCheck; i++) run();
      calls += callsPerCheck;
      spent = cpuMicroseconds() - start;
    } while (spent < ROUND_MICROSECONDS);
    rounds.push(spent / calls);
  }
  return rounds.sort((a, b) => a - b)[ROUNDS >> 1]!;
}

function cpuMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function report(what: string, samples: number, microseconds: number): void {
  const rate = (samples / microseconds).toFixed(2).padStart(7);
  const time = microseconds.toFixed(0).padStart(7);
  console.log(`  ${what.padEnd(30)} ${rate} M samples/CPU-s ${time} us per request`);
}

function compressedBytes(decoded: Decoded): number {
  return decoded.blocks.reduce(
    (sum, block) => sum + compressSync(Buffer.from(block.bytes)).length,
    0,
  );
}

function hashOf(decoded: Decoded): string {
  const hash = createHash('sha256');
  for (const block of decoded.blocks) hash.update(`${block.partition}:`).update(block.bytes);
  return hash.digest('hex').slice(0, 16);
}
