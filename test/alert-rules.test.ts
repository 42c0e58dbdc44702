// The rules and dashboards in front of Debian's promtool and Prometheus: each alert fires in its case and stays silent
// beside it, each query is understood, and a Prometheus that scrapes a running Treeline has something to show.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { dashboards } from '../src/observability/dashboards.js';
import { ruleFile } from '../src/observability/rule-file.js';
import { ruleGroups } from '../src/observability/rules.js';
import { ALERT_CASES, type AlertCase } from './alert-cases.js';
import { peerBinary, startPrometheus } from './peers.js';
import { endPrograms, eventually, runProgram, temporaryDirectory } from './programs.js';
import { asked, queriesOf } from './promql-names.js';
import { randomOf } from './random.js';
import { openSender, writeBody } from './remote-write-sender.js';
import { partitionsAtRest, startTreeline } from './treeline-process.js';

const rules = ruleGroups().flatMap((group) => group.rules);
const directory = temporaryDirectory('alert-rules');
const rulesPath = join(directory, 'rules.yaml');
writeFileSync(rulesPath, ruleFile(ruleGroups()));

afterAll(endPrograms);

async function promtool(...args: string[]) {
  const ran = await runProgram(await peerBinary('promtool'), args, {
    directory,
    timeoutMs: 30_000,
  });
  return { code: ran.code, output: ran.stdout + ran.stderr };
}

test('promtool understands every rule, and every query of the dashboards', async () => {
  expect(await promtool('check', 'rules', '--lint-fatal', rulesPath)).toMatchObject({ code: 0 });
  const queries = queriesOf(dashboards()).map((query, index) => ({
    record: `query:${index}`,
    expr: asked(query),
  }));
  const path = join(directory, 'queries.yaml');
  writeFileSync(path, stringify({ groups: [{ name: 'queries', rules: queries }] }));
  expect(await promtool('check', 'rules', path)).toMatchObject({
    code: 0,
    output: expect.stringContaining(`SUCCESS: ${queries.length} rules found`),
  });
  writeFileSync(
    path,
    stringify({ groups: [{ name: 'q', rules: [{ record: 'a', expr: 'sum(' }] }] }),
  );
  expect(await promtool('check', 'rules', path)).not.toMatchObject({ code: 0 });
});

test('every alert has a case in which it fires and one in which it does not', () => {
  const alerts = rules.flatMap(({ alert }) => alert ?? []);
  const covered = (fires: boolean) =>
    new Set(
      ALERT_CASES.filter((one) => (one.summary !== undefined) === fires).map((one) => one.alert),
    );
  expect(alerts.filter((name) => !covered(true).has(name))).toEqual([]);
  expect(alerts.filter((name) => !covered(false).has(name))).toEqual([]);
});

test('alerts fire when they should, say what is wrong, and are silent otherwise', async () => {
  const path = join(directory, 'cases.yaml');
  writeFileSync(path, testFile(ALERT_CASES));
  expect(await promtool('test', 'rules', path)).toEqual({
    code: 0,
    output: expect.stringContaining('SUCCESS'),
  });
  // The tool does compare: the same with another number in a summary fails.
  const [first] = ALERT_CASES.filter(({ summary }) => summary !== undefined) as [AlertCase];
  writeFileSync(path, testFile([{ ...first, summary: `${first.summary} or not` }]));
  expect((await promtool('test', 'rules', path)).output).toContain('FAILED');
});

test('a Prometheus that scrapes Treeline evaluates every rule and has something in the panels', {
  timeout: 120_000,
}, async () => {
  const treeline = await startTreeline();
  const sender = openSender(treeline.url);
  expect((await sender.send(writeBody(faultySeries()))).status).toBe(204);
  sender.close();
  await partitionsAtRest(treeline);
  const target = `[{ targets: ["127.0.0.1:${treeline.port}"] }]`;
  const prometheus = await startPrometheus(`global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [${rulesPath}]
scrape_configs:
  - { job_name: treeline, honor_labels: true, metrics_path: /metrics/anomalies, static_configs: ${target} }
  - { job_name: treeline-itself, static_configs: ${target} }
`);
  type Evaluated = { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
  const evaluated = await eventually('all rules evaluated', 30_000, async () => {
    const answer = await fetch(`${prometheus.url}/api/v1/rules`);
    const { data: body } = (await answer.json()) as { data: Evaluated };
    const all = body.groups.flatMap((group) => group.rules);
    return all.every(({ health }) => health !== 'unknown') ? all : undefined;
  });
  expect(evaluated.filter(({ health }) => health !== 'ok')).toEqual([]);
  expect(evaluated.length).toBe(rules.length);
  const flagged = 'treeline:anomaly_flag:count_severe{namespace="shop",job="db"} == 1';
  await eventually('a severe anomaly', 20_000, async () => (await prometheus.query(flagged))[0]);
  const memory = await eventually('the share of memory', 20_000, async () => {
    return (await prometheus.query('treeline:memory:ratio'))[0];
  });
  expect(Number(memory.value[1])).toBeGreaterThan(0);
  expect(Number(memory.value[1])).toBeLessThan(1);
  // Values of the series themselves are not scraped here, there is no Kafka, and nothing was rejected.
  const expected = queriesOf(dashboards()).filter(
    (query) => !/__name__|kafka|samples_rejected/.test(query),
  );
  expect(expected.length).toBeGreaterThan(30);
  let empty: string[] = expected;
  await eventually('something in every panel', 30_000, async () => {
    const answers = await Promise.all(
      empty.map((query) => prometheus.query(asked(query, { source_metric: 'queue_length' }))),
    );
    empty = empty.filter((_, index) => answers[index]?.length === 0);
    return empty.length === 0 ? true : undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}; nothing in:\n${empty.join('\n')}`);
  });
  await prometheus.stop();
  await treeline.stop();
});

/** A calm series whose last samples are far away from all before. */
function faultySeries() {
  const random = randomOf(7);
  const begin = Date.now() - 200 * 15_000;
  const points = Array.from(
    { length: 200 },
    (_, i) => [begin + i * 15_000, 10 + random() + (i >= 196 ? 500 : 0)] as const,
  );
  return [
    { labels: { __name__: 'queue_length', namespace: 'shop', job: 'db', pod: 'db-0' }, points },
  ];
}

/** One promtool test per case: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/ */
function testFile(cases: readonly AlertCase[]): string {
  const tests = cases.map(({ alert, name, series, at = '30m', labels = {}, summary }) => {
    const rule = rules.find((one) => one.alert === alert);
    const description = rule?.annotations?.['description'];
    const firing = {
      exp_labels: { ...rule?.labels, ...labels },
      exp_annotations: { summary, description },
    };
    return {
      name: `${alert}: ${name}`,
      interval: '1m',
      input_series: Object.entries(series).map(([selector, values]) => ({
        series: selector,
        values,
      })),
      alert_rule_test: [
        { eval_time: at, alertname: alert, exp_alerts: summary === undefined ? [] : [firing] },
      ],
    };
  });
  return stringify({ rule_files: [rulesPath], evaluation_interval: '1m', tests });
}
