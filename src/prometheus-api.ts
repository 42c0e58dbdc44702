// One request to the HTTP API of a Prometheus (https://prometheus.io/docs/prometheus/latest/querying/api/), or of what
// speaks it, and a plain word for what came back. The answer is bounded in bytes and time, because it comes from a machine
// that is not ours; redirects are not followed, because they would carry the credential elsewhere. What may succeed later
// (`away`) and what will not (`refused`) are told apart here and nowhere else; nothing is tried twice here.

import { OperatingError } from './errors.js';
import {
  PROMETHEUS_ANSWER_BYTES_MAX,
  PROMETHEUS_ANSWER_MS_MAX,
  PROMETHEUS_REASON_CHARACTERS_MAX,
  PROMETHEUS_WARNINGS_MAX,
} from './limits.js';
import { withoutSecrets } from './secret-file.js';

export type ApiReply =
  | { kind: 'answer'; value: unknown; warnings: string[] }
  /** The same request will not succeed; `reason` holds Prometheus' own words where there are any. */
  | { kind: 'refused'; status: number; reason: string }
  /** It may, later: nobody answers (`status` 0), not in time (`isLate`), 429 or 5xx. */
  | { kind: 'away'; status: number; reason: string; isLate: boolean; retryAfterMs: number }
  | { kind: 'too_large'; reason: string };

export interface AskOptions {
  answerBytesMax?: number;
  answerMsMax?: number;
  signal?: AbortSignal;
}

export interface PrometheusApi {
  /** Without user and password. */
  readonly address: string;
  /** `path` below /api/v1. Rejects only when `signal` is aborted. */
  ask(
    path: string,
    parameters?: Readonly<Record<string, string>>,
    options?: AskOptions,
  ): Promise<ApiReply>;
}

/** Above this the parameters go into the body: proxies cut addresses at 8 KiB, and read-only ones take GET alone. */
const ADDRESS_CHARACTERS_MAX = 4_000;
const RETRY_AFTER_S_MAX = 60;

/**
 * Throws `config_invalid` when `url` is no address. User and password may stand in it; `authorization` gives the header
 * instead, asked anew for each request, as tokens change.
 */
export function openPrometheusApi(
  url: string,
  authorization?: () => string | undefined,
): PrometheusApi {
  const { origin, pathname, username, password } = parsed(url);
  const root = `${origin}${pathname.replace(/\/+$/, '')}`;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const own = username === '' ? undefined : basicAuthorization(pair);

  async function ask(
    path: string,
    parameters: Readonly<Record<string, string>> = {},
    options: AskOptions = {},
  ): Promise<ApiReply> {
    const { answerBytesMax = PROMETHEUS_ANSWER_BYTES_MAX, answerMsMax = PROMETHEUS_ANSWER_MS_MAX } =
      options;
    const late = AbortSignal.timeout(answerMsMax);
    const signal = options.signal === undefined ? late : AbortSignal.any([late, options.signal]);
    const search = new URLSearchParams(parameters).toString();
    const isLong = search.length > ADDRESS_CHARACTERS_MAX;
    const address = `${root}/api/v1/${path}${search === '' || isLong ? '' : `?${search}`}`;
    const header = authorization?.() ?? own;
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (header !== undefined) headers['Authorization'] = header;
    if (isLong) headers['Content-Type'] = 'application/x-www-form-urlencoded';
    try {
      const answer = await fetch(address, {
        headers,
        signal,
        redirect: 'manual',
        ...(isLong && { method: 'POST', body: search }),
      });
      const text = await bounded(answer, answerBytesMax);
      if (text === undefined) {
        return { kind: 'too_large', reason: `the answer has more than ${answerBytesMax} bytes` };
      }
      return replyOf(answer, text);
    } catch (error) {
      if (options.signal?.aborted === true) throw error;
      // A TypeError of fetch: no connection, or one that broke. A DOMException: the time was up.
      const isLate = late.aborted;
      const reason = isLate ? `no answer within ${answerMsMax / 1000} s` : causeOf(error);
      return { kind: 'away', status: 0, reason, isLate, retryAfterMs: 0 };
    }
  }

  return { address: root, ask };
}

