// Bad inputs, rows 33 to 58: one bad series, sample or exemplar among good ones. The bad one is named
// and left out, the others are kept, and the counts of 2.0 are exact. Both versions where both can
// say it.

import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  FUTURE_MS_MAX,
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
} from '../src/limits.js';
import {
  type BadInputs,
  good,
  messageOf,
  openBadInputs,
  VERSIONS,
  type Version,
} from './bad-inputs.js';
import { endPrograms } from './programs.js';
import { partitionsAtRest } from './treeline-process.js';
import { bytesOf, delimited, tag, varint } from './wire-bytes.js';
import { type LabelPairs, type SeriesV2, writeRequestV2 } from './write-request-v2.js';

const NOW = Date.now();
const STALE = 0x7ff0000000000002n;
/** Samples of the three good series around the bad one. */
const GOOD_SAMPLES = 6;

let inputs: BadInputs;

beforeAll(async () => {
  inputs = await openBadInputs('bad-series');
});

afterAll(async () => {
  inputs.close();
  await endPrograms();
});

test.each(VERSIONS)('33-35: version %i: a series needs a metric name', async (version) => {
  const want = { reason: 'no_metric_name', rejected: 1, named: /: \{job="a"\}/ };
  await oneOfFour(version, { labels: { job: 'a' } }, want);
  const nothing = [
    ['__name__', ''],
    ['job', 'a'],
  ] as const;
  await oneOfFour(version, { labels: nothing }, { ...want, named: /job="a"/ });
  await oneOfFour(version, { labels: {} }, { ...want, named: /\{\}/ });
});

test.each(VERSIONS)('36: version %i: a label name comes once', async (version) => {
  const repeated = (labels: LabelPairs) =>
    oneOfFour(version, { labels }, { reason: 'duplicate_label', rejected: 1, named: /twice\{/ });
  const name = ['__name__', 'twice'] as const;
  await repeated([name, ['job', 'a'], ['job', 'b']]);
  await repeated([name, ['job', 'a'], ['zone', 'z'], ['job', 'b']]);
  await repeated([name, ['job', 'a'], ['zone', 'z'], ['job', 'a']]);
  await repeated([name, ['job', 'a'], ['__name__', 'twice']]);
});

test.each(VERSIONS)('37: version %i: a label name is not empty', async (version) => {
  const want = { reason: 'empty_label_name', rejected: 1, named: /nameless/ };
  await oneOfFour(version, { labels: { __name__: 'nameless', '': 'x' } }, want);
});

test.each(VERSIONS)('38-39: version %i: labels are valid UTF-8', async (version) => {
  // No continuation, overlong NUL, a surrogate, above U+10FFFF, cut off in the middle.
  for (const hex of ['c328', 'c080', 'eda080', 'f4908080', 'e282']) {
    const wrong = Buffer.from(hex, 'hex');
    const mark = '#'.repeat(wrong.length);
    for (const labels of [
      { __name__: 'broken', job: `x${mark}` },
      { __name__: 'broken', [`x${mark}`]: 'job' },
      { __name__: `broken${mark}` },
    ]) {
      const change = (message: Uint8Array) => {
        const copy = Buffer.from(message);
        wrong.copy(copy, copy.indexOf(mark));
        return copy;
      };
      const want = { reason: 'invalid_utf8', rejected: 1, named: /broken/, change };
      await oneOfFour(version, { labels }, want);
    }
  }
});

test.each(VERSIONS)(
  '40, 43: version %i: NUL, emoji, any order and empty values are right',
  async (version) => {
    for (const labels of [
      { __name__: 'nul', value: 'a\u0000b' },
      { __name__: 'température ambiante', 'job name': 'ß\n🙂' },
      { zone: 'z', __name__: 'unsorted', a: '1' },
      { __name__: 'bare', gone: '', job: 'x' },
    ]) {
      const one: SeriesV2 = {
        labels: { ...labels, version: String(version) },
        samples: [{ timestampMs: NOW, value: 1 }],
      };
      await inputs.take(messageOf(version, [one]), { samples: 1 });
      inputs.keep(one);
    }
  },
);

test.each(VERSIONS)('41-42: version %i: labels are bounded', async (version) => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`l${i}`, 'x']));
  const over = { __name__: 'many', ...many(LABELS_PER_SERIES_MAX) };
  await oneOfFour(
    version,
    { labels: over },
    { reason: 'too_many_labels', rejected: 1, named: /many\{l0="x"/ },
  );
  await oneOfFour(
    version,
    { labels: { __name__: 'long', ['n'.repeat(LABEL_NAME_BYTES_MAX + 1)]: 'x' } },
    { reason: 'label_name_too_long', rejected: 1, named: /long/ },
  );
  await oneOfFour(
    version,
    { labels: { __name__: 'long', job: 'v'.repeat(LABEL_VALUE_BYTES_MAX + 1) } },
    { reason: 'label_value_too_long', rejected: 1, named: /long/ },
  );
  const largest: SeriesV2 = {
    labels: {
      __name__: 'largest',
      version: String(version),
      ...many(LABELS_PER_SERIES_MAX - 4),
      ['n'.repeat(LABEL_NAME_BYTES_MAX)]: 'x',
      job: 'v'.repeat(LABEL_VALUE_BYTES_MAX),
    },
    samples: [{ timestampMs: NOW, value: 1 }],
  };
  await inputs.take(messageOf(version, [largest]), { samples: 1 });
  inputs.keep(largest);
});

