// How every Treeline chart looks: colours for light and dark, marks for causes, and the text functions that keep what
// others named from becoming markup. Blue against vermilion is told apart with any colour sight (Okabe and Ito, "Color
// Universal Design"); and nothing relies on colour alone: spans are hatched, causes have shapes, anomalies have numbers.

const LIGHT = {
  paper: '#ffffff',
  ink: '#1d2129',
  faint: '#5b6472',
  grid: '#e4e7ec',
  value: '#0060a8',
  band: '#cfe3f3',
  expected: '#4f6b86',
  alarm: '#c44a00',
};
const DARK = {
  paper: '#14171c',
  ink: '#e6e9ee',
  faint: '#a2abb8',
  grid: '#2b3039',
  value: '#5db5f0',
  band: '#1f3a52',
  expected: '#8fabc5',
  alarm: '#ff8f4a',
};

function rules(colours: typeof LIGHT): string {
  return [
    `.paper{fill:${colours.paper}}`,
    `.chart text{fill:${colours.ink}}.chart text.faint{fill:${colours.faint}}`,
    `.chart text.alarm{fill:${colours.alarm}}`,
    `.grid{stroke:${colours.grid}}.axis{stroke:${colours.faint}}`,
    `.value,.lone{stroke:${colours.value}}.band{fill:${colours.band}}.expected{stroke:${colours.expected}}`,
    `.span{fill:${colours.alarm}}.hatch{stroke:${colours.alarm}}`,
    `.mark{fill:${colours.alarm};stroke:${colours.paper}}`,
    `.calm{stroke:${colours.faint}}.loud{stroke:${colours.alarm}}`,
    `.threshold{stroke:${colours.alarm}}`,
  ].join('');
}

/** For the style element of the document that a chart stands in. No custom properties: not every viewer knows them. */
export const CHART_CSS = [
  `.chart{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}`,
  `.chart text.title{font-size:14px;font-weight:600}.chart text.heading{font-size:18px;font-weight:600}`,
  `.chart text.small{font-size:11px}`,
  '.grid,.axis{stroke-width:1}.value,.expected,.calm,.loud,.threshold{fill:none}',
  '.value{stroke-width:1.4;stroke-linejoin:round;stroke-linecap:round}',
  '.lone{stroke-width:5;stroke-linecap:round;fill:none}',
  '.expected{stroke-width:1;stroke-dasharray:4 3}.threshold{stroke-width:1;stroke-dasharray:2 3}',
  '.span{fill-opacity:.16}.hatch{stroke-width:1.2;stroke-opacity:.55}.mark{stroke-width:1}',
  '.calm{stroke-width:1;stroke-opacity:.6}.loud{stroke-width:2}',
  rules(LIGHT),
  `@media(prefers-color-scheme:dark){${rules(DARK)}}`,
].join('');

/** Colours of a page around charts. */
export const PAGE_CSS = [
  `:root{color-scheme:light dark}body{margin:0;background:${LIGHT.paper};color:${LIGHT.ink}}`,
  `.faint{color:${LIGHT.faint}}td,th{border-color:${LIGHT.grid}}`,
  `@media(prefers-color-scheme:dark){body{background:${DARK.paper};color:${DARK.ink}}`,
  `.faint{color:${DARK.faint}}td,th{border-color:${DARK.grid}}}`,
].join('');

export const HATCH_ID = 'treeline-hatch';
/** Once in every document: what spans of anomalies are filled with. */
export const CHART_DEFS =
  `<defs><pattern id="${HATCH_ID}" width="6" height="6" patternUnits="userSpaceOnUse" ` +
  'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>';

const SHAPES: Readonly<Record<string, string>> = {
  magnitude: 'M0 -5.5L5.2 4.2H-5.2Z',
  novelty: 'M0 -5.8L5.8 0L0 5.8L-5.8 0Z',
  quiet: 'M-4.6 -4.6H4.6V4.6H-4.6Z',
};
/** What each cause means to somebody who reads a chart. */
export const CAUSE_WORDS: Readonly<Record<string, string>> = {
  magnitude: 'further out than usual',
  novelty: 'a pattern not seen before',
  quiet: 'too quiet',
};
const CIRCLE = 'M-5 0A5 5 0 1 1 5 0A5 5 0 1 1 -5 0Z';

export function mark(cause: string, x: number, y: number): string {
  const shape = Object.hasOwn(SHAPES, cause) ? SHAPES[cause] : CIRCLE;
  return `<path class="mark" transform="translate(${round(x)} ${round(y)})" d="${shape}"/>`;
}

/** For text and attributes of XML and HTML; what XML forbids altogether becomes a replacement character. */
export function escapeMarkup(text: string): string {
  return (
    text
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that XML forbids.
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
      .replace(/[\ud800-\udfff]/gu, '\ufffd')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
  );
}

/** Cut where it would pass `width` pixels at this size of letters. Widths are estimated: letters are not measured here. */
export function clip(text: string, width: number, fontSize: number): string {
  const letters = [...text];
  const room = Math.max(1, Math.floor(width / (0.56 * fontSize)));
  return letters.length <= room ? text : `${letters.slice(0, room - 1).join('')}…`;
}

/** Coordinates to a tenth of a pixel. */
export function round(coordinate: number): string {
  return String(Math.round(coordinate * 10) / 10);
}
