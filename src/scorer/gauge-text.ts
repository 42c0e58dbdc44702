// Labels and numbers in the Prometheus text format, written so that no two names or values become one. Names that only new
// scrapers understand are quoted for those who say so, and escaped for the others.

import type { Label } from '../series.js';

/** `{a="1",b="2"}`; names outside the classic alphabet quoted, or escaped so that no two become one. */
export function labelText(labels: readonly Label[], isUtf8: boolean): string {
  const pairs = labels
    .filter(({ value }) => value !== '')
    .map(({ name, value }) => {
      const shown = isUtf8 && !isClassic(name) ? `"${escapeValue(name)}"` : escapeName(name);
      return `${shown}="${escapeValue(value)}"`;
    });
  return `{${pairs.join(',')}}`;
}

export function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are ASCII, too
  return /^[\x00-\x7f]*$/.test(text);
}

export function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

/**
 * The "values" scheme of Prometheus' escaping (https://prometheus.io/docs/instrumenting/escaping_schemes/): `U__`, `_`
 * doubled, every other character outside the alphabet as `_hex_`. A classic name that looks escaped is escaped too.
 */
export function escapeName(name: string): string {
  if (isClassic(name) && !name.startsWith('U__')) return name;
  let escaped = 'U__';
  for (const character of name) {
    if (character === '_') escaped += '__';
    else if (/[a-zA-Z0-9]/.test(character)) escaped += character;
    else escaped += `_${character.codePointAt(0)?.toString(16)}_`;
  }
  return escaped;
}

function isClassic(name: string): boolean {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
}

function escapeValue(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
