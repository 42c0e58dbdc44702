// Numbers, times and labels as the page shows them. Whatever others have named is text: characters that would change how
// the text around them is read are shown by their code, and nothing is ever parsed as markup.

const UNITS = ['', ' k', ' M', ' G', ' T', ' P', ' E'];
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
const DIGITS = 4;
/** Of a selector in a request; the server takes no longer ones. */
const SELECTOR_LENGTH_MAX = 1_000;

/** Four digits, thousands as k, M, G. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-4) return value.toExponential(2);
  const power = size < 10_000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(size) / 3));
  return `${Number((value / 1000 ** power).toPrecision(DIGITS))}${UNITS[power]}`.replace('-', '−');
}

export function bytes(value: number): string {
  let power = 0;
  let left = value;
  for (; left >= 1024 && power < BYTE_UNITS.length - 1; power++) left /= 1024;
  return `${Number(left.toPrecision(3))} ${BYTE_UNITS[power]}`;
}

export function integer(value: number): string {
  return value.toLocaleString('en-US');
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${integer(count)} ${count === 1 ? one : many}`;
}

/** `41 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** The clock of the reader, with the day where it is not today's. */
export function clock(time: string | number, nowMs = Date.now()): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  const pad = (value: number) => String(value).padStart(2, '0');
  const hours = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  const today = new Date(nowMs);
  if (at.toDateString() === today.toDateString()) return hours;
  const day = at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  const year = at.getFullYear() === today.getFullYear() ? '' : ` ${at.getFullYear()}`;
  return `${day}${year} ${hours}`;
}

/** On an axis of time: as fine as its steps are, and the day where one begins. */
export function tick(atMs: number, stepSeconds: number): string {
  const at = new Date(atMs);
  const isMidnight = at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0;
  if (isMidnight || stepSeconds >= 86_400) {
    return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  }
  return clock(atMs, atMs).slice(0, stepSeconds < 60 ? undefined : 5);
}

/** Times in a sentence of the server are put on the clock of the reader. */
export function localTimes(sentence: string): string {
  return sentence.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (time) => clock(time));
}

/** C0 and C1, and what changes the direction of the text after it. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are made visible.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    return `⟨U+${code}⟩`;
  });
}

/** The beginning and the end of what is too long; by code points, so that no emoji is torn apart. */
export function shortened(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text;
  const letters = [...text];
  if (letters.length <= lengthMax) return text;
  const tail = Math.floor(lengthMax / 3);
  return `${letters.slice(0, lengthMax - tail - 1).join('')}…${letters.slice(-tail).join('')}`;
}

/** The beginning of a sentence that is too long. */
export function begun(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text;
  const letters = [...text];
  return letters.length <= lengthMax ? text : `${letters.slice(0, lengthMax - 1).join('')}…`;
}

/** A selector as PromQL writes it. */
export function selectorOf(labels: Readonly<Record<string, string>>): string {
  const names = Object.keys(labels).toSorted();
  const tests = names.map((name) => `${labelName(name)}=${JSON.stringify(labels[name])}`);
  return `{${tests.join(',')}}`;
}

/** The same within what the server reads: the longest tests are left out, so it may match more. */
export function shortSelectorOf(labels: Readonly<Record<string, string>>): string {
  const kept = Object.entries(labels).toSorted(([, a], [, b]) => a.length - b.length);
  while (kept.length > 1 && selectorOf(Object.fromEntries(kept)).length > SELECTOR_LENGTH_MAX) {
    kept.pop();
  }
  return selectorOf(Object.fromEntries(kept));
}

function labelName(name: string): string {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : JSON.stringify(name);
}

/** Scores are compared with 1: one decimal is enough, two where it is close, and only 1 itself is shown as 1. */
export function scoreText(score: number | null | undefined): string {
  if (score === null || score === undefined || !Number.isFinite(score)) return '–';
  if (score <= 0.95 || score >= 1.05) return score.toFixed(1);
  const shown = score > 1 ? Math.max(score, 1.01) : score < 1 ? Math.min(score, 0.99) : 1;
  return shown.toFixed(2);
}

/** What a score means without a colour. */
export function severity(score: number | null): 1 | 2 | 3 {
  const height = score ?? 0;
  return height >= 3 ? 3 : height >= 1.5 ? 2 : 1;
}
