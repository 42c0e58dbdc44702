// From the settings of `detectors` to what a scorer takes, and what a schema cannot say of them: names that are told
// apart, selectors that parse, and labels by which all series of an entity meet in one partition.

import type { Settings } from './config.js';
import { PRESETS } from './detector-presets.js';
import { BadMatcher, parseSelector } from './matchers.js';
import { type DetectorSpec, partitionSetOf } from './scorer/detectors.js';
import type { BrokenRule } from './settings-rules.js';

type Entry = Settings['detectors'][number];

/** Label whose values are names of pods, unless a detector says otherwise. */
const POD_LABELS = ['pod', 'pod_name'];

export function detectorSpecs({ detectors }: Pick<Settings, 'detectors'>): DetectorSpec[] {
  return detectors.map((entry) => {
    const preset = entry.preset === undefined ? undefined : PRESETS[entry.preset];
    const by = entry.by ?? labelsOf(preset?.by ?? [], entry.podLabel);
    const workload = workloadOf(entry, by);
    return {
      name: entry.name ?? entry.preset ?? '',
      match: entry.match,
      by,
      features: (entry.features ?? preset?.features ?? []).map(
        ({ name, match, aggregate, ...rest }) => ({ name, match, aggregate, ...rest }),
      ),
      ...(workload !== undefined && { workload }),
      trees: entry.trees,
      remember: entry.remember,
      share: entry.contamination === 'auto' ? 0 : entry.contamination,
    };
  });
}

function labelsOf(by: readonly string[], podLabel: string | undefined): string[] {
  return by.map((name) => (name === 'pod' && podLabel !== undefined ? podLabel : name));
}

/** A pod's workload is told by its name; else a label must name it. */
function workloadOf(
  { workload, podLabel }: Entry,
  by: readonly string[],
): DetectorSpec['workload'] {
  if (workload !== undefined) return { label: workload, isPod: false };
  const label = podLabel ?? by.find((name) => POD_LABELS.includes(name));
  return label === undefined ? undefined : { label, isPod: true };
}

export function detectorRules({ detectors, ingest }: Settings): BrokenRule[] {
  const specs = detectorSpecs({ detectors });
  const key = 'detectors';
  return specs.flatMap((spec, index) => {
    const isTwice = specs.findIndex(({ name }) => name === spec.name) !== index;
    const fault = isTwice ? `the name ${spec.name} is given twice` : faultOf(spec, ingest);
    return fault === undefined ? [] : [{ key, message: `${key}[${index}]: ${fault}` }];
  });
}

function faultOf(
  { name, by, features, match, workload }: DetectorSpec,
  { partitionBy, stripLabels }: Settings['ingest'],
): string | undefined {
  if (name === '') return 'name is missing, or a preset that has one';
  if (name === 'series') return 'the name series is that of the detector of every series by itself';
  if (by.length === 0) return 'by is missing: the labels that name an entity';
  if (features.length === 0) return 'features are missing';
  if (workload?.isPod === true && !by.includes(workload.label)) {
    return `podLabel: ${workload.label} is not among the labels in by`;
  }
  const own = by.find((label) => label === '__name__' || label === 'detector');
  if (own !== undefined) return `by: ${own} cannot name an entity`;
  const stripped = by.find((label) => stripLabels.includes(label));
  if (stripped !== undefined)
    return `by: ${stripped} is removed on arrival, see ingest.stripLabels`;
  if (partitionSetOf(by, partitionBy) === undefined) {
    const sets = partitionBy.map((names) => `[${names.join(', ')}]`).join(', ');
    return (
      `by [${by.join(', ')}]: the series of an entity would lie in several partitions, which ` +
      `ingest.partitionBy (${sets}) chooses by other labels; by must contain one of these sets`
    );
  }
  const names = features.map((feature) => feature.name);
  const twice = names.find((one, i) => names.indexOf(one) !== i);
  if (twice !== undefined) return `the feature ${twice} is given twice`;
  return selectorFault([...match, ...features.flatMap((feature) => feature.match)]);
}

function selectorFault(selectors: readonly string[]): string | undefined {
  for (const selector of selectors) {
    try {
      parseSelector(selector);
    } catch (error) {
      if (!(error instanceof BadMatcher)) throw error;
      return error.message;
    }
  }
  return undefined;
}
