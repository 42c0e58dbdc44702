// Bad inputs, rows 17 to 20 and 25 to 28: snappy blocks that hold no message, or one of the other
// version, and messages that are unusual and yet right, by the rules of the wire format
// (https://protobuf.dev/programming-guides/encoding/). The oracle for what is right is `fromBinary`
// of the generated code; the fuzz tests compare the two at length.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BadInputs, good, messageOf, openBadInputs, VERSIONS } from './bad-inputs.js';
import { endPrograms } from './programs.js';
import { compress, WRITE_HEADERS, WRITE_HEADERS_V2, writtenOf } from './remote-write-sender.js';
import { bytesOf, delimited, label, sample, series, tag, varint } from './wire-bytes.js';
import { type SeriesV2, writeRequestV2 } from './write-request-v2.js';

const NESTED_MAX = 100;
/** Where the series are in a message of each version. */
const SERIES_FIELD = { 1: 1, 2: 5 } as const;
const NOW = Date.now();

let inputs: BadInputs;

beforeAll(async () => {
  inputs = await openBadInputs('bad-protobuf');
});

afterAll(async () => {
  inputs.close();
  await endPrograms();
});

test.each(VERSIONS)(
  '17-18: version %i: a length that passes its parent is refused',
  async (version) => {
    const field = SERIES_FIELD[version];
    const wrap = (content: number[]) => delimited(field, content);
    for (const length of [
      varint(127),
      varint(0xffffffff),
      varint(2n ** 63n),
      varint(2n ** 64n - 1n),
    ]) {
      const cut = [...tag(field, 2), ...length];
      await refuse(version, cut, /past the end of its message/);
      // The same one level down, where enough bytes follow, but outside of the series.
      for (const inner of [1, 2, 3, 4]) {
        const nested = wrap([...tag(inner, 2), ...length]);
        await refuse(version, [...nested, ...wrap([])], /past the end of its message/);
      }
    }
  },
);

test.each(VERSIONS)('19: version %i: a varint of eleven bytes is refused', async (version) => {
  const field = SERIES_FIELD[version];
  const endless = [...Array.from({ length: 10 }, () => 0x80), 0x01];
  await refuse(version, endless, /varint is longer than 10 bytes|tag is invalid/);
  await refuse(version, [...tag(field, 2), ...endless], /varint is longer than 10 bytes/);
  const inSample = delimited(field, delimited(2, [...tag(2, 0), ...endless]));
  await refuse(version, inSample, /varint is longer than 10 bytes/);
  await refuse(version, [...tag(100, 0), ...endless], /varint is longer than 10 bytes/);
});

test.each(VERSIONS)('20: version %i: field number 0 is refused at every level', async (version) => {
  const field = SERIES_FIELD[version];
  for (const zero of [
    [0x00, 0x01],
    [0x02, 0x00],
    [0x01, 0, 0, 0, 0, 0, 0, 0, 0],
  ]) {
    await refuse(version, zero, /tag is invalid/);
    await refuse(version, delimited(field, zero), /tag is invalid/);
    await refuse(version, delimited(field, delimited(2, zero)), /tag is invalid/);
  }
  // Wire types 6 and 7 mean nothing.
  await refuse(version, [0x0e], /tag is invalid/);
  await refuse(version, [0x0f], /tag is invalid/);
});

test.each(VERSIONS)(
  '25: version %i: a known field of another wire type is an unknown field',
  async (version) => {
    const field = SERIES_FIELD[version];
    const kept = good();
    const { message } = messageOf(version, [kept]);
    const strange = [
      [...tag(field, 0), ...varint(7)],
      [...tag(field, 1), 1, 2, 3, 4, 5, 6, 7, 8],
      [...tag(field, 5), 1, 2, 3, 4],
      [...tag(field, 3), ...tag(9, 0), 1, ...tag(field, 4)],
      [...tag(4, 0), ...varint(7)],
    ];
    await inputs.take(
      { version, message: Uint8Array.from([...strange.flat(), ...message]) },
      { samples: 2 },
    );
    inputs.keep(kept);
    // A sample as a varint is no sample, so that the series has none.
    const inside = [...tag(2, 0), ...varint(7), ...tag(2, 5), 1, 2, 3, 4];
    const sampleless =
      version === 1
        ? Uint8Array.from(series(label('__name__', 'odd'), inside))
        : Uint8Array.from([
            ...['', '__name__', 'odd'].flatMap((symbol) => delimited(4, bytesOf(symbol))),
            ...delimited(5, [...delimited(1, [1, 2]), ...inside]),
          ]);
    await inputs.partly(
      { version, message: sampleless },
      { why: /no samples|without samples/, reason: 'no_samples', rejected: 0 },
    );
  },
);

