// Labels as strings, from where decode.wasm says that they are in its memory: for the rules, which see
// each new series once, and for the messages that name what was rejected. In a 2.0 request the labels
// of all series are a few symbols, so each symbol becomes a string once and only when it is asked for.

import { type Label, seriesText } from '../series.js';

/** LabelSpan of assembly/decode/layout.ts, in u32: name, its bytes, value, its bytes. */
const SPAN_WORDS = 4;
const SERIES_TEXT_CHARS_MAX = 200;
/** More of a name or value than this is not shown in a message. */
const SHOWN_BYTES_MAX = 256;

export class LabelTexts {
  readonly #text: Buffer;
  readonly #words: Uint32Array;
  /** Of the current request, by position: no two symbols begin at one. */
  readonly #symbols = new Map<number, string>();

  constructor(memory: ArrayBuffer) {
    this.#text = Buffer.from(memory);
    this.#words = new Uint32Array(memory);
  }

  /** Call after each request: the same positions then mean other symbols. */
  clear(): void {
    this.#symbols.clear();
  }

  /** Valid labels of a 1.0 request, which lie side by side. */
  sent(spansAt: number, count: number): Label[] {
    const words = this.#words;
    const first = spansAt >> 2;
    const last = first + count * SPAN_WORDS;
    let start = Number.POSITIVE_INFINITY;
    let end = 0;
    for (let at = first; at < last; at += SPAN_WORDS) {
      start = Math.min(start, words[at]!, words[at + 2]!);
      end = Math.max(end, words[at]! + words[at + 1]!, words[at + 2]! + words[at + 3]!);
    }
    // One string for all, cut into labels, takes a third of the time of a string for each; if all
    // is ASCII.
    const text = this.#text.toString('latin1', start, end);
    const isAscii = !/[\x80-\xff]/.test(text);
    const cut = (at: number, bytes: number): string =>
      isAscii
        ? text.slice(at - start, at + bytes - start)
        : this.#text.toString('utf8', at, at + bytes);
    return this.#labels(spansAt, count, cut);
  }

  /** Valid labels of a 2.0 request. */
  ofSymbols(spansAt: number, count: number): Label[] {
    return this.#labels(spansAt, count, (at, bytes) => {
      let text = this.#symbols.get(at);
      if (text === undefined) {
        text = this.#text.toString('utf8', at, at + bytes);
        this.#symbols.set(at, text);
      }
      return text;
    });
  }

  /** For one line of a message: any labels, long ones cut, nothing in them that breaks the line. */
  shown(spansAt: number, count: number): string {
    const labels = this.#labels(spansAt, count, (at, bytes) => this.#cut(at, bytes));
    const escaped = seriesText(labels).replace(
      /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    if (escaped.length <= SERIES_TEXT_CHARS_MAX) return escaped;
    return `${escaped.slice(0, SERIES_TEXT_CHARS_MAX - 1).replace(/[\ud800-\udbff]$/, '')}…`;
  }

  #cut(at: number, bytes: number): string {
    if (bytes <= SHOWN_BYTES_MAX) return this.#text.toString('utf8', at, at + bytes);
    // Before a character, not within one: a continuation byte is 10xxxxxx.
    let end = at + SHOWN_BYTES_MAX;
    while (end > at && (this.#text[end]! & 0xc0) === 0x80) end--;
    return `${this.#text.toString('utf8', at, end)}…`;
  }

  #labels(spansAt: number, count: number, text: (at: number, bytes: number) => string): Label[] {
    const words = this.#words;
    const labels: Label[] = [];
    let at = spansAt >> 2;
    for (let i = 0; i < count; i++, at += SPAN_WORDS) {
      labels.push({
        name: text(words[at]!, words[at + 1]!),
        value: text(words[at + 2]!, words[at + 3]!),
      });
    }
    return labels;
  }
}
