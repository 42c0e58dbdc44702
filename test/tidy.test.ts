// House rules that no other tool checks: documents say what the code says, and files stay small.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('..', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\n')
  .filter((path) => path !== '');
const sources = files.filter((path) => /^(src|assembly)\/.*\.ts$/.test(path));

test('no source file passes 400 lines, and no folder has a name that says nothing', () => {
  for (const path of sources) {
    expect([path, read(path).split('\n').length <= 401]).toEqual([path, true]);
    expect(path).not.toMatch(
      /\/(utils?|helpers?|common|types|shared|misc|managers?|services?)[./]/,
    );
  }
});

test('every source file opens with what it is', () => {
  for (const path of sources) {
    expect([path, /^(#!.*\n)?\/\/ \S/.test(read(path))]).toEqual([path, true]);
  }
});

test('every metric is documented, and every documented metric exists', () => {
  const names = (text: string) => new Set(text.match(/\btreeline_[a-z_]+[a-z]\b/g));
  const inCode = names(sources.map(read).join('\n'));
  const documented = names(read('docs/operations.md'));
  expect([...documented].filter((name) => !inCode.has(name))).toEqual([]);
  expect([...inCode].filter((name) => !documented.has(name))).toEqual([]);
});

test('the drawing of the record in the documents is the one in the source', () => {
  const drawing = read('assembly/forest/record.ts')
    .split('\n')
    .filter((line) => /^\/\/ .*[│┌├└]/.test(line))
    .map((line) => line.slice(3));
  expect(drawing.length).toBeGreaterThan(10);
  expect(read('docs/formats.md')).toContain(drawing.join('\n'));
  const bytes = /RECORD_BYTES: i32 = (\d+)/.exec(read('assembly/forest/record.ts'))?.[1];
  expect(read('docs/formats.md')).toContain(`Record format 2, ${bytes} bytes`);
});

test('files and folders named in the architecture exist', () => {
  const paths =
    read('docs/architecture.md').match(/`(src|assembly|test|proto|docs)\/[a-z0-9./-]+`/g) ?? [];
  expect(paths.length).toBeGreaterThan(10);
  for (const path of paths.map((quoted) => quoted.slice(1, -1))) {
    expect([path, existsSync(new URL(path, root))]).toEqual([path, true]);
  }
});

test('links between documents lead somewhere', () => {
  for (const path of files.filter((file) => file.endsWith('.md'))) {
    const folder = new URL(path, root);
    for (const [, link = ''] of read(path).matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      const target = new URL(link, folder).pathname.slice(new URL('.', root).pathname.length);
      expect([path, link, files.some((file) => file.startsWith(target))]).toEqual([
        path,
        link,
        true,
      ]);
    }
  }
});