test('44-45: references come in pairs and lie in the table', async () => {
  const odd = { reason: 'odd_references', rejected: 1, named: /odd/ };
  await oneOfFour(2, { refs: [1, 2, 3] }, odd);
  await oneOfFour(2, { refs: [1] }, odd);
  const outside = { reason: 'reference_out_of_range', rejected: 1, named: /out of range/ };
  await oneOfFour(2, { refs: [1, 999] }, outside);
  await oneOfFour(2, { refs: [999, 1] }, outside);
  await oneOfFour(2, { refs: [1, 2, 0xffffffff, 0] }, outside);
});

test('46: help and unit lie in the table, too', async () => {
  for (const [name, place] of [
    ['help', { helpRef: 999 }],
    ['unit', { unitRef: 999 }],
    ['both', { helpRef: 0xffffffff, unitRef: 0xffffffff }],
  ] as const) {
    const bad: SeriesV2 = {
      labels: { __name__: 'helpless', name },
      samples: [{ timestampMs: NOW, value: 1 }],
      metadata: { type: 'gauge', ...place },
    };
    await oneOfFour(2, bad, { reason: 'invalid_metadata', rejected: 1, named: /helpless/ });
  }
});

test('47: a reference above 2^32 never wraps to a valid one', async () => {
  const symbols = ['', '__name__', 'wrapped', 'job', 'x'];
  for (const above of [2n ** 32n, 2n ** 33n, 2n ** 63n]) {
    // The value of __name__ would be `wrapped`, if only the lower 32 bits counted.
    const refs = [...varint(1), ...varint(above + 2n)];
    for (const labels of [
      delimited(1, refs),
      [...tag(1, 0), 1, ...tag(1, 0), ...varint(above + 2n)],
    ]) {
      const message = Uint8Array.from([
        ...symbols.flatMap((symbol) => delimited(4, bytesOf(symbol))),
        ...delimited(5, [...labels, ...delimited(2, [...tag(2, 0), ...varint(NOW)])]),
      ]);
      await inputs.partly(
        { version: 2, message },
        { why: /out of range/, reason: 'reference_out_of_range', rejected: 1 },
      );
    }
  }
});

test('48: without symbols no series is right', async () => {
  const samples = [{ timestampMs: NOW, value: 1 }];
  for (const refs of [
    [1, 2],
    [0, 0],
  ]) {
    const message = writeRequestV2([{ refs, samples }], { symbols: [] });
    await inputs.partly(
      { version: 2, message },
      { why: /out of range/, reason: 'reference_out_of_range', rejected: 1 },
    );
  }
});

test('49: the symbol of a label name is not empty', async () => {
  const want = { reason: 'empty_label_name', rejected: 1, named: /empty label name/ };
  await oneOfFour(2, { refs: [1, 2, 0, 2] }, want);
});

test('50-51: exemplars or metadata alone are no series', async () => {
  const bare = { labels: { __name__: 'bare', version: '2' }, samples: [] };
  const exemplars = [{ labels: { trace_id: 'x' }, value: 1, timestampMs: NOW }];
  const want = { reason: 'no_samples', rejected: 0, named: /bare/ };
  await oneOfFour(2, { ...bare, exemplars }, want);
  await oneOfFour(2, { ...bare, metadata: { type: 'gauge', help: 'x', unit: 'y' } }, want);
  await oneOfFour(2, bare, want);
  await oneOfFour(1, bare, want);
});

test('52: an exemplar with wrong references is refused alone', async () => {
  for (const refs of [[1], [1, 999], [999, 1]]) {
    const series: SeriesV2 = {
      ...good(),
      exemplars: [
        { labels: { trace_id: 'right' }, value: 1, timestampMs: NOW },
        { refs, value: 1, timestampMs: NOW },
      ],
    };
    await inputs.partly(messageOf(2, [series]), {
      why: /1 .*exemplar/,
      reason: 'invalid_exemplar',
      rejected: 0,
      samples: 2,
      exemplars: 1,
    });
    inputs.keep(series);
  }
});

