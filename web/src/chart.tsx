// Value with the expected band, before it what a Prometheus has of the time before, and below it the score with its
// threshold, over the same time. Drawn on canvas by uPlot; what it shows is also said in words beside it. Anomalies are shaded; where one is known only by its onset, peak and
// expected value, these points are drawn too.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { number, tick } from './format.js';
import type { Points } from './observed.js';
import type { Anomaly } from './rows.js';
import { colour, colourVersion } from './theme.js';

const VALUE_HEIGHT = 250;
const SCORE_HEIGHT = 116;
const AXIS_WIDTH = 64;
const TIME_HEIGHT = 34;
/** Above the time of an anomaly. */
const RIBBON_HEIGHT = 3;
/** A chart shows at least so many seconds, so that two points are not a wall. */
const SPAN_MIN = 120;

type Range = [number, number];

export function SeriesChart(drawn: {
  points: Points;
  anomalies: readonly Anomaly[];
  chosen: string | undefined;
  /** What is said of the time before. */
  children: ComponentChildren;
}) {
  const { points, anomalies, chosen, children } = drawn;
  const place = useRef<HTMLDivElement>(null);
  const charts = useRef<{ value: uPlot; score: uPlot } | undefined>(undefined);
  const shaded = useRef<Range[]>([]);
  shaded.current = anomalies.map(({ onset, end }) => [
    Date.parse(onset) / 1000,
    end === null ? Number.POSITIVE_INFINITY : Date.parse(end) / 1000,
  ]);
  const columns = columnsOf(
    points,
    anomalies.find(({ id }) => id === chosen),
  );
  const version = colourVersion.value;
  // Colours are taken when it is made.
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const width = () => Math.max(240, element.clientWidth);
    const value = new uPlot(valueOptions(width(), shaded), columns.value, element);
    const score = new uPlot(scoreOptions(width(), shaded), columns.score, element);
    charts.current = { value, score };
    const observer = new ResizeObserver(() => {
      value.setSize({ width: width(), height: VALUE_HEIGHT });
      score.setSize({ width: width(), height: SCORE_HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      value.destroy();
      score.destroy();
      charts.current = undefined;
    };
  }, [version]);
  useEffect(() => {
    charts.current?.value.setData(columns.value);
    charts.current?.score.setData(columns.score);
  });
  const last = points.values.at(-1);
  const label = `Value, now ${number(last)}, with the expected band, and the score with its threshold of 1`;
  return (
    <figure class="chart">
      <div ref={place} role="img" aria-label={label} />
      <figcaption>
        <p class="legend">
          <span class="key value">value</span> <span class="key expected">expected</span>{' '}
          <span class="key band">usual band</span> <span class="key rarity">score</span>
          {points.past.some((value) => value !== null) && (
            <span class="key past">from before, as Prometheus has it</span>
          )}
        </p>
        {children}
      </figcaption>
    </figure>
  );
}

interface Columns {
  value: uPlot.AlignedData;
  score: uPlot.AlignedData;
}

/** With the peak of the chosen anomaly, when it lies close enough to be seen beside the rest. */
function columnsOf(points: Points, chosen: Anomaly | undefined): Columns {
  const { times, values, past, expected, lower, upper, scores } = points;
  if (chosen !== undefined) {
    const at = Date.parse(chosen.peak) / 1000;
    const isNear = times.length === 0 || (at > (times[0] ?? 0) - 3600 && at < (times[0] ?? 0));
    if (isNear) {
      // No line is drawn over what was not seen.
      const gap = (at + (times[0] ?? at + 2)) / 2;
      return {
        value: [
          [at, gap, ...times],
          [chosen.upper, null, ...upper],
          [chosen.lower, null, ...lower],
          [chosen.expected, null, ...expected],
          [null, null, ...past],
          [chosen.value, null, ...values],
        ],
        score: [
          [at, gap, ...times],
          [chosen.score, null, ...scores],
        ],
      };
    }
  }
  return { value: [times, upper, lower, expected, past, values], score: [times, scores] };
}

function valueOptions(width: number, shaded: { current: Range[] }): uPlot.Options {
  const points = { size: 6, space: 14, fill: colour('value') };
  return {
    ...frame(width, VALUE_HEIGHT, shaded),
    series: [
      {},
      { stroke: 'transparent', points: { show: false } },
      { stroke: 'transparent', points: { show: false } },
      { stroke: colour('expected'), width: 1, dash: [4, 3], points: { show: false } },
      { stroke: colour('past'), width: 1.2, points: { show: false } },
      // Last, so that it lies on top.
      { stroke: colour('value'), width: 1.6, points },
    ],
    bands: [{ series: [1, 2], fill: colour('band') }],
    axes: [timeAxis(), axis((value) => number(value))],
  };
}

function scoreOptions(width: number, shaded: { current: Range[] }): uPlot.Options {
  const options = frame(width, SCORE_HEIGHT, shaded);
  return {
    ...options,
    scales: {
      ...options.scales,
      y: { range: (_chart, _low, high) => [0, Math.max(1.5, high * 1.1)] },
    },
    series: [
      {},
      {
        stroke: colour('alarm'),
        width: 1.4,
        fill: colour('alarm-soft'),
        points: { size: 3, space: 12 },
      },
    ],
    axes: [timeAxis(), { ...axis((value) => number(value)), space: 24 }],
    hooks: {
      ...options.hooks,
      draw: [
        (chart) => {
          const y = Math.round(chart.valToPos(1, 'y', true));
          const { ctx, bbox } = chart;
          ctx.save();
          ctx.strokeStyle = colour('faint');
          ctx.setLineDash([4, 4]);
          ctx.beginPath();
          ctx.moveTo(bbox.left, y);
          ctx.lineTo(bbox.left + bbox.width, y);
          ctx.stroke();
          ctx.restore();
        },
      ],
    },
  };
}

function frame(
  width: number,
  height: number,
  shaded: { current: Range[] },
): Omit<uPlot.Options, 'series'> {
  return {
    width,
    height,
    legend: { show: false },
    cursor: { sync: { key: 'series' }, drag: { x: true, y: false } },
    scales: {
      x: {
        time: true,
        range: (_chart, low, high) => [Math.min(low, high - SPAN_MIN), high],
      },
    },
    padding: [8, 28, 0, 0],
    hooks: {
      drawClear: [
        (chart) => {
          const { ctx, bbox } = chart;
          ctx.save();
          const { min = 0, max = 0 } = chart.scales['x'] ?? {};
          for (const [from, until] of shaded.current) {
            if (until < (min ?? 0) || from > (max ?? 0)) continue;
            const left = chart.valToPos(Math.max(from, min ?? 0), 'x', true);
            const right = chart.valToPos(Math.min(until, max ?? 0), 'x', true);
            const width = Math.max(2, right - left);
            ctx.fillStyle = colour('shade');
            ctx.fillRect(left, bbox.top, width, bbox.height);
            ctx.fillStyle = colour('alarm');
            ctx.fillRect(left, bbox.top, width, RIBBON_HEIGHT * devicePixelRatio);
          }
          ctx.restore();
        },
      ],
    },
  };
}

function timeAxis(): uPlot.Axis {
  return {
    stroke: colour('faint'),
    grid: { stroke: colour('grid'), width: 1 },
    ticks: { show: false },
    size: TIME_HEIGHT,
    font: '12px system-ui, sans-serif',
    values: (_chart, splits, _axis, _space, step) => splits.map((at) => tick(at * 1000, step)),
    space: 80,
  };
}

function axis(text: (value: number) => string): uPlot.Axis {
  return {
    stroke: colour('faint'),
    grid: { stroke: colour('grid'), width: 1 },
    ticks: { show: false },
    size: AXIS_WIDTH,
    font: '12px system-ui, sans-serif',
    values: (_chart, splits) => splits.map(text),
  };
}
