// What may be written under `forecasts`, and the sentences about what may not.

import { expect, test } from 'vitest';
import { loadSettings } from '../src/config.js';

const ENTRY = { name: 'disk', match: ['node_filesystem_avail_bytes'] };

function settingsOf(forecasts: object[], rest: object = {}) {
  const text = JSON.stringify({ forecasts, ...rest });
  return loadSettings({ file: { name: 'treeline.yaml', text } });
}

test('an entry needs a name and selectors; the rest has defaults', () => {
  expect(settingsOf([ENTRY]).forecasts).toEqual([
    { ...ENTRY, horizon: '1h', interval: '5m', quantiles: [0.1, 0.5, 0.9], seriesMax: 50 },
  ]);
  expect(loadSettings({}).forecasts).toEqual([]);
});

test('settings that make no sense are refused with a sentence', () => {
  const bad = (entry: object, want: string, rest: object = {}) =>
    expect(() => settingsOf([{ ...ENTRY, ...entry }], rest)).toThrow(want);
  bad({ match: ['{a='] }, 'forecasts[0]: match: Cannot read the selector');
  bad({ match: [] }, 'match');
  bad({ interval: '5s' }, 'interval');
  bad({ interval: '2h' }, 'horizon: 1h is over before the next forecast is made');
  bad({ quantiles: [0.5, 1] }, 'quantiles');
  bad({ quantiles: [] }, 'quantiles');
  bad({ seriesMax: 201 }, 'seriesMax');
  bad({ nmae: 'x' }, 'nmae');
  bad({ tenant: 'shop' }, 'a tenant means nothing while tenancy is off');
  bad({}, 'whose series must be said while tenancy is on', { tenancy: 'header' });
  bad({}, 'nothing can forecast', { deepCheck: { runtime: 'none' } });
  expect(() => settingsOf([ENTRY, ENTRY])).toThrow('forecasts[1]: the name disk is given twice');
  const kafka = { log: { kind: 'kafka', kafka: { brokers: ['a:9092'] } } };
  bad({}, 'an api without a scorer needs api.scorers', { ...kafka, roles: ['api'] });
  // A scorer is only told to keep what is needed.
  expect(settingsOf([ENTRY], { ...kafka, roles: ['scorer'] }).forecasts.length).toBe(1);
});
