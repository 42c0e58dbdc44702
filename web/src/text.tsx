// Small pieces of text that every view uses: names that others have given, times, tags, and what is to be copied.

import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { connection } from './events.js';
import { begun, clock, duration, localTimes, shortened, visible } from './format.js';
import { RestError } from './rest.js';
import { nowMs } from './ticks.js';

const NAME_LENGTH_MAX = 140;
const SENTENCE_LENGTH_MAX = 600;
const COPIED_MS = 1_500;

/** A name that others have given: as text, kept apart from the direction of what is around it. */
export function Name({ text, lengthMax = NAME_LENGTH_MAX }: { text: string; lengthMax?: number }) {
  const shown = visible(shortened(text, lengthMax));
  return (
    <bdi class="name" title={shown === text ? undefined : visible(shortened(text, 1_000))}>
      {shown}
    </bdi>
  );
}

/** Of the server, with times on the clock of the reader. */
export function Sentence({
  text,
  lengthMax = SENTENCE_LENGTH_MAX,
}: {
  text: string;
  lengthMax?: number;
}) {
  return <bdi class="name">{localTimes(visible(begun(text, lengthMax)))}</bdi>;
}

export function Time({ at }: { at: string | number | null | undefined }) {
  if (at === null || at === undefined) return <>–</>;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <Name text={String(at)} />;
  const stamp = date.toISOString();
  return (
    <time dateTime={stamp} title={stamp}>
      {clock(at)}
    </time>
  );
}

export function Ago({ at }: { at: string | number }) {
  const ms = nowMs.value - new Date(at).getTime();
  return <>{ms < 0 ? `in ${duration(-ms)}` : `${duration(ms)} ago`}</>;
}

export function Tag({ kind, children }: { kind: string; children: ComponentChildren }) {
  return <span class={`tag ${kind}`}>{children}</span>;
}

/** Copies a text; where the browser does not allow that, it is shown to be copied by hand. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const state = useSignal<'idle' | 'copied' | 'shown'>('idle');
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      state.value = 'copied';
      setTimeout(() => {
        state.value = 'idle';
      }, COPIED_MS);
    } catch {
      state.value = 'shown'; // no permission, or not a secure address
    }
  };
  return (
    <>
      <button type="button" onClick={() => void copy()}>
        {state.value === 'copied' ? 'Copied' : label}
      </button>
      {state.value === 'shown' && (
        <pre class="code">{visible(text).replaceAll('⟨U+000A⟩', '\n')}</pre>
      )}
    </>
  );
}

/** What is to be pasted, with a button that copies it. */
export function Block({ text, label }: { text: string; label: string }) {
  return (
    <div class="block">
      <pre class="code">{text}</pre>
      <CopyButton text={text} label={label} />
    </div>
  );
}

/** The same questions, asked of the REST routes. */
export function EquivalentCall({ paths }: { paths: readonly (string | undefined)[] }) {
  return (
    <footer class="call">
      {paths
        .filter((path) => path !== undefined)
        .map((path, index) => {
          const command = `curl -s '${location.origin}${path.replaceAll("'", '%27')}'`;
          return (
            <p key={path}>
              <span class="faint">{index === 0 ? 'The same as' : 'and'}</span>
              <code>{visible(shortened(command, 200))}</code>
              <CopyButton text={command} label="Copy" />
            </p>
          );
        })}
    </footer>
  );
}

/** Why there is nothing to see, and what to do next. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

export function Failure({ error }: { error: Error | undefined }) {
  // That nothing answers is said once, by the banner.
  const isSaid = error instanceof RestError && error.status === 0 && connection.value === 'stale';
  if (error === undefined || isSaid) return null;
  return (
    <p class="failure" role="alert">
      <Name text={error.message} lengthMax={400} />
    </p>
  );
}
