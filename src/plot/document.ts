// Charts as a document: one SVG file, or one page that needs nothing but itself. Many series are small multiples, each
// with its own axes. The page holds each chart in two widths and shows the one that fits, so that letters keep their
// size on a phone; it runs no script and may, by its own policy, load nothing.

import { createHash } from 'node:crypto';
import { anomalyText, type ChartFrame, drawChart, numbersOf, type PlotSeries } from './chart.js';
import {
  CAUSE_WORDS,
  CHART_CSS,
  CHART_DEFS,
  clip,
  escapeMarkup,
  HATCH_ID,
  mark,
  PAGE_CSS,
} from './look.js';
import { momentText, spanText, valueText } from './ticks.js';

export interface PlotDocument {
  title: string;
  series: readonly PlotSeries[];
  /** Series that there was no room for. */
  hiddenCount: number;
}

const CHART_HEIGHT = 236;
/** One series may have the page to itself. */
const LONE = { width: 1080, height: 300 };
const WIDE = { width: 600, height: CHART_HEIGHT };
const NARROW = { width: 344, height: 216 };
const FILE_WIDE = { width: 900, height: 260 };
const FILE_PAIR = { width: 620, height: CHART_HEIGHT };
const PAIRS_FROM = 4;
const MARGIN = 16;
const TITLE_HEIGHT = 30;
const LINE_HEIGHT = 16;
const LINES_MAX = 4;
const HEAD_HEIGHT = 84;

export function svgDocument({ title, series, hiddenCount }: PlotDocument): string {
  const perRow = series.length >= PAIRS_FROM ? 2 : 1;
  const frame = perRow === 2 ? FILE_PAIR : FILE_WIDE;
  const width = perRow * frame.width + (perRow + 1) * MARGIN;
  const cells: string[] = [];
  let y = HEAD_HEIGHT;
  for (let from = 0; from < series.length; from += perRow) {
    const row = series.slice(from, from + perRow);
    const texts = row.map(lines);
    for (const [at, one] of row.entries()) {
      const x = MARGIN + at * (frame.width + MARGIN);
      cells.push(`<g transform="translate(${x} ${y})">${cell(one, texts[at]!, frame)}</g>`);
    }
    const lineCount = Math.max(...texts.map(({ length }) => length));
    y += TITLE_HEIGHT + frame.height + LINE_HEIGHT * lineCount + MARGIN;
  }
  const height = y;
  const count = summaryText(series, hiddenCount);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" role="img"><title>${escapeMarkup(`${title}: ${count}`)}</title>` +
    `<style>${CHART_CSS}</style>${CHART_DEFS}<rect class="paper" width="100%" height="100%"/>` +
    `<text class="heading" x="${MARGIN}" y="30">${escapeMarkup(clip(title, width - 2 * MARGIN, 18))}</text>` +
    `<text class="faint" x="${MARGIN}" y="50">${escapeMarkup(count)}</text>` +
    `<g transform="translate(${MARGIN} 68)">${legend()}</g>${cells.join('')}</svg>\n`
  );
}

function cell(series: PlotSeries, texts: readonly string[], frame: ChartFrame): string {
  const { width, height } = frame;
  const name = escapeMarkup(clip(series.title, width - 120, 14));
  const under = texts.map((text, at) => {
    const y = TITLE_HEIGHT + height + 8 + at * LINE_HEIGHT;
    const shown = escapeMarkup(clip(text, width - 8, 11));
    return `<text class="faint small" x="8" y="${y}">${shown}</text>`;
  });
  return (
    `<text class="title" y="16">${name}</text>` +
    `<text class="faint" x="${width}" y="16" text-anchor="end">${countText(series)}</text>` +
    `<g transform="translate(0 ${TITLE_HEIGHT - 6})">${drawChart(series, frame)}</g>` +
    under.join('')
  );
}

/** What a pointer cannot ask for on paper: the highest anomalies. */
function lines(series: PlotSeries): string[] {
  const count = series.anomalyCount > LINES_MAX ? LINES_MAX - 1 : LINES_MAX;
  const shown = [...numbersOf(series.anomalies)]
    .sort(([a], [b]) => b.peakScore - a.peakScore)
    .slice(0, count)
    .sort(([, a], [, b]) => a - b);
  const texts = shown.map(([anomaly, number]) => `${number}: ${anomalyText(anomaly)}`);
  const rest = series.anomalyCount - shown.length;
  return rest > 0 ? [...texts, `and ${rest} more`] : texts;
}

