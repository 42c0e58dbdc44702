import { expect, test } from 'vitest';
import { negotiate } from '../src/receiver/negotiation.js';

const V1 = 'prometheus.WriteRequest';
const V2 = 'io.prometheus.write.v2.Request';
const status = (headers: Record<string, string>) => negotiate(headers).refusal?.status;
const ok = (headers: Record<string, string>) =>
  expect([headers, negotiate(headers)]).toEqual([headers, { version: 1, refusal: undefined }]);
const no = (headers: Record<string, string>, want: number) =>
  expect([headers, status(headers)]).toEqual([headers, want]);

test('remote-write 1.0 is taken however its type is written', () => {
  ok({});
  ok({ 'content-type': 'application/x-protobuf' });
  ok({ 'content-type': 'APPLICATION/X-PROTOBUF' });
  ok({ 'content-type': 'application/x-protobuf;proto=prometheus.WriteRequest' });
  ok({ 'content-type': 'application/x-protobuf; Proto="prometheus.WriteRequest"; charset=utf-8' });
  ok({ 'content-encoding': 'snappy' });
  ok({ 'content-encoding': 'Snappy' });
  ok({ 'content-length': '1000' });
});

test('remote-write 2.0 is taken however its type is written', () => {
  const two = (type: string) =>
    expect([type, negotiate({ 'content-type': type })]).toEqual([
      type,
      { version: 2, refusal: undefined },
    ]);
  two(`application/x-protobuf;proto=${V2}`);
  two(`application/x-protobuf; proto=${V2}`);
  two(`application/x-protobuf ;\tPROTO = ${V2}`);
  two(`Application/X-Protobuf;proto="${V2}"`);
  two(`application/x-protobuf; charset=utf-8; proto=${V2};`);
  two(`application/x-protobuf; note="a;proto=yolo \\" b"; proto=${V2}`);
  two(`application/x-protobuf;;proto=${V2};proto=${V2}`);
  two(`application/x-protobuf;proto="io\\.prometheus.write.v2.Request"`);
});

test('the version is known once type and encoding are understood, and only then', () => {
  const type = { 'content-type': `application/x-protobuf;proto=${V2}` };
  const large = negotiate({ ...type, 'content-length': String(33 * 1024 * 1024) });
  expect([large.version, large.refusal?.status]).toEqual([2, 413]);
  const packed = negotiate({ ...type, 'content-encoding': 'zstd' });
  expect([packed.version, packed.refusal?.status]).toEqual([undefined, 415]);
});

test('other types, messages, encodings and sizes are refused by the headers alone', () => {
  no({ 'content-type': 'application/json' }, 415);
  no({ 'content-type': 'text/plain' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto=yolo' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v3.Request' }, 415);
  no({ 'content-type': `application/x-protobuf;proto=${V1.toLowerCase()}` }, 415);
  no({ 'content-type': `application/x-protobuf;proto=${V1};proto=${V2}` }, 415);
  no({ 'content-type': 'application/x-protobuf;proto=' }, 415);
  no({ 'content-type': `application/x-protobuf;proto="${V2}` }, 415);
  no({ 'content-encoding': 'gzip' }, 415);
  no({ 'content-encoding': 'snappy, gzip' }, 415);
  no({ 'content-encoding': 'identity' }, 415);
  no({ 'content-length': String(33 * 1024 * 1024) }, 413);
});

test('the sentence names what was sent and what to send', () => {
  const sentence = (headers: Record<string, string>) => negotiate(headers).refusal?.message;
  expect(sentence({ 'content-type': 'application/json' })).toBe(
    'Content-Type "application/json" is not supported; send application/x-protobuf',
  );
  expect(sentence({ 'content-encoding': 'gzip' })).toBe(
    'Content-Encoding "gzip" is not supported; send snappy',
  );
  expect(sentence({ 'content-type': 'application/x-protobuf;proto=yolo' })).toContain(
    `send ${V1} or ${V2}`,
  );
});
