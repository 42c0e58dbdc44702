// Names and labels of the gauges in each profile: nothing of the series is lost, and no two series become one.

import { expect, test } from 'vitest';
import { classifier } from '../src/receiver/rules.js';
import { PROFILES } from '../src/scorer/gauge-profile.js';

const labels = (text: Record<string, string>) =>
  Object.entries(text).map(([name, value]) => ({ name, value }));

test('each profile keeps the labels of the series and says which metric it speaks of', () => {
  const ok = (profile: keyof typeof PROFILES, from: object, want: object) => {
    const found = PROFILES[profile].labelsOf(labels(from as Record<string, string>));
    expect(new Set(found.map(({ name }) => name)).size).toBe(found.length);
    expect(Object.fromEntries(found.map(({ name, value }) => [name, value]))).toEqual(want);
  };
  const up = { __name__: 'up', job: 'a' };
  const shown = { source_metric: 'up', job: 'a', detector: 'series' };
  ok('default', up, shown);
  ok('default', { ...up, detector: 'x' }, { ...shown, exported_detector: 'x' });
  ok('default', { ...up, for: 'x' }, { ...shown, for: 'x' });
  ok('vmanomaly', up, { ...shown, for: 'up' });
  ok('vmanomaly', { ...up, for: 'x' }, { ...shown, for: 'up', exported_for: 'x' });
});

test('the receiver leaves out whatever a profile writes', () => {
  const classify = classifier({ keep: [], drop: [] });
  for (const { gauges, labelsOf } of Object.values(PROFILES)) {
    const own = labelsOf(labels({ __name__: 'up', job: 'a' }));
    for (const { name } of gauges) {
      expect(classify([{ name: '__name__', value: name }, ...own])).toBe('own_output');
    }
  }
});

test('the profile vmanomaly has the names that its users know', () => {
  expect(PROFILES.vmanomaly.gauges.map(({ name }) => name)).toEqual([
    'anomaly_score',
    'y',
    'yhat',
    'yhat_lower',
    'yhat_upper',
  ]);
});
