// Gauges as a remote-write 1.0 body, written field by field (proto/remote_write_v1.proto): values go as their bits, for a
// stale marker is a NaN that no number in between would keep, and the labels of a series are encoded once for as long as
// it is shown.
//
//   1: TimeSeries { 1: Label { 1: name  2: value } …  2: Sample { 1: double  2: int64 } }

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { compress } from 'snappy';
import type { Label } from '../series.js';

/** Prometheus' mark for a series that has ended. */
export const STALE_BITS = 0x7ff0000000000002n;

const view = new DataView(new ArrayBuffer(8));

export function bitsOf(value: number): bigint {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

/** Labels in the order of their names, the gauge's own among them, as the specification wants them. */
export function encodeLabels(gauge: string, labels: readonly Label[]): Uint8Array {
  const all = [{ name: '__name__', value: gauge }, ...labels].filter(({ value }) => value !== '');
  all.sort((a, b) => (a.name < b.name ? -1 : 1));
  const writer = new BinaryWriter();
  for (const { name, value } of all) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.tag(2, WireType.LengthDelimited).string(value);
    writer.join();
  }
  return writer.finish();
}

export class BodyWriter {
  #writer = new BinaryWriter();
  #lastMs = Number.NEGATIVE_INFINITY;
  count = 0;

  /** `labels` are encoded. */
  add(labels: Uint8Array, sample: { bits: bigint; timestampMs: number }): void {
    const writer = this.#writer;
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.raw(labels);
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.Bit64).fixed64(sample.bits);
    writer.tag(2, WireType.Varint).int64(sample.timestampMs);
    writer.join();
    writer.join();
    this.#lastMs = sample.timestampMs;
    this.count++;
  }

  /** The request so far in one snappy block; what is added next begins another one. */
  async take(): Promise<{ bytes: Uint8Array<ArrayBuffer>; samples: number; timestampMs: number }> {
    const message = this.#writer.finish();
    const taken = { samples: this.count, timestampMs: this.#lastMs };
    this.#writer = new BinaryWriter();
    this.count = 0;
    return { bytes: new Uint8Array(await compress(Buffer.from(message))), ...taken };
  }
}
