// What `treeline score --plot` draws: the series with the highest scores, in the order in which they were read, as an SVG
// file or a page.

import { sep } from 'node:path';
import { PLOT_SERIES_MAX } from '../limits.js';
import type { PlotSeries } from '../plot/chart.js';
import { htmlPage, svgDocument } from '../plot/document.js';
import type { SeriesResult } from './score-batch.js';
import { openOutput } from './score-output.js';

const FORMATS = { svg: svgDocument, html: htmlPage, htm: htmlPage };
type Format = keyof typeof FORMATS;

/** By the end of the name; undefined when it is none that can be drawn. */
export function plotFormat(path: string): Format | undefined {
  const end = /\.(svg|html|htm)$/i.exec(path)?.[1]?.toLowerCase();
  return end as Format | undefined;
}

export async function writePlot(path: string, results: readonly SeriesResult[]): Promise<void> {
  const shown = highest(results, PLOT_SERIES_MAX);
  const files = new Set(results.map(({ file }) => file));
  const nameOf = shortNames([...files]);
  const columns = new Set(results.map(({ column }) => column));
  const series = shown.map((result): PlotSeries => {
    const { file, column, suppressed = 0 } = result;
    const anomalies = result.anomalies.filter(({ verdict }) => verdict !== 'suppressed');
    const anomalyCount = result.anomalyCount - suppressed;
    const name = nameOf(file);
    const title = files.size > 1 ? (columns.size > 1 ? `${name}: ${column}` : name) : column;
    return { title, columns: result.plot!, anomalies, anomalyCount };
  });
  const title = files.size === 1 ? nameOf([...files][0]!) : `${files.size} files`;
  const hiddenCount = results.length - shown.length;
  const text = FORMATS[plotFormat(path)!]({ title, series, hiddenCount });
  const output = openOutput(path);
  await output.write(Buffer.from(text));
  await output.complete();
}

/** Without the folders that all of them share. */
function shortNames(files: readonly string[]): (file: string) => string {
  const folders = files.map((file) => file.split(sep).slice(0, -1));
  let shared = 0;
  const [first = []] = folders;
  while (shared < first.length && folders.every((parts) => parts[shared] === first[shared])) {
    shared++;
  }
  return (file) => file.split(sep).slice(shared).join(sep);
}

function highest(results: readonly SeriesResult[], countMax: number): SeriesResult[] {
  const peakOf = ({ anomalies }: SeriesResult): number =>
    anomalies.reduce((peak, { peakScore }) => Math.max(peak, peakScore), 0);
  const order = [...results.keys()].sort(
    (a, b) => peakOf(results[b]!) - peakOf(results[a]!) || a - b,
  );
  const kept = new Set(order.slice(0, countMax));
  return results.filter((_, at) => kept.has(at));
}
