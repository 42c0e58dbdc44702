// Series that are passed over without being read: never one that a selector matches, and nearly all of those that none does.

import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeriesInfoSchema } from '../src/gen/sample_block_pb.js';
import { anyOf, demandedBy } from '../src/matchers.js';
import { filterOf } from '../src/scorer/series-filter.js';

const value = fc.constantFrom('', 'a', 'ab', 'b"\\\n', 'größe', '=', '{x="a"}', 'pod-1', 'pod-12');
const name = fc.constantFrom('job', 'pod', 'my.label', '__name__');
const labels = fc.dictionary(name, value, { maxKeys: 4, noNullPrototype: true });
const labelTest = fc.record({
  name,
  operator: fc.constantFrom('=', '!=', '=~', '!~'),
  value: fc.oneof(value, fc.constantFrom('pod-.*', 'a|b', '.*', 'pod-1')),
});
const selector = fc
  .record({
    metric: fc.constantFrom('', 'up', 'a'),
    tests: fc.array(labelTest, { minLength: 1, maxLength: 3 }),
  })
  .map(({ metric, tests }) => {
    const texts = tests.map(
      (one) => `${JSON.stringify(one.name)}${one.operator}${JSON.stringify(plain(one))}`,
    );
    return `${metric}{${texts.join(',')}}`;
  });

/** A regular expression of these values must be one. */
function plain({ operator, value: text }: { operator: string; value: string }): string {
  return operator.includes('~') ? text.replace(/[{}"\\\n]/g, '') : text;
}

const announcementOf = (of: Record<string, string>) =>
  toBinary(
    SeriesInfoSchema,
    create(SeriesInfoSchema, {
      fingerprint: 7n,
      label: Object.entries(of).map(([key, text]) => ({ name: key, value: text })),
    }),
  );

test('what a selector matches is never passed over', () => {
  let passed = 0;
  fc.assert(
    fc.property(labels, fc.array(selector, { minLength: 1, maxLength: 3 }), (of, selectors) => {
      const pairs = Object.entries(of).map(([key, text]) => ({ name: key, value: text }));
      const mayMatch = filterOf(selectors)?.(announcementOf(of)) ?? true;
      if (anyOf(selectors)(pairs)) expect(mayMatch).toBe(true);
      else if (!mayMatch) passed++;
    }),
    { numRuns: 2_000 },
  );
  expect(passed).toBeGreaterThan(200);
});

test('what must be equal is demanded, and nothing else', () => {
  const ok = (selectors: string[], want: string[][] | undefined) =>
    expect([selectors, demandedBy(selectors)]).toEqual([selectors, want]);
  ok(['up'], [['up']]);
  ok(['up{job="a",pod=~"b.*",x!="c"}'], [['up', 'a']]);
  ok(['{"my.label"="x\\"y"}', `up{job='b'}`], [['x"y'], ['up', 'b']]);
  ok(['{job=""}'], undefined);
  ok(['up', '{job=~"a"}'], undefined);
  ok([], undefined);
});
