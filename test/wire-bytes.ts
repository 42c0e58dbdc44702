// Protobuf and snappy bytes written by hand, for requests that no encoder would make.

/** An unsigned varint; `bytes` pads it beyond its shortest form. */
export function varint(value: bigint | number, bytes = 1): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 128n || out.length + 1 < bytes) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return out;
}

export function tag(number: number, wireType: number): number[] {
  return varint(number * 8 + wireType);
}

export function delimited(number: number, content: Iterable<number>): number[] {
  const bytes = [...content];
  return [...tag(number, 2), ...varint(bytes.length), ...bytes];
}

export function bytesOf(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

export function label(name: string | number[], value: string | number[]): number[] {
  const raw = (text: string | number[]): number[] =>
    typeof text === 'string' ? bytesOf(text) : text;
  return delimited(1, [...delimited(1, raw(name)), ...delimited(2, raw(value))]);
}

export function fixed64(number: number, bits: bigint): number[] {
  const little = new Uint8Array(8);
  new DataView(little.buffer).setBigUint64(0, BigInt.asUintN(64, bits), true);
  return [...tag(number, 1), ...little];
}

export function sample(timestamp: bigint | number, bits = 0x3ff0000000000000n): number[] {
  return delimited(2, [...fixed64(1, bits), ...tag(2, 0), ...varint(timestamp)]);
}

export function series(...parts: number[][]): number[] {
  return delimited(1, parts.flat());
}

/** Of remote-write 2.0: the table of symbols. */
export function symbols(...texts: (string | number[])[]): number[] {
  return texts.flatMap((text) => delimited(4, typeof text === 'string' ? bytesOf(text) : text));
}

/** Of remote-write 2.0, the references packed. */
export function seriesV2(refs: readonly (number | bigint)[], ...parts: number[][]): number[] {
  return delimited(5, [
    ...delimited(
      1,
      refs.flatMap((ref) => varint(ref)),
    ),
    ...parts.flat(),
  ]);
}

/** A snappy block of one literal: the decoded bytes as they are. */
export function literalBlock(decoded: Uint8Array | number[]): Uint8Array {
  const length = decoded.length;
  const header = [...varint(length)];
  if (length > 0) header.push(63 << 2, ...new Uint8Array(new Uint32Array([length - 1]).buffer));
  const body = new Uint8Array(header.length + length);
  body.set(header);
  body.set(decoded, header.length);
  return body;
}
