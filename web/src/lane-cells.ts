// What the lanes draw, as numbers: anomalies by the values of a label, each lane in equal cells of time that hold the
// highest score within them. Pure: neither the page nor the clock is asked.

import { severity } from './format.js';

/** Over the whole span. */
export const CELLS = 96;

export interface Bar {
  incident: string | null;
  labels: Record<string, string>;
  onsetMs: number;
  endMs: number | undefined;
  score: number;
}

export interface Cell {
  score: number;
  incident: string | null;
}

export interface Lane {
  value: string;
  count: number;
  top: number;
  cells: Cell[];
}

/** Equal neighbours, drawn as one. */
export interface Run extends Cell {
  index: number;
  length: number;
}

/** The highest first. */
export function lanesOf(
  bars: readonly Bar[],
  drawn: { by: string; fromMs: number; untilMs: number; cellMs: number },
): Lane[] {
  const { by, fromMs, untilMs, cellMs } = drawn;
  const lanes = new Map<string, Lane>();
  for (const { labels, incident, onsetMs, endMs = untilMs, score } of bars) {
    const value = Object.hasOwn(labels, by) ? (labels[by] ?? '') : '';
    let lane = lanes.get(value);
    if (lane === undefined) {
      const cells = Array.from({ length: CELLS }, () => ({ score: 0, incident: null }));
      lane = { value, count: 0, top: 0, cells };
      lanes.set(value, lane);
    }
    lane.count++;
    lane.top = Math.max(lane.top, score);
    const first = Math.max(0, Math.floor((onsetMs - fromMs) / cellMs));
    const last = Math.min(CELLS - 1, Math.floor((endMs - fromMs) / cellMs));
    for (let index = first; index <= last; index++) {
      const cell = lane.cells[index];
      if (cell !== undefined && cell.score < score) lane.cells[index] = { score, incident };
    }
  }
  return [...lanes.values()].sort((a, b) => b.top - a.top || b.count - a.count);
}

/** Neighbouring cells of one incident and one strength are drawn as one. */
export function runsOf(lane: Lane): Run[] {
  const runs: Run[] = [];
  for (const [index, cell] of lane.cells.entries()) {
    if (cell.score === 0) continue;
    const last = runs.at(-1);
    const isSame =
      last !== undefined &&
      last.index + last.length === index &&
      last.incident === cell.incident &&
      severity(last.score) === severity(cell.score);
    if (isSame) {
      last.length++;
      last.score = Math.max(last.score, cell.score);
    } else runs.push({ ...cell, index, length: 1 });
  }
  return runs;
}

/** Label names with their values, of what is seen. */
export function labelNames(bars: readonly Bar[]): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const { labels } of bars) {
    for (const [name, value] of Object.entries(labels)) {
      const values = names.get(name);
      if (values === undefined) names.set(name, new Set([value]));
      else if (values.size < 2) values.add(value);
    }
  }
  return names;
}
