// Judges a write request by its headers alone, before its body is read: method of compression, message, size.
// Remote-Write 1.0 is sent as `application/x-protobuf` with or without `proto=prometheus.WriteRequest`
// (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/, "Protocol"); media types by RFC 9110, section 8.3.

import type { IncomingHttpHeaders } from 'node:http';
import { BODY_BYTES_MAX } from '../limits.js';

export interface Refusal {
  status: 413 | 415;
  message: string;
}

const VERSION_1 = 'prometheus.WriteRequest';
const VERSION_2 = 'io.prometheus.write.v2.Request';

/** Undefined when the body may be read. */
export function negotiate(headers: IncomingHttpHeaders): Refusal | undefined {
  return (
    judgeType(headers['content-type']) ??
    judgeEncoding(headers['content-encoding']) ??
    judgeLength(headers['content-length'])
  );
}

function judgeType(header: string | undefined): Refusal | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  const [type = '', ...parameters] = header.split(';').map((part) => part.trim());
  if (type.toLowerCase() !== 'application/x-protobuf') {
    return unsupported(`Content-Type ${quote(type)} is not supported; send application/x-protobuf`);
  }
  for (const parameter of parameters) {
    const [name = '', value] = splitOnce(parameter);
    if (value === undefined)
      return unsupported(`Content-Type parameter ${quote(name)} has no value`);
    if (name.toLowerCase() !== 'proto') continue;
    const message = value.replace(/^"(.*)"$/, '$1');
    if (message === VERSION_2) {
      return unsupported(`Remote-write 2.0 (${VERSION_2}) is not supported; send ${VERSION_1}`);
    }
    if (message !== VERSION_1) {
      return unsupported(`Message ${quote(message)} is not supported; send ${VERSION_1}`);
    }
  }
  return undefined;
}

function judgeEncoding(header: string | undefined): Refusal | undefined {
  if (header === undefined || header.trim().toLowerCase() === 'snappy') return undefined;
  return unsupported(`Content-Encoding ${quote(header)} is not supported; send snappy`);
}

function judgeLength(header: string | undefined): Refusal | undefined {
  if (header === undefined || Number(header) <= BODY_BYTES_MAX) return undefined;
  return {
    status: 413,
    message: `The body has ${quote(header)} bytes, at most ${BODY_BYTES_MAX} are read; send smaller batches`,
  };
}

function unsupported(message: string): Refusal {
  return { status: 415, message };
}

function splitOnce(parameter: string): [string, string | undefined] {
  const at = parameter.indexOf('=');
  return at < 0
    ? [parameter, undefined]
    : [parameter.slice(0, at).trim(), parameter.slice(at + 1).trim()];
}

/** A header value as text that cannot break a line or a log. */
function quote(value: string): string {
  return JSON.stringify(value.slice(0, 100));
}