/** `pair` is user:password. */
export function basicAuthorization(pair: string): string {
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

function parsed(url: string): URL {
  const found = URL.canParse(url) ? new URL(url) : undefined;
  if (found !== undefined && /^https?:$/.test(found.protocol)) return found;
  const shown = JSON.stringify(withoutSecrets(url));
  throw new OperatingError('config_invalid', `${shown} is no address; write http://HOST:PORT`);
}

interface Envelope {
  status?: unknown;
  data?: unknown;
  error?: unknown;
  errorType?: unknown;
  warnings?: unknown;
  infos?: unknown;
  /** VictoriaMetrics and others: some of their storage did not answer. */
  isPartial?: unknown;
}

function replyOf(answer: Response, text: string): ApiReply {
  const { status, headers } = answer;
  const body = envelopeOf(text);
  if (status >= 300 && status < 400) {
    const to = withoutSecrets(headers.get('location') ?? 'elsewhere');
    const reason = `it redirects to ${String(to)}; give the address that answers itself`;
    return { kind: 'refused', status, reason };
  }
  if (status === 429 || status >= 500) {
    const isLate = body?.errorType === 'timeout';
    return {
      kind: 'away',
      status,
      reason: reasonOf(answer, body, text),
      isLate,
      retryAfterMs: retryAfterMs(headers),
    };
  }
  if (!answer.ok || body?.status !== 'success') {
    return { kind: 'refused', status, reason: reasonOf(answer, body, text) };
  }
  return { kind: 'answer', value: body.data, warnings: warningsOf(body) };
}

/** Undefined when it is no answer of this API. */
function envelopeOf(text: string): Envelope | undefined {
  try {
    const body = JSON.parse(text) as unknown;
    return typeof body === 'object' && body !== null && 'status' in body ? body : undefined;
  } catch {
    return undefined; // a SyntaxError: a page of a proxy, or of another program
  }
}

function reasonOf(answer: Response, body: Envelope | undefined, text: string): string {
  const { status, headers } = answer;
  if (status === 401 || status === 403) {
    return `it answers ${status}: no or no valid credential`;
  }
  if (typeof body?.error === 'string') {
    const type = typeof body.errorType === 'string' ? `${body.errorType}: ` : '';
    return `it answers ${status}, ${clipped(type + body.error)}`;
  }
  const type = headers.get('content-type')?.split(';')[0] ?? '';
  if (text === '') return `it answers ${status} without a word`;
  const kind = type === 'text/plain' ? `: ${clipped(text)}` : ` with ${type || 'text'}`;
  const isTold = type === 'text/plain' && status >= 400;
  return `it answers ${status}${kind}${isTold ? '' : ', which is no answer of the Prometheus API; is the path right?'}`;
}

function warningsOf({ warnings, infos, isPartial }: Envelope): string[] {
  const said = [warnings, infos]
    .filter((list): list is unknown[] => Array.isArray(list))
    .flat()
    .filter((text): text is string => typeof text === 'string');
  if (isPartial === true) said.unshift('The answer is partial: some of its storage is away');
  return said.slice(0, PROMETHEUS_WARNINGS_MAX).map(clipped);
}

/** One line, and not a long one. */
function clipped(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > PROMETHEUS_REASON_CHARACTERS_MAX
    ? `${line.slice(0, PROMETHEUS_REASON_CHARACTERS_MAX)}…`
    : line;
}

/** 0 when it is not said, or said as a date. */
function retryAfterMs(headers: Headers): number {
  const seconds = Number(headers.get('retry-after') ?? 0);
  return seconds > 0 ? 1000 * Math.min(seconds, RETRY_AFTER_S_MAX) : 0;
}

/** Undefined when it is larger than we read. */
async function bounded(answer: Response, bytesMax: number): Promise<string | undefined> {
  if (answer.body === null) return '';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function causeOf(error: unknown): string {
  const { cause, message } = error as {
    cause?: { code?: string; message?: string };
    message: string;
  };
  return cause?.code ?? cause?.message ?? message;
}