test.each(VERSIONS)(
  '26: version %i: groups may nest to a depth and no further',
  async (version) => {
    const kept = good();
    const { message } = messageOf(version, [kept]);
    const nested = (depth: number) => [
      ...Array.from({ length: depth }, () => tag(15, 3)).flat(),
      ...Array.from({ length: depth }, () => tag(15, 4)).flat(),
    ];
    const within = Uint8Array.from([...nested(NESTED_MAX - 1), ...message]);
    await inputs.take({ version, message: within }, { samples: 2 });
    inputs.keep(kept);
    await refuse(version, nested(NESTED_MAX + 1), /groups are nested too deep/);
    await refuse(version, nested(100_000), /groups are nested too deep/);
    await refuse(
      version,
      Array.from({ length: 50 }, () => tag(15, 3)).flat(),
      /group|past the end/,
    );
    await refuse(version, tag(15, 4), /group ends that was not begun/);
  },
);

test.each(VERSIONS)(
  'version %i: unusual and right: order, unknown fields, long varints',
  async (version) => {
    const kept = good();
    const labels = kept.labels as Record<string, string>;
    const shape = { isUnpacked: true, isReversed: true };
    const samples = kept.samples ?? [];
    const reversed =
      version === 2
        ? Buffer.from(writeRequestV2([kept], shape))
        : Buffer.from(
            series(
              ...samples.map(({ timestampMs }, i) =>
                sample(timestampMs, i === 0 ? 0x3ff8000000000000n : 0xc002000000000000n),
              ),
              ...Object.entries(labels).map(([name, value]) => label(name, value)),
            ),
          );
    const unknown = [
      ...tag(77, 0),
      ...varint(1, 10),
      ...delimited(78, [1, 2, 3]),
      ...tag(79, 5),
      0,
      0,
      0,
      0,
    ];
    await inputs.take(
      { version, message: Buffer.concat([Buffer.from(unknown), reversed]) },
      { samples: 2 },
    );
    inputs.keep(kept);
  },
);

test('27: a 2.0 message that is said to be 1.0 is 415, and nothing of it is lost unsaid', async () => {
  const body = compress(writeRequestV2([good()]));
  const why = /looks like remote-write 2\.0/i;
  await inputs.refuse(body, { status: 415, why, version: 1 });
  const headers = {
    ...WRITE_HEADERS,
    'Content-Type': 'application/x-protobuf;proto=prometheus.WriteRequest',
  };
  await inputs.refuse(body, { status: 415, why, headers });
  const { 'Content-Type': _type, ...untyped } = WRITE_HEADERS;
  const answer = await inputs.sender.send(body, untyped);
  expect([answer.status, answer.text]).toEqual([415, expect.stringMatching(why)]);
});

test('28: a 1.0 message that is said to be 2.0 is 400 and counts nothing as written', async () => {
  const body = compress(messageOf(1, [good()]).message);
  await inputs.refuse(body, { status: 400, why: /looks like remote-write 1\.0/i, version: 2 });
});

test('a message without anything is right in both versions', async () => {
  for (const headers of [WRITE_HEADERS, WRITE_HEADERS_V2]) {
    const answer = await inputs.sender.send(compress(new Uint8Array(0)), headers);
    expect([answer.status, answer.text]).toEqual([204, '']);
    const isV2 = headers === WRITE_HEADERS_V2;
    const zeros = { samples: 0, histograms: 0, exemplars: 0 };
    expect(writtenOf(answer)).toEqual(isV2 ? zeros : undefined);
  }
});

test('a 1.0 message of metadata alone is right, and has nothing to log', async () => {
  const metadata = [
    ...tag(1, 0),
    1,
    ...delimited(2, bytesOf('requests')),
    ...delimited(4, bytesOf('help')),
  ];
  const message = Uint8Array.from(delimited(3, metadata));
  await inputs.take({ version: 1, message }, {});
});

test('one connection lives on after a request that was refused', async () => {
  const kept: SeriesV2 = good();
  const bad = messageOf(1, [{ labels: { job: 'x' }, samples: [{ timestampMs: NOW, value: 1 }] }]);
  await inputs.partly(bad, { why: /no metric name/, reason: 'no_metric_name', rejected: 1 });
  await inputs.take(messageOf(1, [kept]), {});
  inputs.keep(kept);
});

test('the log holds the good series, and nothing of all this', async () => {
  await inputs.expectLog();
});

async function refuse(version: 1 | 2, message: number[], why: RegExp): Promise<void> {
  const body = compress(Uint8Array.from(message));
  await inputs.refuse(body, { status: 400, why, version });
}
