// CSV from bytes: what counts as a row and as a field, wherever the pieces of the file end.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CsvRows, fieldsOf } from '../src/cli/score-rows.js';

/** Fields 0 and 2 of every row, with its line; fed in pieces of `size` bytes. */
function rowsOf(text: string, size = 1e9): [number, string, string][] {
  const rows = new CsvRows([0, 2], 0);
  const all = Buffer.from(text);
  const found: [number, string, string][] = [];
  let rest = Buffer.alloc(0);
  for (let at = 0; at <= all.length; at += size) {
    rest = Buffer.concat([rest, all.subarray(at, at + size)]);
    rows.feed(rest, 0, rest.length);
    while (rows.next(at + size > all.length)) {
      const field = (index: number): string =>
        rest.toString('utf8', rows.starts[index], rows.ends[index]);
      found.push([rows.line, field(0), field(1)]);
    }
    rest = rest.subarray(rows.at);
  }
  return found;
}

test('rows end in LF or CRLF, the last one also without', () => {
  const ok = (text: string, want: ReturnType<typeof rowsOf>) => expect(rowsOf(text)).toEqual(want);
  ok('', []);
  ok('a,b,c', [[1, 'a', 'c']]);
  ok('a,b,c\nd,e,f\n', [
    [1, 'a', 'c'],
    [2, 'd', 'f'],
  ]);
  ok('a,b,c\r\nd,e,f\r\n', [
    [1, 'a', 'c'],
    [2, 'd', 'f'],
  ]);
});

test('blank lines are no rows and count as lines; short rows have empty fields; blanks are cut off', () => {
  expect(rowsOf('\n a , b,\tc \n\r\n  \nd\n,,\ne,f,g,h,i\n')).toEqual([
    [2, 'a', 'c'],
    [5, 'd', ''],
    [6, '', ''],
    [7, 'e', 'g'],
  ]);
});

test('quoted fields hold commas, line ends and doubled quotes', () => {
  expect(rowsOf('"a,1","b\nb","c"\n"d","","f""g"\n')).toEqual([
    [1, 'a,1', 'c'],
    [3, 'd', 'f""g'],
  ]);
  expect(fieldsOf('a, "b, ""c""" ,d,')).toEqual(['a', 'b, "c"', 'd', '']);
  expect(fieldsOf('"x y"')).toEqual(['x y']);
  expect(fieldsOf('')).toEqual(['']);
});

test('a quote that is never closed is seen', () => {
  const rows = new CsvRows([0], 4);
  const bytes = Buffer.from('a\n"b\nc\n');
  rows.feed(bytes, 0, bytes.length);
  expect([rows.next(true), rows.next(true), rows.isWithinQuotes, rows.nextLine]).toEqual([
    true,
    false,
    true,
    6,
  ]);
});

test('it does not matter where the pieces end', () => {
  const field = fc.oneof(
    fc.stringMatching(/^[a-z0-9 .]{0,6}$/),
    fc.stringMatching(/^[a-z,\n"]{0,6}$/).map((text) => `"${text.replaceAll('"', '""')}"`),
  );
  const row = fc.array(field, { minLength: 1, maxLength: 5 }).map((fields) => fields.join(','));
  const end = fc.constantFrom('\n', '\r\n', '\n\n');
  const file = fc
    .array(fc.tuple(row, end), { maxLength: 12 })
    .map((rows) => rows.map(([text, stop]) => text + stop).join(''));
  fc.assert(
    fc.property(file, fc.integer({ min: 1, max: 9 }), (text, size) => {
      expect(rowsOf(text, size)).toEqual(rowsOf(text));
    }),
    { numRuns: 500 },
  );
});
