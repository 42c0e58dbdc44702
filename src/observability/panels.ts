// The few parts of Grafana's dashboard model that our dashboards use, written once: panels laid out in rows of a 24-column
// grid, variables, the data source as a variable. Fields that Grafana fills in by itself are left out, so that the
// files stay readable. Schema version 36 is Grafana 9's; newer ones migrate it when they load it.

const GRID_COLUMNS = 24;
const SCHEMA_VERSION = 36;
const DATASOURCE = { type: 'prometheus', uid: '$datasource' };
const GREEN = '#2e9d5c';
const AMBER = '#d99a1b';
const RED = '#c9302c';

export interface Query {
  expr: string;
  /** As Grafana writes it: `{{label}}`. */
  legend?: string;
}

/** Values from which on a number is amber, and red. */
export interface Limits {
  amber?: number;
  red?: number;
}

export interface PanelSpec {
  title: string;
  description?: string;
  kind: 'stat' | 'timeseries' | 'table' | 'state-timeline';
  unit?: string;
  width: number;
  height?: number;
  queries?: readonly Query[];
  limits?: Limits;
  /** Series whose legend matches are the edges of a band: no line of their own, filled between them. */
  hasBand?: boolean;
}

export interface VariableSpec {
  name: string;
  label: string;
  query: string;
  /** One value at a time; else several, or all. */
  isSingle?: boolean;
}

export interface DashboardSpec {
  uid: string;
  title: string;
  description: string;
  variables: readonly VariableSpec[];
  panels: readonly PanelSpec[];
}

export interface Panel {
  id: number;
  title: string;
  type: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { refId: string; expr: string }[];
}

export interface Dashboard {
  uid: string;
  title: string;
  panels: Panel[];
  templating: { list: { name: string; type: string; query: unknown }[] };
}

export function dashboard(spec: DashboardSpec): Dashboard {
  const { uid, title, description, variables, panels } = spec;
  return {
    uid,
    title,
    description,
    tags: ['treeline'],
    schemaVersion: SCHEMA_VERSION,
    editable: true,
    time: { from: 'now-6h', to: 'now' },
    refresh: '30s',
    links: [{ type: 'dashboards', title: 'Treeline', tags: ['treeline'], keepTime: true }],
    templating: { list: [datasourceVariable(), ...variables.map(queryVariable)] },
    panels: laidOut(panels),
  } as Dashboard;
}

/** From left to right, and into a new row when one is full. */
function laidOut(specs: readonly PanelSpec[]): Panel[] {
  let [x, y, rowHeight] = [0, 0, 0];
  return specs.map((spec, index) => {
    const height = spec.height ?? 8;
    if (x + spec.width > GRID_COLUMNS) [x, y, rowHeight] = [0, y + rowHeight, 0];
    const gridPos = { x, y, w: spec.width, h: height };
    x += spec.width;
    rowHeight = Math.max(rowHeight, height);
    return { id: index + 1, ...panelOf(spec), gridPos };
  });
}

function panelOf(spec: PanelSpec): Omit<Panel, 'id' | 'gridPos'> {
  const { title, description, kind } = spec;
  const head = { title, type: kind, ...(description !== undefined && { description }) };
  const isNow = kind === 'stat' || kind === 'table';
  return {
    ...head,
    datasource: DATASOURCE,
    targets: (spec.queries ?? []).map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: DATASOURCE,
      expr,
      ...(legend !== undefined && { legendFormat: legend }),
      ...(isNow && { instant: true, range: false }),
      ...(kind === 'table' && { format: 'table' }),
    })),
    fieldConfig: fieldConfig(spec),
    ...optionsOf(spec),
  } as typeof head;
}

function fieldConfig({ kind, unit, limits, hasBand }: PanelSpec): object {
  const steps = [
    { color: GREEN, value: null },
    ...(limits?.amber === undefined ? [] : [{ color: AMBER, value: limits.amber }]),
    ...(limits?.red === undefined ? [] : [{ color: RED, value: limits.red }]),
  ];
  const isLine = kind === 'timeseries' && limits !== undefined;
  return {
    defaults: {
      ...(unit !== undefined && { unit }),
      thresholds: { mode: 'absolute', steps },
      ...(kind !== 'timeseries' && limits !== undefined && { color: { mode: 'thresholds' } }),
      ...(isLine && { custom: { thresholdsStyle: { mode: 'line' } } }),
    },
    overrides: hasBand === true ? bandOverrides() : [],
  };
}

/** `lower` is the edge that `upper` is filled down to. */
function bandOverrides(): object[] {
  const edge = (name: string, properties: object[]) => ({
    matcher: { id: 'byName', options: name },
    properties: [{ id: 'custom.lineWidth', value: 0 }, ...properties],
  });
  return [
    edge('lower', [{ id: 'custom.hideFrom', value: { legend: true, tooltip: false, viz: false } }]),
    edge('upper', [
      { id: 'custom.fillBelowTo', value: 'lower' },
      { id: 'custom.fillOpacity', value: 15 },
    ]),
    {
      matcher: { id: 'byName', options: 'expected' },
      properties: [{ id: 'custom.lineStyle', value: { fill: 'dash', dash: [6, 6] } }],
    },
  ];
}

function optionsOf({ kind }: PanelSpec): object {
  if (kind === 'stat') return { options: { reduceOptions: { calcs: ['lastNotNull'] } } };
  if (kind === 'timeseries') return { options: { tooltip: { mode: 'multi', sort: 'desc' } } };
  if (kind === 'state-timeline') return { options: { showValue: 'never', mergeValues: true } };
  // Time is the same in every row of an instant query.
  return {
    transformations: [
      {
        id: 'organize',
        options: { excludeByName: { Time: true, __name__: true, detector: true } },
      },
    ],
  };
}

function datasourceVariable() {
  return { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' };
}

function queryVariable({ name, label, query, isSingle }: VariableSpec) {
  const several = {
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  };
  return {
    name,
    label,
    type: 'query',
    datasource: DATASOURCE,
    query: { query, refId: name },
    definition: query,
    // When the time range changes: an entity of last week is in last week's list.
    refresh: 2,
    sort: 1,
    ...(isSingle === true ? {} : several),
  };
}
