import { expect, test } from 'vitest';
import { negotiate } from '../src/receiver/negotiation.js';

const status = (headers: Record<string, string>) => negotiate(headers)?.status;
const ok = (headers: Record<string, string>) =>
  expect([headers, status(headers)]).toEqual([headers, undefined]);
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

test('other types, messages, encodings and sizes are refused by the headers alone', () => {
  no({ 'content-type': 'application/json' }, 415);
  no({ 'content-type': 'text/plain' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto=yolo' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto' }, 415);
  no({ 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' }, 415);
  no({ 'content-type': 'application/x-protobuf; proto=io.prometheus.write.v2.Request' }, 415);
  no({ 'content-encoding': 'gzip' }, 415);
  no({ 'content-encoding': 'snappy, gzip' }, 415);
  no({ 'content-encoding': 'identity' }, 415);
  no({ 'content-length': String(33 * 1024 * 1024) }, 413);
});

test('the sentence names what was sent and what to send', () => {
  const sentence = (headers: Record<string, string>) => negotiate(headers)?.message;
  expect(sentence({ 'content-type': 'application/json' })).toBe(
    'Content-Type "application/json" is not supported; send application/x-protobuf',
  );
  expect(sentence({ 'content-encoding': 'gzip' })).toBe(
    'Content-Encoding "gzip" is not supported; send snappy',
  );
  expect(sentence({ 'content-type': 'application/x-protobuf;proto=yolo' })).toContain(
    'send prometheus.WriteRequest',
  );
});
