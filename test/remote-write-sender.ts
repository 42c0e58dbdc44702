// A remote-write sender as Prometheus is one: 1.0 bodies made with the generated code, 2.0 bodies
// written field by field (write-request-v2.ts), compressed with snappy, sent over connections that
// are kept alive, each answer reported as it came. It never retries by itself: what to do with an
// unanswered body is the test's business.

import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { compressSync } from 'snappy';
import { type TimeSeries, WriteRequestSchema } from '../src/gen/remote_write_v1_pb.js';
import { type RequestShape, type SeriesV2, writeRequestV2 } from './write-request-v2.js';

const ANSWER_MS_MAX = 30_000;

type Headers = Readonly<Record<string, string>>;
type Point = readonly [timestampMs: number, value: number];

export interface Series {
  /** As pairs where a name must come twice; sent in the order given. */
  labels: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
  points: readonly Point[];
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

export interface Sender {
  /** Resolves with the answer, whatever its status; rejects when there was none. */
  send(body: Uint8Array, headers?: Headers): Promise<Answer>;
  close(): void;
}

/** What a 1.0 sender says of its body, as Prometheus writes it. */
export const WRITE_HEADERS: Headers = {
  'Content-Type': 'application/x-protobuf',
  'Content-Encoding': 'snappy',
  'User-Agent': 'treeline-test',
  'X-Prometheus-Remote-Write-Version': '0.1.0',
};

/** What a 2.0 sender says of its body. */
export const WRITE_HEADERS_V2: Headers = {
  ...WRITE_HEADERS,
  'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request',
  'X-Prometheus-Remote-Write-Version': '2.0.0',
};

export interface Written {
  samples: number;
  histograms: number;
  exemplars: number;
}

/**
 * The counts of a 2.0 answer; undefined when none of the three headers is there, as on every 1.0
 * answer. One without the others, or anything but a decimal integer, is an error.
 */
export function writtenOf(answer: Answer): Written | undefined {
  const texts = ['samples', 'histograms', 'exemplars'].map(
    (kind) => answer.headers[`x-prometheus-remote-write-${kind}-written`],
  );
  if (texts.every((text) => text === undefined)) return undefined;
  if (!texts.every((text) => text !== undefined && /^(0|[1-9]\d*)$/.test(text))) {
    throw new Error(`Not the three counts of a 2.0 answer: ${JSON.stringify(answer.headers)}`);
  }
  const [samples, histograms, exemplars] = texts.map(Number) as [number, number, number];
  return { samples, histograms, exemplars };
}

/** A message before it is compressed. */
export function writeRequest(series: readonly Series[]): Uint8Array {
  const timeseries = series.map(
    ({ labels, points }) =>
      ({
        labels: pairsOf(labels).map(([name, value]) => ({ name, value })),
        samples: points.map(([timestampMs, value]) => ({ timestamp: BigInt(timestampMs), value })),
      }) as TimeSeries,
  );
  return toBinary(WriteRequestSchema, create(WriteRequestSchema, { timeseries }));
}

function pairsOf(labels: Series['labels']): readonly (readonly [string, string])[] {
  return isPairs(labels) ? labels : Object.entries(labels);
}

function isPairs(labels: Series['labels']): labels is readonly (readonly [string, string])[] {
  return Array.isArray(labels);
}

export function writeBody(series: readonly Series[]): Uint8Array {
  return compressSync(writeRequest(series));
}

export function writeBodyV2(series: readonly SeriesV2[], shape?: RequestShape): Uint8Array {
  return compressSync(writeRequestV2(series, shape));
}

export function compress(message: Uint8Array): Uint8Array {
  return compressSync(message);
}

/** `url` is that of the program; `connections` are opened as they are needed. */
export function openSender(url: string, connections = 1): Sender {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  return {
    send: (body, headers = WRITE_HEADERS) =>
      exchange(new URL('/api/v1/write', url), { method: 'POST', agent, body, headers }),
    close: () => agent.destroy(),
  };
}

/**
 * One request, to any path, with exactly these headers. Without a `Content-Length` the body is sent
 * in chunks.
 */
export function exchange(
  url: URL,
  options: { method: string; headers?: Headers; body?: Uint8Array; agent?: Agent },
): Promise<Answer> {
  const { method, body, agent } = options;
  const headers: Record<string, string> = { ...options.headers };
  if (body !== undefined && headers['Transfer-Encoding'] === undefined) {
    headers['Content-Length'] ??= String(body.length);
  }
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method, headers, ...(agent === undefined ? {} : { agent }), timeout: ANSWER_MS_MAX },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const pairs = Object.entries(incoming.headers).map(([name, value]) => [
            name,
            String(value),
          ]);
          resolve({
            status: incoming.statusCode ?? 0,
            headers: Object.fromEntries(pairs) as Record<string, string>,
            text: Buffer.concat(chunks).toString(),
          });
        });
      },
    );
    outgoing.on('timeout', () =>
      outgoing.destroy(new Error(`No answer within ${ANSWER_MS_MAX} ms`)),
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/**
 * Streams up to so many bytes without a Content-Length, until there is an answer; resolves with it,
 * raw.
 */
export function streamUntilAnswered(url: string, bytes: number): Promise<string> {
  const { hostname, port } = new URL(url);
  const piece = Buffer.alloc(64 * 1024, 'abcdefghijklmnopqrstuvwxyz');
  const chunk = Buffer.concat([
    Buffer.from(`${piece.length.toString(16)}\r\n`),
    piece,
    Buffer.from('\r\n'),
  ]);
  return new Promise((resolve, reject) => {
    let answer = '';
    let sent = 0;
    const socket = connect({ host: hostname, port: Number(port) });
    const push = () => {
      while (sent < bytes && answer === '' && !socket.destroyed) {
        sent += piece.length;
        if (!socket.write(chunk)) return void socket.once('drain', push);
      }
    };
    socket.on('connect', () => {
      const headers = Object.entries(WRITE_HEADERS).map(([name, value]) => `${name}: ${value}\r\n`);
      const start = `POST /api/v1/write HTTP/1.1\r\nHost: ${hostname}\r\n`;
      socket.write(`${start}Transfer-Encoding: chunked\r\n${headers.join('')}\r\n`);
      push();
    });
    socket.setTimeout(ANSWER_MS_MAX, () =>
      socket.destroy(new Error(`No answer within ${ANSWER_MS_MAX} ms`)),
    );
    socket.on('data', (text) => {
      answer += text.toString();
    });
    // A peer that closes while we still write resets the connection; what it said before counts.
    socket.on('error', (error) => (answer === '' ? reject(error) : resolve(answer)));
    socket.on('close', () => resolve(answer));
  });
}
