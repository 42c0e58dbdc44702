// The rules and dashboards that come with Treeline: the committed files are those that the source makes, they name only
// what is exported, and each panel has its place. What Prometheus says of them is in alert-rules.test.ts.

import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { deployFiles } from '../src/cli/deploy-files.js';
import { createMetrics } from '../src/metrics.js';
import { dashboards } from '../src/observability/dashboards.js';
import { RECORDED, ruleGroups } from '../src/observability/rules.js';
import { metricsOf, queriesOf } from './promql-names.js';

const root = new URL('..', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

test('the committed files are what the source makes of them', () => {
  for (const [path, text] of deployFiles()) {
    expect([path, existsSync(new URL(path, root))]).toEqual([path, true]);
    expect(read(path)).toBe(text);
  }
});

test('names of metrics are found in a query', () => {
  const ok = (query: string, want: string[]) => expect(metricsOf(query)).toEqual(want);
  ok('sum by (job, le) (rate(a_total{b="c_d",e=~"f|g"}[5m])) / on (job) h > 0.5', ['a_total', 'h']);
  ok('x unless x offset 15m or y:z:rate5m >= 1e9', ['x', 'y:z:rate5m']);
  ok('label_values(a{b="$c"}, d)', ['a']);
  ok('{__name__="$m"} or vector(0)', []);
});

test('every metric of a rule, panel or variable is exported', async () => {
  const exported = new Set<string>(Object.values(RECORDED));
  for (const [, name = ''] of read('docs/operations.md').matchAll(/^\| `(treeline_\w+)` \|/gm)) {
    exported.add(name);
  }
  for (const [line] of read('README.md').matchAll(/^\| .*`anomaly_\w+.*$/gm)) {
    for (const [name] of line.matchAll(/anomaly_\w+/g)) exported.add(name);
  }
  const own = await createMetrics('test').text();
  for (const [, name = ''] of own.matchAll(/^# TYPE ((?:process|nodejs)_\w+)/gm)) {
    exported.add(name);
  }
  const expressions = ruleGroups().flatMap(({ rules }) => rules.map(({ expr }) => expr));
  const named = [...expressions, ...queriesOf(dashboards())].flatMap(metricsOf);
  expect(named.length).toBeGreaterThan(50);
  const unknown = named.filter((name) => !exported.has(name.replace(/_bucket$/, '')));
  expect(unknown).toEqual([]);
});

test('every recorded series is recorded, and shown or judged by', () => {
  const rules = ruleGroups().flatMap((group) => group.rules);
  const recorded = rules.flatMap(({ record }) => record ?? []);
  expect(recorded.sort()).toEqual(Object.values(RECORDED).sort());
  const used = new Set(
    [...rules.map(({ expr }) => expr), ...queriesOf(dashboards())].flatMap(metricsOf),
  );
  expect(recorded.filter((name) => !used.has(name))).toEqual([]);
});

test('every alert says what is wrong, what helps and how bad it is', () => {
  for (const { alert, labels, annotations } of ruleGroups().flatMap(({ rules }) => rules)) {
    if (alert === undefined) continue;
    expect([alert, labels?.['severity']]).toEqual([
      alert,
      expect.stringMatching(/^(critical|warning)$/),
    ]);
    expect(annotations?.['summary']).toMatch(/^\S.{10,160}$/);
    expect(annotations?.['description']).toMatch(/^\S.{10,200}$/);
  }
});

test('panels lie beside each other, ask the data source that is chosen, and use known variables', () => {
  for (const board of Object.values(dashboards())) {
    const taken = new Set<string>();
    const variables = board.templating.list.map(({ name }) => name);
    expect(variables[0]).toBe('datasource');
    for (const { title, gridPos, targets } of board.panels) {
      expect([title, gridPos.x + gridPos.w <= 24]).toEqual([title, true]);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect([title, x, y, taken.has(`${x}/${y}`)]).toEqual([title, x, y, false]);
          taken.add(`${x}/${y}`);
        }
      }
      expect(targets?.length).toBeGreaterThan(0);
      for (const target of targets ?? []) {
        expect(target).toMatchObject({ datasource: { type: 'prometheus', uid: '$datasource' } });
      }
    }
    for (const query of queriesOf([board])) {
      for (const [, name = ''] of query.matchAll(/\$(\w+)/g)) {
        expect([query, [...variables, '__range', '__rate_interval'].includes(name)]).toEqual([
          query,
          true,
        ]);
      }
    }
    expect(JSON.stringify(board).length).toBeLessThan(24_000);
  }
});
