// Every value of the chart does something: set away from its default, the rendering changes, and what was set is in what
// has changed. docs/coverage.md refers to this test by the name of the value.

import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type ChartValue, readValues, valuesIn } from '../src/chart/values-file.js';
import { awayCase, bothOf } from './chart-away.js';
import { CHART, renderText, type Values } from './chart-render.js';

const values = valuesIn(readValues(readFileSync(`${CHART}values.yaml`, 'utf8')));
/** As many Helms at a time as there are cores. */
const AT_ONCE = 2;
/** In chart.test.ts and chart-refusals.test.ts: what they change is which other values there may be. */
const DONE_ELSEWHERE = ['workloadType', 'kafka.development.enabled'];
/** What these do is to leave something out; the rest of it is shown as before. */
const LEAVES_OUT = ['global.openshift', 'configReload', 'monitoring.rules.without'];

const rendered = new Map<string, Promise<string>>();

/** Contexts are the same for many values. */
function once(context: Values): Promise<string> {
  const key = JSON.stringify(context);
  const text = rendered.get(key) ?? renderText(context);
  rendered.set(key, text);
  return text;
}

async function faultOf(value: ChartValue): Promise<string | undefined> {
  const away = awayCase(value);
  const [without, withIt] = bothOf(away);
  try {
    const [before, after] = await Promise.all([once(without), renderText(withIt)]);
    if (before === after) return 'nothing changes';
    const { shows } = away;
    if (shows === undefined) return undefined;
    if (LEAVES_OUT.includes(value.path)) return after.includes(shows) ? undefined : 'too much';
    const isMore = after.split(shows).length > before.split(shows).length;
    return isMore ? undefined : `${shows} is not in what changed`;
  } catch (error) {
    return (error as Error).message.slice(0, 300);
  }
}

test('the 97 lines of the coverage name values and files that are there', () => {
  const text = readFileSync(new URL('../docs/coverage.md', import.meta.url), 'utf8');
  const lines = [...text.matchAll(/^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*)\|$/gm)];
  expect(lines.map(([, number]) => Number(number))).toEqual(
    Array.from({ length: 97 }, (_, i) => i + 1),
  );
  const letters = [...text.matchAll(/^\| ([A-Z]) \| (.+) \|$/gm)];
  const known = new Set(letters.map(([, letter]) => letter));
  for (const [, , files = ''] of letters) {
    const paths = [...files.matchAll(/`(test\/[a-z./-]+)`/g)].map(([, path]) => path);
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) {
      expect([path, existsSync(new URL(`../${path}`, import.meta.url))]).toEqual([path, true]);
    }
  }
  for (const [, number, , here = '', proof = ''] of lines) {
    const unknown = proof.split(' ').filter((letter) => letter !== '' && !known.has(letter));
    expect([number, unknown]).toEqual([number, []]);
    if (here.startsWith('–')) continue;
    // A value, a part of the tree, or one of every component: `receiver.enabled`, `networkPolicy`, `*.pdb`.
    for (const [, path = ''] of here.matchAll(/`((?:\*\.)?[a-z][A-Za-z]*(?:\.[A-Za-z*{},]+)+)`/g)) {
      const isFile = /\.(yaml|md|ts)$/.test(path) || path.startsWith('config.');
      const spelled = path.replace(/^\*/, 'defaults').replace(/\.(\*|\{.*)$/, '');
      const isThere = values.some(({ path: at }) => {
        const beginnings = [
          spelled,
          spelled.replace('defaults', 'scorer'),
          spelled.replace('defaults', 'edge'),
        ];
        return beginnings.some((one) => at === one || at.startsWith(`${one}.`));
      });
      const isInherited = /^(receiver|scorer|api|deepCheck|inference|edge|task)\.(.+)$/.exec(
        spelled,
      )?.[2];
      const [first] = (isInherited ?? '').split('.');
      const isDefault = values.some(({ path: at }) => at.split('.')[1] === first);
      expect([number, path, isFile || isThere || isDefault]).toEqual([number, path, true]);
    }
  }
});

test('every value set away from its default shows in what is rendered', {
  timeout: 600_000,
}, async () => {
  expect(values.length).toBeGreaterThan(300);
  const waiting = values.filter(({ path }) => !DONE_ELSEWHERE.includes(path));
  const faults: string[] = [];
  const work = async () => {
    for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
      const fault = await faultOf(value);
      if (fault !== undefined) faults.push(`${value.path}: ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  expect(faults).toEqual([]);
});
