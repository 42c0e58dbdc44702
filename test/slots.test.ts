import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NO_ENTRY, NO_SLOT, Slots } from '../src/scorer/slots.js';

const LIMITS = { slotsMax: 1000, entriesMax: 3000 };
const scored = { isScored: true, streamTimeMs: 1 };

function words(number: number): { low: number; high: number } {
  return { low: Math.imul(number, 0x9e3779b1) >>> 0, high: Math.imul(number, 0x85ebca6b) >>> 0 };
}

function filled(count: number): Slots {
  const slots = new Slots(LIMITS);
  for (let i = 0; i < count; i++) slots.add(words(i), Buffer.from(`series ${i}`), scored);
  return slots;
}

test('every series that was added is found again, with its announcement', () => {
  const slots = filled(1000);
  for (let i = 0; i < 1000; i++) {
    const { low, high } = words(i);
    const entry = slots.find(low, high);
    expect(slots.slotOf(entry)).toBe(i);
    expect(Buffer.from(slots.announcement(entry)).toString()).toBe(`series ${i}`);
  }
  expect(slots.find(1, 1)).toBe(NO_ENTRY);
});

test('both halves of a fingerprint count', () => {
  const slots = new Slots(LIMITS);
  const a = slots.add({ low: 5, high: 1 }, Buffer.from('a'), scored);
  const b = slots.add({ low: 5, high: 2 }, Buffer.from('b'), scored);
  const c = slots.add({ low: 6, high: 1 }, Buffer.from('c'), scored);
  expect([slots.find(5, 1), slots.find(5, 2), slots.find(6, 1)]).toEqual([a, b, c]);
});

test('unscored series take no slot, and both limits refuse', () => {
  const slots = new Slots({ slotsMax: 2, entriesMax: 4 });
  const unscored = { isScored: false, streamTimeMs: 1 };
  expect(slots.slotOf(slots.add(words(1), Buffer.from('a'), unscored))).toBe(NO_SLOT);
  slots.add(words(2), Buffer.from('b'), scored);
  slots.add(words(3), Buffer.from('c'), scored);
  expect(slots.add(words(4), Buffer.from('d'), scored)).toBe(NO_ENTRY);
  expect(slots.add(words(4), Buffer.from('d'), unscored)).not.toBe(NO_ENTRY);
  expect(slots.add(words(5), Buffer.from('e'), unscored)).toBe(NO_ENTRY);
  expect([slots.count, slots.scored, slots.slotEnd]).toEqual([4, 2, 2]);
});

test('freed slots are taken again, lowest first', () => {
  const slots = filled(10);
  slots.remove([7, 2, 4]);
  expect(slots.find(words(4).low, words(4).high)).toBe(NO_ENTRY);
  const entries = [20, 21, 22, 23].map((i) => slots.add(words(i), Buffer.from('new'), scored));
  expect(entries).toEqual([2, 4, 7, 10]);
  expect(entries.map((entry) => slots.slotOf(entry))).toEqual([2, 4, 7, 10]);
});

test('a longer announcement replaces a shorter one, and the arena is compacted in time', () => {
  const slots = filled(100);
  const sizes = [];
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 100; i++) {
      const { low, high } = words(i);
      slots.replaceAnnouncement(slots.find(low, high), Buffer.from('x'.repeat(100 + (round % 7))));
    }
    sizes.push(slots.bytes);
  }
  // 20,000 replacements of 100 bytes would be 2 MB if nothing were given back.
  expect(Math.max(...sizes)).toBeLessThan(300_000);
});

test('restored from its rows it goes on exactly as the original', () => {
  const step = fc.record({ id: fc.nat(60), remove: fc.boolean(), scored: fc.boolean() });
  const steps = fc.array(step, { minLength: 50, maxLength: 200 });
  fc.assert(
    fc.property(steps, steps, (before, after) => {
      const original = new Slots(LIMITS);
      for (const one of before) play(original, one);
      const copy = new Slots(LIMITS);
      for (let entry = 0; entry < original.entryEnd; entry++) {
        if (!original.isUsed(entry)) continue;
        const row = {
          low: original.lowOf(entry),
          high: original.highOf(entry),
          slot: original.slotOf(entry),
          seen: original.seenAt(entry),
        };
        copy.restore(entry, row, original.announcement(entry));
      }
      copy.finishRestore(original.entryEnd, original.slotEnd);
      for (const one of after) expect(play(copy, one)).toEqual(play(original, one));
      expect([copy.count, copy.scored, copy.slotEnd, copy.entryEnd]).toEqual([
        original.count,
        original.scored,
        original.slotEnd,
        original.entryEnd,
      ]);
    }),
  );
});

function play(
  slots: Slots,
  { id, remove, scored: isScored }: { id: number; remove: boolean; scored: boolean },
) {
  const { low, high } = words(id);
  const entry = slots.find(low, high);
  if (entry === NO_ENTRY) {
    const added = slots.add({ low, high }, Buffer.from(`s${id}`), { isScored, streamTimeMs: id });
    return [added, slots.slotOf(added)];
  }
  if (remove) slots.remove([entry]);
  return [entry];
}

test('a restart is possible when all but the first series have been forgotten', () => {
  // More than the arrays hold at first, less than would fill the table.
  const limits = { slotsMax: 2000, entriesMax: 6000 };
  const restored = new Slots(limits);
  restored.restore(0, { ...words(0), slot: 0, seen: 1 }, Buffer.from('series 0'));
  restored.finishRestore(1000, 1000);
  expect([restored.count, restored.entryEnd, restored.slotEnd]).toEqual([1, 1000, 1000]);
  const used = Array.from({ length: 1000 }, (_, entry) => restored.isUsed(entry));
  expect(used.filter(Boolean)).toHaveLength(1);
  expect(restored.find(words(0).low, words(0).high)).toBe(0);
  expect(restored.find(0, 1)).toBe(NO_ENTRY);
  for (let i = 1; i < 1000; i++) {
    expect(restored.add(words(i), Buffer.from(`series ${i}`), scored)).toBe(i);
  }
  expect(Buffer.from(restored.announcement(999)).toString()).toBe('series 999');
});
