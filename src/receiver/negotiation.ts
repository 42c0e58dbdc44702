// Judges a write request by its headers alone, before its body is read: method of compression, message, size.
// Remote-Write 1.0 is sent as `application/x-protobuf` with or without `proto=prometheus.WriteRequest`, 2.0 with
// `proto=io.prometheus.write.v2.Request` (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/, "Protocol");
// media types by RFC 9110, section 8.3. No other header has a say: senders forget the version header.

import type { IncomingHttpHeaders } from 'node:http';
import { BODY_BYTES_MAX } from '../limits.js';
import type { Version } from './bad-request.js';

export interface Refusal {
  status: 413 | 415;
  message: string;
}

export interface Negotiated {
  /** Undefined when type or encoding are not understood: then the sender may fall back to another. */
  version: Version | undefined;
  /** Undefined when the body may be read. */
  refusal: Refusal | undefined;
}

const VERSIONS = new Map<string, Version>([
  ['prometheus.WriteRequest', 1],
  ['io.prometheus.write.v2.Request', 2],
]);
const MESSAGES = [...VERSIONS.keys()].join(' or ');
/** One parameter: a name, and perhaps a value that is a token or a quoted string. */
const PARAMETER = /;\s*([^\s;="]*)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;]*))?/g;

export function negotiate(headers: IncomingHttpHeaders): Negotiated {
  const judged = judgeType(headers['content-type']);
  if (typeof judged !== 'number') return { version: undefined, refusal: judged };
  const refusal = judgeEncoding(headers['content-encoding']);
  if (refusal !== undefined) return { version: undefined, refusal };
  return { version: judged, refusal: judgeLength(headers['content-length']) };
}

function judgeType(header: string | undefined): Version | Refusal {
  if (header === undefined || header.trim() === '') return 1;
  const type = header.split(';', 1)[0]!.trim();
  if (type.toLowerCase() !== 'application/x-protobuf') {
    return unsupported(`Content-Type ${quote(type)} is not supported; send application/x-protobuf`);
  }
  let message: string | undefined;
  for (const [whole, name = '', value] of header.matchAll(PARAMETER)) {
    // RFC 9110 allows an empty parameter, as in "a/b;".
    if (whole.slice(1).trim() === '') continue;
    if (value === undefined) {
      return unsupported(`Content-Type parameter ${quote(name)} has no value`);
    }
    if (name.toLowerCase() !== 'proto') continue;
    const text = unquote(value.trim());
    if (message !== undefined && message !== text) {
      return unsupported(`Content-Type names two messages; send ${MESSAGES}`);
    }
    message = text;
  }
  if (message === undefined) return 1;
  return (
    VERSIONS.get(message) ??
    unsupported(`Message ${quote(message)} is not supported; send ${MESSAGES}`)
  );
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
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

/** A header value as text that cannot break a line or a log. */
function quote(value: string): string {
  return JSON.stringify(value.slice(0, 100));
}
