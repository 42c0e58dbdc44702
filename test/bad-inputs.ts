// What all files of bad inputs share: the running program, a sender, and a ledger of what the log
// must hold at the end. Each input is judged four ways: the status, the sentence of the answer, what
// was written (by the counts of a 2.0 answer, and read back from the log with generated code), and
// the counter that moved. The numbers in front of the titles count the 72 inputs through all files.

import { expect } from 'vitest';
import { bitsOf, keyOf, type LoggedSeries, readLogged } from './logged-series.js';
import { temporaryDirectory } from './programs.js';
import {
  type Answer,
  compress,
  openSender,
  type Sender,
  WRITE_HEADERS,
  WRITE_HEADERS_V2,
  type Written,
  writtenOf,
} from './remote-write-sender.js';
import {
  identityFaults,
  partitionsAtRest,
  readingOf,
  startTreeline,
  type Treeline,
} from './treeline-process.js';
import { delimited, label, sample, series as seriesOf } from './wire-bytes.js';
import {
  histogramBytes,
  type LabelPairs,
  type SeriesV2,
  writeRequestV2,
} from './write-request-v2.js';

export const PARTITIONS = 4;
export const VERSIONS = [1, 2] as const;
export type Version = (typeof VERSIONS)[number];
const NOTHING: Written = { samples: 0, histograms: 0, exemplars: 0 };
const ANSWER_BYTES_MAX = 1024;
const ROUTE = '/api/v1/write';

export interface Sent {
  version: Version;
  /** Before snappy. */
  message: Uint8Array;
}

export interface Refusal {
  status: 400 | 413 | 415;
  why: RegExp;
  /** 1 unless given. */
  version?: Version;
  headers?: Readonly<Record<string, string>>;
}

export interface PartialRefusal extends Partial<Written> {
  why: RegExp;
  /** Label of treeline_samples_rejected_total, and by how much it moves. */
  reason: string;
  rejected: number;
}

export interface BadInputs {
  readonly treeline: Treeline;
  readonly sender: Sender;
  /** Nothing of the compressed body is taken. */
  refuse(body: Uint8Array, want: Refusal): Promise<Answer>;
  /** A part of the message is refused; the rest, as many as wanted here, is taken. */
  partly(sent: Sent, want: PartialRefusal): Promise<Answer>;
  /** The message is taken whole. */
  take(sent: Sent, written: Partial<Written>): Promise<void>;
  /** From now on the log must hold this too. */
  keep(...series: readonly SeriesV2[]): void;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  /** Ends the program: its counters add up, and its log holds what was kept and nothing else. */
  expectLog(): Promise<Map<string, LoggedSeries>>;
  close(): void;
}

interface Ledger {
  points: string[];
  histograms: string[];
}