test.each(VERSIONS)(
  '53-55: version %i: late, other and same values are logged, and counted by the scorer',
  async (version) => {
    const outcome = async (name: string) => {
      await partitionsAtRest(inputs.treeline);
      return inputs.metric('treeline_samples_total', { outcome: name });
    };
    for (const [name, second] of [
      ['late', { timestampMs: NOW - 60_000, value: 2 }],
      ['conflict', { timestampMs: NOW, value: 2 }],
      ['duplicate', { timestampMs: NOW, value: 1 }],
    ] as const) {
      const before = await outcome(name);
      const series: SeriesV2 = {
        labels: { __name__: 'again', name, version: String(version) },
        samples: [{ timestampMs: NOW, value: 1 }, second],
      };
      await inputs.take(messageOf(version, [series]), { samples: 2 });
      inputs.keep(series);
      expect([name, (await outcome(name)) - before]).toEqual([name, 1]);
    }
  },
);

test.each(VERSIONS)(
  '56-57: version %i: the future is refused, sample by sample; the past is not',
  async (version) => {
    const future = [NOW + FUTURE_MS_MAX + 60_000, 2n ** 63n - 1n];
    for (const [index, timestampMs] of future.entries()) {
      const right = [
        { timestampMs: NOW - 1000, value: 1 },
        { timestampMs: NOW + FUTURE_MS_MAX - 60_000, value: 3 },
      ] as const;
      const labels = { __name__: 'early', index: String(index), version: String(version) };
      const samples = [right[0], { timestampMs, value: 2 }, right[1]];
      await inputs.partly(messageOf(version, [{ labels, samples }]), {
        why: /^1 of 3 samples rejected: 1 too far in future; first: too far in future: early\{/,
        reason: 'too_far_in_future',
        rejected: 1,
        samples: 2,
      });
      inputs.keep({ labels, samples: right });
    }
    // Exact beyond 2^53 as well.
    const past = [-(2n ** 63n), -(2n ** 53n) - 1n, -1, 0, 1].map((timestampMs, value) => ({
      timestampMs,
      value,
    }));
    const series = { labels: { __name__: 'old', version: String(version) }, samples: past };
    await inputs.take(messageOf(version, [series]), { samples: past.length });
    inputs.keep(series);
  },
);

test.each(VERSIONS)(
  '58: version %i: every 64 bits of a value arrive, a stale marker first',
  async (version) => {
    const bits = [STALE, 0x7ff8000000000001n, 0xfff8000000000000n, 0x8000000000000000n, 1n];
    const series: SeriesV2 = {
      labels: { __name__: 'bits', version: String(version) },
      samples: bits.map((value, i) => ({ timestampMs: NOW - 1000 + i, value })),
    };
    const stale: SeriesV2 = {
      labels: { __name__: 'stale', version: String(version) },
      samples: [{ timestampMs: NOW, value: STALE }],
    };
    await inputs.take(messageOf(version, [stale]), { samples: 1 });
    await inputs.take(messageOf(version, [series]), { samples: bits.length });
    inputs.keep(stale, series);
  },
);

test('the log holds the good series and the good samples, and nothing else', async () => {
  const logged = await inputs.expectLog();
  expect(logged.size).toBeGreaterThan(100);
});

interface Named {
  reason: string;
  /** Samples. */
  rejected: number;
  named: RegExp;
  change?: (message: Uint8Array) => Uint8Array;
}

/** The bad series as the third of four. */
async function oneOfFour(version: Version, bad: SeriesV2, want: Named): Promise<void> {
  const others = [good(), good(), good()] as const;
  const series = { samples: [{ timestampMs: NOW, value: 1 }], ...bad };
  const { message } = messageOf(version, [others[0], others[1], series, others[2]]);
  const words = want.reason.replaceAll('_', ' ');
  const sent = { version, message: want.change?.(message) ?? message };
  const total = GOOD_SAMPLES + want.rejected;
  const counts = want.rejected > 0 ? `${want.rejected} ${words}` : '1 .*';
  const answer = await inputs.partly(sent, {
    why: new RegExp(`^${want.rejected} of ${total} samples rejected: ${counts}; first: `),
    reason: want.reason,
    rejected: want.rejected,
    samples: GOOD_SAMPLES,
  });
  expect(answer.text).toMatch(want.named);
  inputs.keep(...others);
}
