// Bad inputs, rows 1 to 16: bodies that are no snappy block, or too large a one, in both versions of
// remote-write. Nothing of such a body is taken.

import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BODY_BYTES_MAX, DECODED_BYTES_MAX } from '../src/limits.js';
import {
  type BadInputs,
  good,
  headersOf,
  messageOf,
  openBadInputs,
  VERSIONS,
} from './bad-inputs.js';
import { endPrograms, eventually } from './programs.js';
import { randomBytes, randomOf } from './random.js';
import { compress, exchange, streamUntilAnswered, writeBody } from './remote-write-sender.js';
import { varint } from './wire-bytes.js';

let inputs: BadInputs;

beforeAll(async () => {
  inputs = await openBadInputs('bad-body');
});

afterAll(async () => {
  inputs.close();
  await endPrograms();
});

test.each(VERSIONS)(
  '1-7: version %i: what is no snappy block is refused whole',
  async (version) => {
    const { message } = messageOf(version, [good()]);
    const body = compress(message);
    const refuse = (bytes: Uint8Array, why: RegExp) =>
      inputs.refuse(bytes, { status: 400, why, version });
    const withFirst = (byte: number) => Buffer.concat([Buffer.from([byte]), body.subarray(1)]);
    await refuse(new Uint8Array(0), /^The body is empty/);
    await refuse(randomBytes(randomOf(42), 65_536), /not a snappy block/);
    await refuse(withFirst('0'.charCodeAt(0)), /not a snappy block/);
    await refuse(withFirst(0xff), /not a snappy block/);
    await refuse(Buffer.concat([Buffer.from('ff060000734e61507059', 'hex'), body]), /framed/);
    await refuse(gzipSync(message), /not a snappy block/);
    await refuse(message, /not a snappy block/);
  },
);

test.each(VERSIONS)('8-9: version %i: the declared length alone decides', async (version) => {
  const refuse = (hex: string, status: 400 | 413, why: RegExp) =>
    inputs.refuse(Buffer.from(hex, 'hex'), { status, why, version });
  await refuse('ffffffff0f0000000000', 413, /declares more than \d+ decoded bytes/);
  await refuse('8080808080010a0000', 400, /declared length is malformed/);
  await refuse('ffffffffff0f', 400, /declared length is malformed/);
  await refuse('80', 400, /declared length is malformed|cut off/);
});

test.each(VERSIONS)('10: version %i: the limit is taken, one byte more is not', async (version) => {
  const series = good();
  const { message } = messageOf(version, [series]);
  const padded = padTo(message, DECODED_BYTES_MAX);
  await inputs.take({ version, message: padded }, { samples: 2 });
  inputs.keep(series);
  const over = compress(padTo(message, DECODED_BYTES_MAX + 1));
  await inputs.refuse(over, { status: 413, why: /declares more than 33554432/, version });
});

test.each(VERSIONS)('11: version %i: a real bomb costs little time', async (version) => {
  const bomb = compress(new Uint8Array(DECODED_BYTES_MAX));
  expect(bomb.length).toBeLessThan(DECODED_BYTES_MAX / 15);
  const begun = performance.now();
  await inputs.refuse(bomb, { status: 400, why: /a tag is invalid/, version });
  expect(performance.now() - begun).toBeLessThan(3_000);
});

test.each(VERSIONS)(
  '12-13: version %i: elements that reach outside are refused',
  async (version) => {
    const refuse = (hex: string, why: RegExp) =>
      inputs.refuse(Buffer.from(hex, 'hex'), { status: 400, why, version });
    // Declared length, literal of one byte, copy of four: offset 0, offset 5, eleven bytes too many.
    await refuse('05' + '0061' + '0100', /copy reaches outside/);
    await refuse('05' + '0061' + '0105', /copy reaches outside/);
    await refuse('04' + '0061' + '1d01', /more than it declares/);
    // The same as copies with offsets of two and four bytes.
    await refuse('05' + '0061' + '0e0000', /copy reaches outside/);
    await refuse('05' + '0061' + '0e0500', /copy reaches outside/);
    await refuse('05' + '0061' + '0fffffffff', /copy reaches outside/);
    // Literals of 60, 2^16, 2^24 and 2^32 bytes, of which three follow.
    await refuse('64' + 'ec' + '616263', /cut off|more than it declares/);
    await refuse('808004' + 'f4ffff' + '616263', /cut off|more than it declares/);
    await refuse('80808008' + 'f8ffffff' + '616263', /cut off|more than it declares/);
    await refuse('80808008' + 'fcffffffff' + '616263', /cut off|more than it declares/);
    // Less and more than is declared.
    await refuse('05' + '0061', /less than it declares/);
    await refuse('01' + '0061' + '0061', /more than it declares/);
  },
);