export async function openBadInputs(
  name: string,
  environment: Record<string, string> = {},
): Promise<BadInputs> {
  const dataDir = temporaryDirectory(name);
  const treeline = await startTreeline({
    dataDir,
    environment,
    args: ['--logging-level', 'warn'],
  });
  const sender = openSender(treeline.url);
  const ledger = new Map<string, Ledger>();
  const metric = async (metricName: string, labels: Record<string, string> = {}) =>
    readingOf(await treeline.metrics(), metricName, labels) ?? 0;
  const logged = () => metric('treeline_samples_logged_total');
  const post = (sent: Sent) => sender.send(compress(sent.message), headersOf(sent.version));

  return {
    treeline,
    sender,
    metric,
    async refuse(body, { status, why, version = 1, headers }) {
      const answers = () =>
        metric('treeline_http_requests_total', { route: ROUTE, code: String(status) });
      const before = [await logged(), await answers()] as const;
      const answer = await sender.send(body, { ...headersOf(version), ...headers });
      expect([answer.status, answer.text], answer.text).toEqual([
        status,
        expect.stringMatching(why),
      ]);
      expectPlain(answer);
      if (version === 2 && status === 400) expect(writtenOf(answer)).toEqual(NOTHING);
      else expect(writtenOf(answer) ?? NOTHING).toEqual(NOTHING);
      expect([await logged(), await answers()]).toEqual([before[0], before[1] + 1]);
      return answer;
    },
    async partly(sent, { why, reason, rejected, ...written }) {
      const rejections = () => metric('treeline_samples_rejected_total', { reason });
      const before = await rejections();
      const answer = await post(sent);
      expect([answer.status, answer.text], answer.text).toEqual([400, expect.stringMatching(why)]);
      expectPlain(answer);
      expect(writtenOf(answer)).toEqual(
        sent.version === 1 ? undefined : { ...NOTHING, ...written },
      );
      expect([reason, (await rejections()) - before]).toEqual([reason, rejected]);
      return answer;
    },
    async take(sent, written) {
      const answer = await post(sent);
      expect([answer.status, answer.text]).toEqual([204, '']);
      expect(writtenOf(answer)).toEqual(
        sent.version === 1 ? undefined : { ...NOTHING, ...written },
      );
    },
    keep(...series) {
      for (const one of series) {
        const key = keyOf(one.labels ?? {});
        const entry = ledger.get(key) ?? { points: [], histograms: [] };
        ledger.set(key, entry);
        for (const { timestampMs, value } of one.samples ?? []) {
          entry.points.push(`${timestampMs} ${bitsOf(value).toString(16)}`);
        }
        for (const { timestampMs } of one.histograms ?? []) entry.histograms.push(`${timestampMs}`);
      }
    },
    async expectLog() {
      await partitionsAtRest(treeline);
      expect.soft(identityFaults(await treeline.metrics())).toEqual([]);
      await treeline.stop();
      const found = await readLogged(dataDir, PARTITIONS);
      const texts = [...found].map(([key, { points, histograms }]): [string, Ledger] => [
        key,
        {
          points: points.map(([at, bits]) => `${at} ${bits.toString(16)}`),
          histograms: histograms.map(({ timestampMs }) => `${timestampMs}`),
        },
      ]);
      expect(Object.fromEntries(texts.sort())).toEqual(Object.fromEntries([...ledger].sort()));
      return found;
    },
    close: () => sender.close(),
  };
}

export function headersOf(version: Version): Readonly<Record<string, string>> {
  return version === 1 ? WRITE_HEADERS : WRITE_HEADERS_V2;
}

/** The same series in either version; 1.0 by hand, because its values may be any 64 bits. */
export function messageOf(version: Version, series: readonly SeriesV2[]): Sent {
  if (version === 2) return { version, message: writeRequestV2(series) };
  const bytes = series.map(({ labels = {}, samples = [], histograms = [] }) =>
    seriesOf(
      ...pairsOf(labels).map(([name, value]) => label(name, value)),
      ...samples.map(({ timestampMs, value }) => sample(timestampMs, bitsOf(value))),
      ...histograms.map((histogram) => delimited(4, histogramBytes(histogram))),
    ),
  );
  return { version, message: Uint8Array.from(bytes.flat()) };
}

function pairsOf(labels: LabelPairs): (readonly [string, string])[] {
  return Array.isArray(labels) ? [...labels] : Object.entries(labels);
}

/** A plain answer of at most one line and 1,024 bytes. */
export function expectPlain(answer: Answer): void {
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  expect(answer.headers['x-content-type-options']).toBe('nosniff');
  expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(ANSWER_BYTES_MAX);
  expect(answer.text.trimEnd().split(/[\r\n]/)).toHaveLength(1);
}

let goodSeries = 0;

/** A series that no other test of the file has, with two samples of the past minute. */
export function good(): SeriesV2 {
  const now = Date.now();
  return {
    labels: { __name__: 'good', number: String(goodSeries++) },
    samples: [
      { timestampMs: now - 15_000, value: 1.5 },
      { timestampMs: now, value: -2.25 },
    ],
  };
}
