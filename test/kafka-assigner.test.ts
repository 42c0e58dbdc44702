// Who of a consumer group reads what: every partition once, balanced to within one, and as few moved as can be.

import { expect, test } from 'vitest';
import { decodeOwned, encodeOwned, type Member, shareOut } from '../src/log/kafka-assigner.js';
import { randomOf } from './random.js';

function members(...owned: number[][]): Member[] {
  return owned.map((partitions, index) => ({ id: `m${index}`, owned: partitions, sinceMs: 1 }));
}

function shares(partitions: number, said: readonly Member[]): number[][] {
  const shared = shareOut(partitions, said);
  return said.map(({ id }) => shared.get(id) ?? []);
}

test('partitions stay where they are as far as balance allows', () => {
  const ok = (partitions: number, before: number[][], after: number[][]) =>
    expect(shares(partitions, members(...before))).toEqual(after);
  ok(4, [[]], [[0, 1, 2, 3]]);
  ok(
    4,
    [[], []],
    [
      [0, 1],
      [2, 3],
    ],
  );
  ok(
    4,
    [[0, 1, 2, 3], []],
    [
      [0, 1],
      [2, 3],
    ],
  );
  ok(
    5,
    [[0, 1, 2, 3, 4], []],
    [
      [0, 1, 2],
      [3, 4],
    ],
  );
  ok(
    5,
    [
      [0, 1],
      [2, 3, 4],
    ],
    [
      [0, 1],
      [2, 3, 4],
    ],
  );
  ok(
    4,
    [[0, 3], [2]],
    [
      [0, 3],
      [1, 2],
    ],
  );
  ok(2, [[0], [1], []], [[0], [1], []]);
  ok(6, [[0, 1], [2, 3], [4, 5], []], [[0, 1], [2, 3], [4], [5]]);
});

test('of two who say that they have a partition, the one who was given it last keeps it', () => {
  const zombie = { id: 'a', owned: [0, 1, 2], sinceMs: 10 };
  const heir = { id: 'b', owned: [0, 1, 2], sinceMs: 20 };
  const shared = shareOut(3, [zombie, heir]);
  expect([shared.get('a'), shared.get('b')]).toEqual([[2], [0, 1]]);
});

test('any members that come and go: each partition once, balanced, and no move too many', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomOf(seed);
    const partitions = 1 + Math.floor(random() * 64);
    let said: Member[] = [];
    for (let step = 0; step < 12; step++) {
      const stay = said.filter(() => random() > 0.3);
      const come = Array.from({ length: Math.floor(random() * 3) }, (_, index) => ({
        id: `s${step}-${index}`,
        owned: [],
        sinceMs: 0,
      }));
      said = [...stay, ...come];
      if (said.length === 0) continue;
      const shared = shareOut(partitions, said);
      const sizes = [...shared.values()].map((share) => share.length);
      const all = [...shared.values()].flat().toSorted((a, b) => a - b);
      const where = `seed ${seed}, step ${step}`;
      expect(all, where).toEqual(Array.from({ length: partitions }, (_, index) => index));
      expect(Math.max(...sizes) - Math.min(...sizes), where).toBeLessThanOrEqual(1);
      const kept = said.reduce(
        (sum, { id, owned }) =>
          sum + (shared.get(id) ?? []).filter((one) => owned.includes(one)).length,
        0,
      );
      expect(kept, where).toBe(mostThatCanStay(partitions, said));
      said = said.map(({ id }) => ({ id, owned: shared.get(id) ?? [], sinceMs: step + 1 }));
    }
  }
});

/** By trying who gets the odd ones: those who have most to lose. */
function mostThatCanStay(partitions: number, said: readonly Member[]): number {
  const least = Math.floor(partitions / said.length);
  const sizes = said.map(({ owned }) => owned.length);
  const odd = sizes.filter((size) => size > least).length;
  return (
    sizes.reduce((sum, size) => sum + Math.min(size, least), 0) +
    Math.min(odd, partitions % said.length)
  );
}

test('what a member says of itself comes back, and nonsense is taken for nothing', () => {
  const all = Array.from({ length: 64 }, (_, partition) => partition);
  const said = encodeOwned(all, 1_700_000_000_000);
  expect(said.length).toBe(11 + 2 * 64);
  expect(decodeOwned(said, 64)).toEqual({ owned: all, sinceMs: 1_700_000_000_000 });
  const nothing = { owned: [], sinceMs: 0 };
  expect(decodeOwned(said, 63)).toEqual(nothing);
  expect(decodeOwned(said.subarray(0, -1), 64)).toEqual(nothing);
  expect(decodeOwned(Buffer.from([2, ...said.subarray(1)]), 64)).toEqual(nothing);
  expect(decodeOwned(Buffer.alloc(0), 64)).toEqual(nothing);
});
