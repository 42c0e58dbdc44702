// docs/fault-scenarios.md and the tests agree: what it names is there, and each scenario that it says is tested is named
// by a test in one of those files.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from './project-root.js';

const root = projectRoot();
/** Those that must be shown by a test, and not by a bench or by another property alone. */
const SHOWN = [...range(1, 9), ...range(11, 19), 22, 23, ...range(25, 30), 46, 47];

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** Number → files of its row; `simulation` stands for its test. */
function rows(): Map<number, string[]> {
  const text = readFileSync(join(root, 'docs/fault-scenarios.md'), 'utf8');
  const found = new Map<number, string[]>();
  for (const [, number, rest = ''] of text.matchAll(/^\| ([0-9]+) \|(.*)$/gm)) {
    const where = rest.split('|')[2] ?? '';
    const files = [...where.matchAll(/`([a-z/-]+\.(?:test|bench)\.ts)`/g)].map(([, name = '']) =>
      name.startsWith('bench/') ? name : `test/${name}`,
    );
    if (where.includes('simulation')) files.push('test/simulation.test.ts');
    found.set(Number(number), files);
  }
  return found;
}

/** The numbers that the names of its tests say. */
function named(file: string): Set<number> {
  const text = readFileSync(join(root, file), 'utf8');
  const lists = [...text.matchAll(/scenarios? ((?:[0-9]+(?:, )?)+)/g)].map(([, list = '']) => list);
  return new Set(lists.flatMap((list) => list.split(', ').filter(Boolean).map(Number)));
}

test('every row names files that exist', () => {
  const missing = [...rows().values()].flat().filter((file) => !existsSync(join(root, file)));
  expect(missing).toEqual([]);
  expect([...rows().values()].filter((files) => files.length === 0)).toEqual([]);
});

test('every scenario that must be shown is named by a test of its row', () => {
  const found = rows();
  const unnamed = SHOWN.filter(
    (number) => !(found.get(number) ?? []).some((file) => named(file).has(number)),
  );
  expect(unnamed).toEqual([]);
});
