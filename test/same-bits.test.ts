// The same bits on every Node that we support, in batches of any size, optimised or not, and as they were when the fixture
// was written. What a checkpoint holds and what a file's scores are must not depend on who computed them.
//
// After a change of what is computed: node dist/test/same-bits/print-bits.js > test/fixtures/same-bits.json

import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { nodeBinary } from './nodes.js';
import { runProgram } from './programs.js';

const NODES = { 20: '20.18.0', 22: '22.20.0', 24: '24.17.0' };
const FETCH_MS_MAX = 10 * 60_000;
const root = new URL('..', import.meta.url).pathname;
const program = new URL('../dist/test/same-bits/print-bits.js', import.meta.url).pathname;
const fixture = JSON.parse(readFileSync(`${root}test/fixtures/same-bits.json`, 'utf8')) as Record<
  string,
  string
>;
const binaries = new Map<string, string>();

beforeAll(async () => {
  const found = Object.entries(NODES).map(async ([major, version]) => {
    binaries.set(major, await nodeBinary(version));
  });
  await Promise.all(found);
}, FETCH_MS_MAX);

async function bitsOn(node: string): Promise<Record<string, string>> {
  const { code, stdout, stderr } = await runProgram(node, [program], { timeoutMs: 120_000 });
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Record<string, string>;
}

test('batches of any size and both builds of a module give the same bits', () => {
  const hashesOf = (name: string) =>
    new Set(Object.entries(fixture).flatMap(([key, bits]) => (key.startsWith(name) ? bits : [])));
  expect(Object.keys(fixture).filter((key) => key.startsWith('forest'))).toHaveLength(4);
  expect(hashesOf('forest').size).toBe(1);
  expect(hashesOf('decode').size).toBe(1);
});

test('this Node computes what the fixture says', async () => {
  expect(await bitsOn(process.execPath)).toEqual(fixture);
});

test.each(Object.keys(NODES))('Node %s computes what the fixture says', async (major) => {
  const binary = binaries.get(major) as string;
  const { stdout } = await runProgram(binary, ['--version'], { timeoutMs: 30_000 });
  expect(stdout).toMatch(new RegExp(`^v${major}\\.`));
  expect(await bitsOn(binary)).toEqual(fixture);
});
