// The table of all values in the chart's README, made from values.yaml.

import { type ChartGroup, valuesIn } from './values-file.js';

const BEGIN = '<!-- values: made by dist/src/cli/chart-files.js -->';
const END = '<!-- end of values -->';

/** The text with the table between its two marks replaced. */
export function withTable(text: string, values: ChartGroup): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`The README has no ${BEGIN} … ${END}`);
  return `${text.slice(0, begin + BEGIN.length)}\n${table(values)}${text.slice(end)}`;
}

function table(values: ChartGroup): string {
  const rows = valuesIn(values).map(
    (value) => `| \`${value.path}\` | ${shown(value.default)} | ${value.description} |`,
  );
  return `| value | default | meaning |\n|---|---|---|\n${rows.join('\n')}\n`;
}

function shown(value: unknown): string {
  const json = JSON.stringify(value);
  return value === '' ? '' : `\`${json.replaceAll('|', '\\|')}\``;
}
