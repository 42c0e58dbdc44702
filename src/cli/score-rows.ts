// CSV as RFC 4180 has it, from bytes: rows that end in LF or CRLF, fields that may be quoted, quoted fields with commas,
// line ends and doubled quotes. A row is not copied: the reader says where in the bytes the wanted fields lie, without
// their quotes and the blanks around them. It is fed piece by piece; a row that is not whole yet is left for the next.

const LF = 10;
const CR = 13;
const BLANK = 32;
const TAB = 9;
const QUOTE = 34;
const COMMA = 44;

export class CsvRows {
  /** Of the row that `next` found: where its wanted fields begin and end, in the order they were wanted. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** The line on which the row begins, counted from 1, and how many lines it has. */
  line: number;
  #lineCount = 1;
  /** Field of the row → index in `starts`, or -1. */
  readonly #wanted: Int32Array;
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  #at = 0;
  /** Set while a quoted field has not ended within the bytes. */
  #isOpen = false;

  /** `wanted`: numbers of the fields, from 0; `line`: the line before the first row that will be fed. */
  constructor(wanted: readonly number[], line: number) {
    this.line = line;
    this.starts = new Int32Array(wanted.length);
    this.ends = new Int32Array(wanted.length);
    this.#wanted = new Int32Array(Math.max(...wanted) + 1).fill(-1);
    wanted.forEach((field, index) => {
      this.#wanted[field] = index;
    });
  }

  /** Bytes `from` to `end` hold what follows the last row that was read. They are not changed while they are read. */
  feed(bytes: Buffer, from: number, end: number): void {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = end;
  }

  /** Where the first byte lies that belongs to no row read so far. */
  get at(): number {
    return this.#at;
  }

  /** The line on which that byte stands. */
  get nextLine(): number {
    return this.line + this.#lineCount;
  }

  /** True when the rest of the bytes ends within a quoted field. */
  get isWithinQuotes(): boolean {
    return this.#isOpen;
  }

  /**
   * Reads the next row that is not blank; false when the bytes hold no whole one. With `isLast` their end ends a row.
   */
  next(isLast: boolean): boolean {
    const bytes = this.#bytes;
    while (this.#at < this.#end) {
      const start = this.#at;
      if (!this.#readRow(start, isLast)) return false;
      for (let at = start; at < this.#at; at++) {
        const byte = bytes[at]!;
        if (byte !== LF && byte !== CR && byte !== BLANK && byte !== TAB) return true;
      }
    }
    return false;
  }

  #readRow(start: number, isLast: boolean): boolean {
    const bytes = this.#bytes;
    const end = this.#end;
    const wanted = this.#wanted;
    // A short row has no fields at its end: they read as empty.
    for (let index = 0; index < this.starts.length; index++) {
      this.starts[index] = start;
      this.ends[index] = start;
    }
    let lines = 1;
    let field = 0;
    let at = start;
    for (;;) {
      let from = at;
      let to: number;
      this.#isOpen = false;
      if (at < end && bytes[at] === QUOTE) {
        // Up to the quote that is not doubled; what stands between it and the comma is not ours to judge.
        for (at++; at < end; at++) {
          if (bytes[at] === LF) lines++;
          if (bytes[at] !== QUOTE) continue;
          if (bytes[at + 1] !== QUOTE || at + 1 >= end) break;
          at++;
        }
        this.#isOpen = at >= end;
        if (this.#isOpen) return false;
        from++;
        to = at;
        while (at < end && bytes[at] !== COMMA && bytes[at] !== LF) at++;
      } else {
        for (let byte: number; at < end; at++) {
          byte = bytes[at]!;
          if (byte === COMMA || byte === LF) break;
        }
        to = at;
      }
      if (at >= end && !isLast) return false;
      if (field < wanted.length && wanted[field]! >= 0) this.#keep(wanted[field]!, from, to);
      if (at >= end || bytes[at] === LF) {
        this.line += this.#lineCount;
        this.#lineCount = lines;
        this.#at = Math.min(at + 1, end);
        return true;
      }
      field++;
      at++;
    }
  }

  #keep(index: number, from: number, to: number): void {
    const bytes = this.#bytes;
    let start = from;
    let end = to;
    while (end > start && bytes[end - 1]! <= BLANK) end--;
    while (start < end && bytes[start]! <= BLANK) start++;
    this.starts[index] = start;
    this.ends[index] = end;
  }
}

/** All fields of one line of text, quotes taken away. */
export function fieldsOf(line: string): string[] {
  const fields: string[] = [];
  for (let at = 0; at <= line.length; ) {
    const quoted = /^\s*"((?:[^"]|"")*)"[^,]*/.exec(line.slice(at));
    const end = quoted === null ? line.indexOf(',', at) : at + quoted[0].length;
    const stop = end < 0 ? line.length : end;
    fields.push(
      quoted === null ? line.slice(at, stop).trim() : quoted[1]!.replaceAll('""', '"').trim(),
    );
    at = stop + 1;
  }
  return fields;
}
