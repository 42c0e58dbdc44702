import { expect, test } from 'vitest';
import { BadMatcher } from '../src/matchers.js';
import { classifier, classify, type IngestRules } from '../src/receiver/rules.js';
import { WasmDecoder } from '../src/receiver/wasm-decoder.js';
import { loadWasm } from '../src/wasm-files.js';
import { writeBody } from './remote-write-sender.js';

const labels = (text: string) =>
  text.split(' ').map((pair) => {
    const [name = '', value = ''] = pair.split('=');
    return value === '' ? { name: '__name__', value: name } : { name, value };
  });

test('what we wrote ourselves and what carries no behaviour is left out by default', () => {
  const ok = (series: string, want: string) =>
    expect([series, classify(labels(series))]).toEqual([series, want]);
  ok('up job=a', 'keep');
  ok('anomaly_score', 'own_output');
  ok('treeline_series', 'own_output');
  ok('x source_metric=y', 'own_output');
  ok('scrape_duration_seconds', 'ignored');
  ok('node_uname_info', 'ignored');
  ok('x_created', 'ignored');
  ok('ALERTS_FOR_STATE', 'ignored');
  ok('ALERTS', 'keep');
});

test('drop wins over keep, and the built-in rules over both', () => {
  const rules = { keep: ['up', '{job=~"a|b"}'], drop: ['{job="b"}', '{__name__=~".+_bucket"}'] };
  const judge = classifier(rules);
  const ok = (series: string, want: string) =>
    expect([series, judge(labels(series))]).toEqual([series, want]);
  ok('up job=c', 'keep');
  ok('up job=b', 'dropped');
  ok('x job=a', 'keep');
  ok('x_bucket job=a', 'dropped');
  ok('x job=c', 'dropped');
  ok('anomaly_flag job=a', 'own_output');
  ok('go_info job=a', 'ignored');
});

test('without rules everything is kept; a selector that cannot be read is refused at once', () => {
  expect(classifier({ keep: [], drop: [] })(labels('x'))).toBe('keep');
  expect(() => classifier({ keep: [], drop: ['{'] })).toThrow(BadMatcher);
  expect(() => classifier({ keep: ['{a=~"(a+)+"}'], drop: [] })).toThrow(BadMatcher);
});

test('a rule is asked once per series, and what it leaves out is counted', () => {
  const asked: string[] = [];
  const rules: IngestRules = { keep: [], drop: ['{job="noise"}'] };
  const judge = classifier(rules);
  const decoder = new WasmDecoder(loadWasm('decode').module, {
    partitions: 1,
    partitionBy: [['instance']],
    stripLabels: ['replica'],
    classify: (series) => {
      asked.push(series.map(({ name, value }) => `${name}=${value}`).join(' '));
      return judge(series);
    },
  });
  const at = 1_760_000_000_000;
  const send = () => {
    const body = writeBody([
      {
        labels: { __name__: 'x', job: 'noise', replica: 'a' },
        points: [
          [at, 1],
          [at + 1, 2],
        ],
      },
      { labels: { __name__: 'x', job: 'noise', replica: 'b' }, points: [[at, 1]] },
      { labels: { __name__: 'x', job: 'shop' }, points: [[at, 1]] },
    ]);
    decoder.input(body.length).set(body);
    const { received, leftOut, blocks } = decoder.decode(body.length, { tenant: '', nowMs: at });
    return [received, leftOut.dropped, blocks[0]?.samples];
  };
  expect([send(), send()]).toEqual([
    [4, 3, 1],
    [4, 3, 1],
  ]);
  // The stripped label tells nothing apart: two series, one question each.
  expect(new Set(asked)).toEqual(new Set(['__name__=x job=noise', '__name__=x job=shop']));
});
