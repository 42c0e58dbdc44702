// What the anomaly gauges are called. `default` are our own names; `vmanomaly` are those of VictoriaMetrics' detector
// (https://docs.victoriametrics.com/anomaly-detection/), so that dashboards and alert rules made for it go on working:
// the value itself is `y`, what was expected `yhat`, and `for` names what was looked at. In every profile the series keeps
// its labels, and `source_metric` is there, by which the receiver knows its own output.

import type { Label } from '../series.js';
import { ENTITY_METRIC } from './detectors.js';

export type ProfileName = 'default' | 'pod-service' | 'vmanomaly';

export type Measure = 'score' | 'flag' | 'value' | 'expected' | 'lower' | 'upper';

export interface GaugeProfile {
  /** In the order in which they are shown. */
  gauges: readonly { name: string; help: string; measure: Measure }[];
  labelsOf(labels: readonly Label[]): Label[];
}

/** Name of the detector that scores every series by itself. */
export const DETECTOR = 'series';

const SCORE = 'Score of the newest sample; 1 is the alert threshold';

const DEFAULT: GaugeProfile = {
  gauges: [
    { name: 'anomaly_score', help: SCORE, measure: 'score' },
    { name: 'anomaly_flag', help: '1 while an anomaly is open', measure: 'flag' },
    {
      name: 'anomaly_expected',
      help: 'Value expected for the newest sample',
      measure: 'expected',
    },
    {
      name: 'anomaly_expected_lower',
      help: 'Lower edge of the expected band',
      measure: 'lower',
    },
    {
      name: 'anomaly_expected_upper',
      help: 'Upper edge of the expected band',
      measure: 'upper',
    },
  ],
  labelsOf: gaugeLabelsOf,
};

export const PROFILES: Record<ProfileName, GaugeProfile> = {
  default: DEFAULT,
  // What it changes is in /metrics (src/detect.ts).
  'pod-service': DEFAULT,
  vmanomaly: {
    gauges: [
      { name: 'anomaly_score', help: SCORE, measure: 'score' },
      { name: 'y', help: 'The newest value, of a counter its rate', measure: 'value' },
      { name: 'yhat', help: 'Value expected for the newest sample', measure: 'expected' },
      { name: 'yhat_lower', help: 'Lower edge of the expected band', measure: 'lower' },
      { name: 'yhat_upper', help: 'Upper edge of the expected band', measure: 'upper' },
    ],
    labelsOf: (labels) => {
      const source = labels.find(({ name }) => name === '__name__')?.value ?? '';
      // A source's own label of that name keeps its value.
      const ours = gaugeLabelsOf(labels).map(({ name, value }) => ({
        name: name === 'for' ? 'exported_for' : name,
        value,
      }));
      return [...ours, { name: 'for', value: source }];
    },
  },
};

/** The source's labels, its metric as `source_metric`, and the detector; a source's own `detector` keeps its value. */
export function gaugeLabelsOf(labels: readonly Label[]): Label[] {
  // An entity has no metric of its own, and its labels are ours.
  const isEntity = labels.some(({ name, value }) => name === '__name__' && value === ENTITY_METRIC);
  if (isEntity) return labels.filter(({ name }) => name !== '__name__');
  const ours = labels.map(({ name, value }) => {
    if (name === '__name__') return { name: 'source_metric', value };
    return name === 'detector' ? { name: 'exported_detector', value } : { name, value };
  });
  return [...ours, { name: 'detector', value: DETECTOR }];
}
