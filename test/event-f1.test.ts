// Event-F1 by its definition, on series short enough to be counted by eye: 200 rows, of which the
// first 30 are not judged.

import { expect, test } from 'vitest';
import { type EventScore, eventScoreAt, judgedSeries, sweptEventScore } from '../bench/event-f1.js';
import { type LabelledSeries, type Segment, segmentsOf } from '../bench/labelled-series.js';

const ROWS = 200;

function seriesOf(segments: readonly Segment[]): LabelledSeries {
  const values = new Float64Array(ROWS);
  return { name: 'made', timestampsMs: values.map((_, row) => 60_000 * row), values, segments };
}

function judged(entries: Record<number, number>, segments: readonly Segment[]) {
  const scores = new Float64Array(ROWS);
  for (const [row, score] of Object.entries(entries)) scores[Number(row)] = score;
  return judgedSeries(seriesOf(segments), scores);
}

function rowsFrom(from: number, count: number): Record<number, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [from + i, 1]));
}

function ok(
  entries: Record<number, number>,
  segments: readonly Segment[],
  want: Partial<EventScore>,
) {
  expect(eventScoreAt([judged(entries, segments)], 1)).toMatchObject(want);
}

const SEGMENT = { from: 100, to: 130 };

test('a segment is found within its first eight rows, and not later', () => {
  ok({ 100: 1 }, [SEGMENT], { found: 1, falseAlarms: 0, events: 1, f1: 1 });
  ok({ 107: 1 }, [SEGMENT], { found: 1, falseAlarms: 0, f1: 1 });
  ok({ 108: 1 }, [SEGMENT], { found: 0, falseAlarms: 0, f1: 0 });
  ok({ 102: 1 }, [{ from: 100, to: 102 }], { found: 0, falseAlarms: 0 });
});

test('a score that stays high is another alarm every fifteen rows', () => {
  ok(rowsFrom(40, 15), [SEGMENT], { falseAlarms: 1 });
  ok(rowsFrom(40, 16), [SEGMENT], { falseAlarms: 2 });
  ok(rowsFrom(40, 45), [SEGMENT], { falseAlarms: 3 });
});

test('an alarm is true when any of its rows lies in a label or within seven rows behind it', () => {
  ok({ 85: 1 }, [SEGMENT], { falseAlarms: 1 });
  ok({ 86: 1 }, [SEGMENT], { falseAlarms: 0, found: 0 });
  ok({ 136: 1 }, [SEGMENT], { falseAlarms: 0 });
  ok({ 137: 1 }, [SEGMENT], { falseAlarms: 1 });
});

test('the first rows of an alarm that began before a label still find it', () => {
  ok(rowsFrom(95, 6), [SEGMENT], { found: 1, falseAlarms: 0 });
});

test('the first 15 % is not judged: neither its alarms nor its labels', () => {
  ok({ 29: 1 }, [SEGMENT], { falseAlarms: 0 });
  ok({ 30: 1 }, [SEGMENT], { falseAlarms: 1 });
  ok({ 5: 1 }, [{ from: 5, to: 12 }], { events: 0, found: 0 });
  ok({ 30: 1 }, [{ from: 10, to: 40 }], { events: 1, found: 1, falseAlarms: 0 });
});

test('F1 counts over all series with one threshold, at its best when swept', () => {
  const loud = judged({ 60: 3, 100: 9 }, [SEGMENT]);
  const quiet = judged({ 60: 1, 100: 2 }, [SEGMENT]);
  expect(eventScoreAt([loud, quiet], 2)).toEqual({
    f1: (2 * 2) / (2 + 1 + 2),
    threshold: 2,
    found: 2,
    falseAlarms: 1,
    events: 2,
  });
  expect(sweptEventScore([loud, quiet])).toMatchObject({ threshold: 2, found: 2, falseAlarms: 1 });
  expect(sweptEventScore([loud])).toMatchObject({ f1: 1, threshold: 9 });
  expect(sweptEventScore([judged({}, [SEGMENT])])).toMatchObject({ f1: 0, found: 0, events: 1 });
});

test('turning scores upside down finds nothing that was found', () => {
  const entries = { ...rowsFrom(30, 70), ...rowsFrom(108, 92) };
  expect(sweptEventScore([judged({ 100: 1 }, [SEGMENT])]).f1).toBe(1);
  expect(sweptEventScore([judged(entries, [SEGMENT])]).f1).toBe(0);
});

test('runs of labels are segments', () => {
  const segments = segmentsOf([false, true, true, false, true]);
  expect(segments).toEqual([
    { from: 1, to: 3 },
    { from: 4, to: 5 },
  ]);
});