export function htmlPage({ title, series, hiddenCount }: PlotDocument): string {
  const css = `${CHART_CSS}${LAYOUT_CSS}${PAGE_CSS}`;
  const hash = createHash('sha256').update(css).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const name = escapeMarkup(title);
  const wide = series.length === 1 ? LONE : WIDE;
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">' +
    `<meta http-equiv="Content-Security-Policy" content="${policy}">` +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<meta name="color-scheme" content="light dark"><title>${name}</title><style>${css}</style>` +
    // The hatch is defined here: within a chart that is not shown it could not be used by the other.
    `</head><body><svg class="definitions" aria-hidden="true" width="0" height="0">${CHART_DEFS}</svg>` +
    `<header><h1>${name}</h1><p class="faint">${escapeMarkup(summaryText(series, hiddenCount))}</p>` +
    `${pageLegend()}</header><main${series.length === 1 ? ' class="single"' : ''}>` +
    `${series.map((one) => figure(one, wide)).join('\n')}</main></body></html>\n`
  );
}

function figure(series: PlotSeries, wide: ChartFrame): string {
  const chart = (name: string, frame: ChartFrame): string =>
    `<svg class="chart ${name}" viewBox="0 0 ${frame.width} ${frame.height}" role="img" ` +
    `aria-label="${escapeMarkup(`${series.title}: ${countText(series)}`)}">${drawChart(series, frame)}</svg>`;
  return (
    `<figure><figcaption><b>${escapeMarkup(series.title)}</b> <span class="faint">${countText(series)}</span>` +
    `</figcaption>${chart('wide', wide)}${chart('narrow', NARROW)}${table(series)}</figure>`
  );
}

function table(series: PlotSeries): string {
  const numbered = [...numbersOf(series.anomalies)];
  if (numbered.length === 0) return '';
  const rows = numbered.map(([anomaly, number]) => {
    const { onsetMs, endMs, peakMs, peakValue, peakScore, cause } = anomaly;
    const lasted = Number.isNaN(endMs) ? 'not over' : spanText(endMs - onsetMs);
    const cells = [momentText(onsetMs), lasted, momentText(peakMs), valueText(peakValue)];
    const words = CAUSE_WORDS[cause] === undefined ? cause : `${cause}: ${CAUSE_WORDS[cause]}`;
    return `<tr><th>${number}</th>${[...cells, peakScore.toFixed(2), words]
      .map((cell) => `<td>${escapeMarkup(cell)}</td>`)
      .join('')}</tr>`;
  });
  const rest = series.anomalyCount - numbered.length;
  return (
    '<details><summary>Anomalies</summary><div class="scroll"><table><thead><tr><th>#</th><th>onset (UTC)</th>' +
    '<th>lasted</th><th>peak (UTC)</th><th>value</th><th>score</th><th>cause</th></tr></thead>' +
    `<tbody>${rows.join('')}</tbody></table></div>` +
    `${rest > 0 ? `<p class="faint">and ${rest} more, less high</p>` : ''}</details>`
  );
}

function countText({ anomalyCount }: PlotSeries): string {
  if (anomalyCount === 0) return 'no anomalies';
  return anomalyCount === 1 ? '1 anomaly' : `${anomalyCount} anomalies`;
}

function summaryText(series: readonly PlotSeries[], hiddenCount: number): string {
  const anomalies = series.reduce((sum, { anomalyCount }) => sum + anomalyCount, 0);
  const hidden =
    hiddenCount > 0 ? `; ${hiddenCount} more series with lower scores are not shown` : '';
  const count = series.length === 1 ? '1 series' : `${series.length} series`;
  return `${count}, ${countText({ anomalyCount: anomalies } as PlotSeries)}${hidden}. Times are UTC.`;
}

const LEGEND: readonly (readonly [string, string])[] = [
  ['value', '<path class="value" d="M0 2L8 -3L14 3L22 -2"/>'],
  [
    'expected band',
    '<rect class="band" y="-6" width="22" height="12"/><path class="expected" d="M0 0H22"/>',
  ],
  [
    'anomaly',
    `<rect class="span" y="-6" width="22" height="12"/><rect y="-6" width="22" height="12" fill="url(#${HATCH_ID})"/>`,
  ],
  ...Object.entries(CAUSE_WORDS).map(([cause, words]) => [words, mark(cause, 11, 0)] as const),
];

function legend(): string {
  let x = 0;
  return LEGEND.map(([words, sign]) => {
    const part = `<g transform="translate(${x} 0)">${sign}<text class="faint" x="28" y="4">${words}</text></g>`;
    x += 44 + words.length * 6.6;
    return part;
  }).join('');
}

/** As separate signs that wrap with the line. */
function pageLegend(): string {
  const signs = LEGEND.map(
    ([words, sign]) =>
      `<li><svg class="chart sign" width="24" height="14" viewBox="-1 -7 24 14" aria-hidden="true">${sign}</svg> ${words}</li>`,
  );
  return `<ul class="legend faint">${signs.join('')}</ul>`;
}

const LAYOUT_CSS = [
  'body{font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}',
  'header,main{max-width:1280px;margin:0 auto;padding:0 16px}h1{font-size:1.3rem;margin:16px 0 0}',
  'h1,figcaption{overflow-wrap:anywhere}p{margin:4px 0}',
  '.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:8px 0 12px;padding:0;font-size:.85rem}',
  '.legend svg{vertical-align:-2px}.definitions{position:absolute}',
  'main{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,540px),1fr));gap:20px 24px;padding-bottom:32px}',
  'main.single{display:block}figure{margin:0;min-width:0}.wide,.narrow{display:block;width:100%;height:auto}',
  '.narrow{display:none}@media(max-width:520px){.wide{display:none}.narrow{display:block}}',
  'details{font-size:.85rem}summary{cursor:pointer}.scroll{overflow-x:auto}',
  'table{border-collapse:collapse}td,th{border-bottom:1px solid;padding:3px 10px 3px 0;text-align:left;white-space:nowrap}',
].join('');
