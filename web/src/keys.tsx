// The keys. They move the focus between the rows of a view, which are links: Enter follows the one in focus as it does
// everywhere. While somebody types, only Escape is ours.

import { useRef } from 'preact/hooks';
import { sayFirst, takeBackLast } from './actions.js';
import { go, linkTo } from './route.js';
import { switchTheme } from './theme.js';

const KEYS: readonly [keys: string, meaning: string][] = [
  ['j, k', 'next, previous row'],
  ['Enter', 'open the row'],
  ['/', 'search'],
  ['n, s, y', 'Now, Series, System'],
  ['f', 'false alarm, of what is shown'],
  ['u', 'take the last word back'],
  ['t', 'light, dark, or as the system'],
  ['Escape', 'close, or back to Now'],
  ['?', 'this list'],
];

const WORDS: readonly [word: string, meaning: string][] = [
  [
    'score',
    'how rare a sample is for its series: 1 is the alert threshold, the same on every series',
  ],
  ['anomaly', 'one series, from onset to end'],
  ['incident', 'anomalies that move together; the first mover began it'],
  [
    'notified',
    'somebody was told; held back: the budget of incidents a day went to higher ones, or all that is known is less than a day',
  ],
  ['shadow', 'a new installation watches for a week before it notifies anybody'],
  ['warming', 'too few samples seen for a flag'],
  ['verdict', 'what the deep check said of a suspicion; unchecked: nothing looked a second time'],
];

let dialog: HTMLDialogElement | null = null;

export function openHelp(): void {
  if (dialog?.open === false) dialog.showModal();
}

export function HelpDialog() {
  const element = useRef<HTMLDialogElement>(null);
  return (
    <dialog
      ref={(found) => {
        element.current = found;
        dialog = found;
      }}
      aria-label="Keys and words"
    >
      <h2>Keys</h2>
      <dl class="keys">
        {KEYS.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>
              {keys.split(', ').map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <h2>Words</h2>
      <dl class="keys">
        {WORDS.map(([word, meaning]) => (
          <div key={word}>
            <dt>{word}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="buttons">
        <button type="button" onClick={() => element.current?.close()}>
          Close
        </button>
        <a href="/docs">REST routes</a>
      </p>
    </dialog>
  );
}

export function listenToKeys(): () => void {
  const listener = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    const { target } = event;
    const isTyping =
      target instanceof HTMLInputElement ||
      target instanceof HTMLTextAreaElement ||
      target instanceof HTMLSelectElement;
    if (isTyping) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    if (press(event.key)) event.preventDefault();
  };
  document.addEventListener('keydown', listener);
  return () => document.removeEventListener('keydown', listener);
}

function press(key: string): boolean {
  if (key === 'j') moveRow(1);
  else if (key === 'k') moveRow(-1);
  else if (key === '/') search();
  else if (key === 'n') go(linkTo('now'));
  else if (key === 's') go(linkTo('series'));
  else if (key === 'y') go(linkTo('system'));
  else if (key === 'f') sayFirst('false-alarm');
  else if (key === 'u') takeBackLast();
  else if (key === 't') switchTheme();
  else if (key === 'Escape') go(linkTo('now'));
  else if (key === '?') openHelp();
  else return false;
  return true;
}

function moveRow(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('a.row')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = at === -1 ? (step === 1 ? 0 : rows.length - 1) : at + step;
  const row = rows[Math.min(rows.length - 1, Math.max(0, next))];
  row?.focus();
  row?.scrollIntoView({ block: 'nearest' });
}

function search(): void {
  const field = document.querySelector<HTMLInputElement>('input[type=search]');
  if (field === null) go(linkTo('series'));
  else field.focus();
}
