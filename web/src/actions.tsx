// What can be said of anomalies: feedback and maintenance windows, each with a way back. One word may be about many
// anomalies; then it is one record each, and they are taken back together. What was said last stands in a bar below
// until it is closed.

import { signal } from '@preact/signals';
import { bump } from './events.js';
import { plural } from './format.js';
import { ask } from './rest.js';
import type { Feedback, FeedbackKind, Maintenance } from './rows.js';
import { Name } from './text.js';

/** Of one incident at most so many anomalies are spoken of at once. */
export const SPOKEN_OF_MAX = 50;

export const KIND_WORDS: Readonly<Record<FeedbackKind, string>> = {
  'false-alarm': 'False alarm',
  confirmed: 'Confirmed',
  missed: 'Missed',
  'accept-shift': 'Accept as the new normal',
};

interface Word {
  text: string;
  /** Routes that take it back. */
  undo: readonly string[];
}

const last = signal<(Word & { isTakenBack: boolean }) | undefined>(undefined);
const trouble = signal<string | undefined>(undefined);
const isBusy = signal(false);
/** What the keys speak of: set by the view that is shown. */
const subject = signal<readonly string[]>([]);

export function speakOf(anomalies: readonly string[]): () => void {
  subject.value = anomalies;
  return () => {
    subject.value = [];
  };
}

export function sayFirst(kind: FeedbackKind): void {
  if (subject.value.length > 0) void say(kind, subject.value);
}

export async function say(kind: FeedbackKind, anomalies: readonly string[]): Promise<void> {
  const told = anomalies.slice(0, SPOKEN_OF_MAX);
  const undo: string[] = [];
  await attempt(async () => {
    for (const anomaly of told) {
      const body = { kind, anomaly };
      const { id } = await ask<Feedback>('/anomaly/v1/feedback', { method: 'POST', body });
      undo.push(`/anomaly/v1/feedback/${encodeURIComponent(id)}`);
    }
  });
  const of = told.length === 1 ? '' : `, of ${plural(undo.length, 'anomaly', 'anomalies')}`;
  if (undo.length > 0) last.value = { text: `${KIND_WORDS[kind]}${of}`, undo, isTakenBack: false };
}

/** From the begin of what it is said of: windows are judged by stream time, which is a little behind the clock. */
export async function mute(match: string, window: { start: string; hours: number }): Promise<void> {
  const { start, hours } = window;
  await attempt(async () => {
    const end = String(Math.round(Date.now() / 1000 + hours * 3600));
    const body = {
      match: [match],
      mute: true,
      noLearn: false,
      start,
      end,
      comment: 'From the page',
    };
    const { id } = await ask<Maintenance>('/anomaly/v1/maintenance', { method: 'POST', body });
    const undo = [`/anomaly/v1/maintenance/${encodeURIComponent(id)}`];
    const text = `Nobody is notified of ${match} for ${hours} h`;
    last.value = { text, undo, isTakenBack: false };
  });
}

export async function takeBack(path: string): Promise<void> {
  await attempt(() => ask(path, { method: 'DELETE' }));
}

export function takeBackLast(): void {
  const word = last.value;
  if (word === undefined || word.isTakenBack) return;
  void attempt(async () => {
    for (const path of word.undo) await ask(path, { method: 'DELETE' });
    last.value = { ...word, isTakenBack: true };
  });
}

export function Said() {
  const word = last.value;
  if (word === undefined && trouble.value === undefined) return null;
  const close = () => {
    last.value = undefined;
    trouble.value = undefined;
  };
  return (
    <div class="said" role="status">
      {trouble.value !== undefined && (
        <span class="failure">
          <Name text={trouble.value} lengthMax={300} />
        </span>
      )}
      {word !== undefined && (
        <span>
          {word.isTakenBack ? 'Taken back: ' : 'Said: '}
          <Name text={word.text} lengthMax={120} />
        </span>
      )}
      {word?.isTakenBack === false && (
        <button type="button" disabled={isBusy.value} onClick={takeBackLast}>
          Undo
        </button>
      )}
      <button type="button" class="quiet" onClick={close} aria-label="Close">
        ×
      </button>
    </div>
  );
}

/** The three words on anomalies. */
export function FeedbackButtons({ anomalies }: { anomalies: readonly string[] }) {
  const kinds = ['false-alarm', 'confirmed', 'accept-shift'] as const;
  return (
    <>
      {kinds.map((kind) => (
        <button
          key={kind}
          type="button"
          disabled={isBusy.value || anomalies.length === 0}
          onClick={() => void say(kind, anomalies)}
        >
          {KIND_WORDS[kind]}
        </button>
      ))}
    </>
  );
}

/** Where it fails, its reason is shown, and what was done before it stays. */
async function attempt(act: () => Promise<unknown>): Promise<void> {
  if (isBusy.value) return;
  isBusy.value = true;
  trouble.value = undefined;
  try {
    await act();
  } catch (error) {
    trouble.value = (error as Error).message;
  }
  isBusy.value = false;
  bump();
}
