// What is wrong with a series, label by label, and what its labels are when nothing is: the part of
// the reference decoder that judges. Of 2.0 the references are resolved first, so that both versions
// are judged alike.

import {
  LABEL_NAME_BYTES_MAX,
  LABEL_VALUE_BYTES_MAX,
  LABELS_PER_SERIES_MAX,
} from '../src/limits.js';
import type { RejectReason } from '../src/receiver/wasm-decoder.js';
import type { ByteLabel, RequestMessage, SeriesMessage } from './reference-messages.js';

export interface Resolved {
  labels: ByteLabel[];
  reason: RejectReason | undefined;
  /** Of a 2.0 series that is not rejected, with what stands around them in a SeriesInfo. */
  labelBytes: number;
}

/** The labels of a series, and the first thing that is wrong with it. */
export function resolve(request: RequestMessage, series: SeriesMessage): Resolved {
  const points = series.samples.length + series.histograms.length;
  const nameless = (labels: readonly ByteLabel[]): RejectReason | undefined => {
    const metric = labels.find(({ name }) => decodeText(name) === '__name__');
    return metric === undefined || metric.value.length === 0 ? 'no_metric_name' : undefined;
  };
  if (request.version === 1) {
    const { labels } = series;
    // Prometheus sends each exemplar as a series of its own.
    const isBare = points + series.exemplars.length === 0;
    const reason = judgeLabels(labels) ?? nameless(labels) ?? (isBare ? 'no_samples' : undefined);
    return { labels, reason, labelBytes: 0 };
  }
  const { symbols } = request;
  const labels: ByteLabel[] = [];
  let reason: RejectReason | undefined;
  for (let i = 0; i < series.refs.length && !reason; i++) {
    const value = symbolOf(request, series.refs[i]!);
    if (value === undefined) {
      reason = 'reference_out_of_range';
    } else if (i % 2 === 1) {
      labels.push({ name: symbols[Number(series.refs[i - 1])]!, value });
      reason = judgeLabels(labels);
    }
  }
  const isSound = (reference: bigint): boolean => {
    const symbol = reference === 0n ? new Uint8Array() : symbolOf(request, reference);
    return symbol !== undefined && isText(symbol);
  };
  const { helpRef, unitRef } = series.metadata;
  if (!reason && series.refs.length % 2 === 1) reason = 'odd_references';
  reason ??= nameless(labels);
  if (!reason && !(isSound(helpRef) && isSound(unitRef))) reason = 'invalid_metadata';
  if (!reason && points === 0) reason = 'no_samples';
  const bytes = labels.reduce((sum, { name, value }) => sum + name.length + value.length + 12, 0);
  return { labels, reason, labelBytes: reason ? 0 : bytes };
}

function symbolOf(request: RequestMessage, reference: bigint): Uint8Array | undefined {
  return reference < BigInt(request.symbols.length)
    ? request.symbols[Number(reference)]
    : undefined;
}

export function isExemplar(
  request: RequestMessage,
  { labels, refs }: SeriesMessage['exemplars'][number],
): boolean {
  const texts = refs.map((reference) => symbolOf(request, reference));
  const areThere = texts.every((text) => text !== undefined && isText(text));
  const areText = labels.every(({ name, value }) => isText(name) && isText(value));
  return refs.length % 2 === 0 && areThere && areText;
}

/**
 * The first thing wrong, label by label; of one label its number, its name, its value, its name
 * again.
 */
function judgeLabels(labels: readonly ByteLabel[]): RejectReason | undefined {
  const seen = new Set<string>();
  for (const [i, { name, value }] of labels.entries()) {
    if (i === LABELS_PER_SERIES_MAX) return 'too_many_labels';
    if (name.length === 0) return 'empty_label_name';
    if (name.length > LABEL_NAME_BYTES_MAX) return 'label_name_too_long';
    if (!isText(name)) return 'invalid_utf8';
    if (value.length > LABEL_VALUE_BYTES_MAX) return 'label_value_too_long';
    if (!isText(value)) return 'invalid_utf8';
    const text = decodeText(name);
    if (seen.has(text)) return 'duplicate_label';
    seen.add(text);
  }
  return undefined;
}

const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function isText(bytes: Uint8Array): boolean {
  try {
    strictText.decode(bytes);
    return true;
  } catch {
    // The only thing a fatal TextDecoder throws for is malformed UTF-8.
    return false;
  }
}

export function decodeText(bytes: Uint8Array): string {
  return strictText.decode(bytes);
}