test.each(VERSIONS)('14: version %i: a body cut off anywhere is refused', async (version) => {
  const body = compress(messageOf(version, [good()]).message);
  const answers = new Map<number, string>();
  for (let length = 0; length < body.length; length++) {
    const { status, text } = await inputs.sender.send(body.subarray(0, length), headersOf(version));
    answers.set(length, `${status} ${text === '' ? 'without a reason' : 'with a reason'}`);
  }
  expect(answers.size).toBeGreaterThan(40);
  expect([...answers].filter(([, answer]) => answer !== '400 with a reason')).toEqual([]);
});

test('15: a sender that goes away in the middle of its body leaves nothing behind', async () => {
  const body = writeBody([{ labels: { __name__: 'half' }, points: [[Date.now(), 1]] }]);
  const before = await inputs.metric('treeline_samples_received_total');
  const { hostname, port } = new URL(inputs.treeline.url);
  for (const sent of [0, 1, body.length - 1]) {
    await new Promise<void>((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port) }, () => {
        const head = Object.entries({ ...headersOf(1), 'Content-Length': String(body.length) })
          .map(([name, value]) => `${name}: ${value}\r\n`)
          .join('');
        socket.write(`POST /api/v1/write HTTP/1.1\r\nHost: ${hostname}\r\n${head}\r\n`);
        socket.write(body.subarray(0, sent), () => socket.destroy());
      });
      socket.on('close', () => resolve());
      socket.on('error', reject);
    });
  }
  const series = good();
  await inputs.take(messageOf(1, [series]), { samples: 2 });
  inputs.keep(series);
  expect(await inputs.metric('treeline_samples_received_total')).toBe(before + 2);
  // Counted by what it was, and no error of ours.
  expect(await inputs.metric('treeline_http_requests_total', { code: '499' })).toBeGreaterThan(0);
  expect(inputs.treeline.program.stderr()).not.toContain('ERROR');
});

test.each(VERSIONS)('16: version %i: too many bytes are refused on their way', async (version) => {
  const answers = () =>
    inputs.metric('treeline_http_requests_total', { route: '/api/v1/write', code: '413' });
  const before = await answers();
  const declared = await exchange(new URL('/api/v1/write', inputs.treeline.url), {
    method: 'POST',
    headers: { ...headersOf(version), 'Content-Length': String(BODY_BYTES_MAX + 1) },
    body: new Uint8Array(10),
  });
  expect([declared.status, declared.headers['connection']]).toEqual([413, 'close']);
  expect(declared.text).toContain(String(BODY_BYTES_MAX + 1));
  const text = await streamUntilAnswered(inputs.treeline.url, BODY_BYTES_MAX + 1024 * 1024);
  expect(text).toMatch(/^HTTP\/1\.1 413 /);
  expect(text).toMatch(/^connection: close\r$/im);
  expect(text).toContain(`more than ${BODY_BYTES_MAX} bytes`);
  await eventually('two answers to be counted', 5_000, async () =>
    (await answers()) === before + 2 ? true : undefined,
  );
});

test('the log holds the good series, and nothing of all this', async () => {
  await inputs.expectLog();
});

/** The message with an unknown field behind it, so that it has exactly so many bytes. */
function padTo(message: Uint8Array, bytes: number): Uint8Array {
  // Tag of field 100, type 2, and a length that four bytes can say.
  const head = [0xa2, 0x06];
  const content = bytes - message.length - head.length - 4;
  const length = varint(content, 4);
  expect(length).toHaveLength(4);
  const padded = Buffer.alloc(bytes, 'x');
  padded.set(message);
  padded.set([...head, ...length], message.length);
  return padded;
}
