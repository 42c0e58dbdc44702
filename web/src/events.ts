// Follows the event stream and says when it is broken. Read with fetch, because EventSource cannot send a token. A stream
// that has ended is asked for again, from the last event on; silence for longer than the server ever leaves counts as
// an end. `revision` rises when what is shown may have changed, at once and then at most once in REST_MS.

import { signal } from '@preact/signals';
import { credentialHeaders, hasCredential, refusal } from './rest.js';
import type { Anomaly } from './rows.js';

export type Connection = 'connecting' | 'live' | 'stale';

export const connection = signal<Connection>('connecting');
/** Since when nothing has been heard; undefined while the stream is live. */
export const staleSinceMs = signal<number | undefined>(undefined);
export const revision = signal(0);

/** The server writes something every 15 s. */
const SILENCE_MS_MAX = 40_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 8_000;
const REST_MS = 1_000;
/** A reset, or the first answer after a break: everything is read anew. */
const RESETTING = new Set(['reset', 'hello']);

let lastEventId: string | undefined;
let bumpedAt = 0;
let bumpTimer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<(anomaly: Anomaly) => void>();
let wake: (() => void) | undefined;

/** Hears of every anomaly that changes, until the returned function is called. */
export function onAnomaly(listener: (anomaly: Anomaly) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function bump(): void {
  if (bumpTimer !== undefined) return;
  const pause = Math.max(0, bumpedAt + REST_MS - Date.now());
  bumpTimer = setTimeout(() => {
    bumpTimer = undefined;
    bumpedAt = Date.now();
    revision.value++;
  }, pause);
}

/** Tries at once, for example with a new token. */
export function reconnect(): void {
  wake?.();
}

export async function followEvents(): Promise<never> {
  for (let pause = RETRY_MS_MIN; ; ) {
    const began = Date.now();
    const isRefused = await readStream();
    if (connection.value === 'live') staleSinceMs.value = Date.now();
    if (Date.now() - began > RETRY_MS_MAX) pause = RETRY_MS_MIN;
    // Where only the stream is refused (it has as many readers as it may), the lists are asked for as often as it is.
    if (!isRefused) bump();
    connection.value = staleSinceMs.value === undefined ? 'connecting' : 'stale';
    await new Promise<void>((resolve) => {
      wake = resolve;
      // Who has no token is not asked for the stream again and again.
      if (!isRefused) setTimeout(resolve, pause);
    });
    pause = Math.min(2 * pause, RETRY_MS_MAX);
  }
}

/** Returns when the stream has ended; true when we may not read it. */
async function readStream(): Promise<boolean> {
  const silence = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS_MAX);
  };
  heard();
  try {
    const answer = await fetch('/anomaly/v1/stream', {
      credentials: 'omit',
      cache: 'no-store',
      headers: {
        ...credentialHeaders(),
        ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }),
      },
      signal: silence.signal,
    });
    if (answer.status === 401) {
      refusal.value ??= hasCredential()
        ? 'The token or password is not known here'
        : 'This needs a token or a password';
      return true;
    }
    if (!answer.ok || answer.body === null) return answer.status === 400;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read();
      if (done) return false;
      heard();
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) takeEvent(block);
    }
  } catch {
    return false; // the server is away, or was silent for too long
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

function takeEvent(block: string): void {
  let name = '';
  let text = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('id: ')) lastEventId = line.slice(4);
    else if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('data: ')) text += line.slice(6);
  }
  if (name === '') return;
  if (RESETTING.has(name)) {
    const wasAway = connection.value !== 'live';
    connection.value = 'live';
    staleSinceMs.value = undefined;
    if (name === 'reset' || wasAway) bump();
    return;
  }
  if (name === 'anomaly') {
    const anomaly = JSON.parse(text) as Anomaly;
    for (const listener of listeners) listener(anomaly);
  }
  bump();
}
