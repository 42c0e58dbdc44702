// Forecasts as gauges, so that rules can be written about values that have not come yet: of each series the value at its
// horizon, by quantile, and which moment that is. Both names begin with anomaly_, so that nobody takes them for samples.

import type { Label } from '../series.js';
import { currentOf, endOf, type Made, type SeriesEntry } from './forecast-entries.js';

export type LabelText = (labels: readonly Label[], isUtf8: boolean) => string;

export interface ShownForecasts {
  name: string;
  tenant: string;
  quantiles: readonly number[];
  entries: Iterable<SeriesEntry>;
}

interface Row {
  made: Made;
  labels: Label[];
  quantiles: readonly number[];
}

const VALUE = 'anomaly_forecast';
const MOMENT = 'anomaly_forecast_timestamp_seconds';
const SLICE_CHARACTERS = 32 * 1024;

/** In slices of bounded size. */
export function* forecastLines(
  shown: Iterable<ShownForecasts>,
  scrape: {
    isUtf8: boolean;
    matches: (labels: readonly Label[]) => boolean;
    tenant: string;
    nowMs: number;
    labelText: LabelText;
  },
): Generator<string> {
  const { isUtf8, matches, tenant, nowMs, labelText } = scrape;
  const rows: Row[] = [];
  for (const { name, quantiles, entries, ...of } of shown) {
    if (of.tenant !== tenant) continue;
    for (const entry of entries) {
      const made = currentOf(entry, nowMs);
      const own = Object.entries(entry.labels).map(([key, value]) => ({ name: key, value }));
      if (made === undefined || !matches(own)) continue;
      rows.push({ made, labels: gaugeLabels(own, name), quantiles });
    }
  }
  let slice = `# HELP ${VALUE} Value at the horizon of the forecast; of a counter its rate\n# TYPE ${VALUE} gauge\n`;
  for (const { made, labels, quantiles } of rows) {
    for (const [index, level] of quantiles.entries()) {
      const text = labelText([...labels, { name: 'quantile', value: String(level) }], isUtf8);
      slice += `${VALUE}${text} ${made.values[index]?.at(-1)}\n`;
    }
    if (slice.length > SLICE_CHARACTERS) {
      yield slice;
      slice = '';
    }
  }
  slice += `# HELP ${MOMENT} The moment that the forecast is about\n# TYPE ${MOMENT} gauge\n`;
  for (const { made, labels } of rows) {
    slice += `${MOMENT}${labelText(labels, isUtf8)} ${endOf(made) / 1000}\n`;
    if (slice.length > SLICE_CHARACTERS) {
      yield slice;
      slice = '';
    }
  }
  yield slice;
}

/** The source's labels, its metric as `source_metric`; a source's own `forecast` and `quantile` keep their values. */
function gaugeLabels(labels: readonly Label[], forecast: string): Label[] {
  const own = labels.map(({ name, value }) => {
    if (name === '__name__') return { name: 'source_metric', value };
    const isOurs = name === 'forecast' || name === 'quantile';
    return { name: isOurs ? `exported_${name}` : name, value };
  });
  return [...own, { name: 'forecast', value: forecast }];
}
