// Announcements read in place say what the general decoder says of the same bytes, whatever they are; and a partition to
// which a series is announced again as it was is not changed by it.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MetricType, SeriesInfoSchema } from '../src/gen/sample_block_pb.js';
import { labelPicker, readAnnouncement } from '../src/scorer/announcement.js';
import { scoringOf } from '../src/scorer/scoring.js';
import { randomBytes, randomOf } from './random.js';

const PICKED = ['namespace', 'job', '__name__'];
const pick = labelPicker(PICKED);

/** What the general decoder says; undefined when it cannot read them. */
function wanted(bytes: Uint8Array) {
  try {
    const { fingerprint, label, type, tenant } = fromBinary(SeriesInfoSchema, bytes);
    return {
      low: Number(fingerprint & 0xffffffffn),
      high: Number(fingerprint >> 32n),
      type,
      scoring: scoringOf(label, type),
      values: PICKED.map((name) => label.find((one) => one.name === name)?.value ?? ''),
      tenant,
    };
  } catch {
    return undefined; // whatever it throws, it is not a message
  }
}

function told(bytes: Uint8Array) {
  try {
    return { ...readAnnouncement(bytes), ...pick(bytes) };
  } catch {
    return undefined;
  }
}

const ok = (bytes: Uint8Array): void => {
  expect(told(bytes)).toEqual(wanted(bytes));
};

const text = fc.oneof(
  fc.constantFrom('', '__name__', 'le', 'namespace', 'job', 'ALERTS', 'x'.repeat(300), 'größe'),
  fc.constantFrom('a_total', 'a_sum', 'a_count', 'a_bucket', 'a', 'b'.repeat(127), 'c'.repeat(128)),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const announcement = fc
  .record({
    fingerprint: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    label: fc.array(fc.record({ name: text, value: text }), { maxLength: 12 }),
    type: fc.constantFrom(
      ...Array.from({ length: 8 }, (_, type) => type as MetricType),
      99 as MetricType,
      300 as MetricType,
    ),
    unit: text,
    tenant: text,
  })
  .map((fields) => toBinary(SeriesInfoSchema, create(SeriesInfoSchema, fields)));

test('what is announced is understood as the general decoder does, in any words', () => {
  fc.assert(fc.property(announcement, ok), { numRuns: 500, seed: 20_091 });
});

test('damaged or oddly written, it is refused when the general decoder refuses it, and else says the same', () => {
  const damaged = fc
    .tuple(announcement, fc.nat(), fc.nat(255), fc.nat())
    .map(([bytes, at, value, cut]) => {
      const copy = Uint8Array.from(bytes);
      if (copy.length > 0) copy[at % copy.length] = value;
      return cut % 3 === 0 ? copy.subarray(0, cut % (copy.length + 1)) : copy;
    });
  fc.assert(fc.property(damaged, ok), { numRuns: 1_000, seed: 20_092 });
  // Two messages in one, and bytes of nothing at all.
  fc.assert(
    fc.property(announcement, announcement, (one, other) => ok(Buffer.concat([one, other]))),
    { numRuns: 200, seed: 20_093 },
  );
  const random = randomOf(20_094);
  for (let i = 0; i < 2_000; i++) ok(randomBytes(random, i % 40));
});

test('bytes that are a part of a larger buffer are read where they lie', () => {
  const fields = {
    fingerprint: 0xfedcba9876543210n,
    label: [
      { name: '__name__', value: 'http_requests_total' },
      { name: 'job', value: 'api' },
    ],
    type: MetricType.UNSPECIFIED,
  };
  const bytes = toBinary(SeriesInfoSchema, create(SeriesInfoSchema, fields));
  const larger = new Uint8Array(bytes.length + 20).fill(0x61);
  larger.set(bytes, 7);
  const part = larger.subarray(7, 7 + bytes.length);
  expect(told(part)).toEqual({
    ...{ low: 0x76543210, high: 0xfedcba98, type: 0, scoring: 'guessed-counter' },
    ...{ values: ['', 'api', 'http_requests_total'], tenant: '' },
  });
  ok(part);
});
