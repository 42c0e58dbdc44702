// Values before and after a model, in float64: inside the graph, in float32, a byte counter's offset of 1e9 would cost 7 %
// of its amplitude. `z` is what the model sees:
//
//   median-asinh-f64:   z = asinh((x - middle) / size)  middle: the median of the observed values, the upper one of two;
//                                                       size: their mean distance from it (training/normalise.py)
//   meanstd-asinh-f64:  the same with their mean and their standard deviation
//   affine-f64:         z = (x - mean) / deviation      for models that normalise by themselves: it changes only rounding
//
// asinh keeps a spike in the context from hiding everything else, and a median and mean distance are hardly moved by it. The
// size is 1 when the values are all but equal (<= 1e-9 * |middle|). When they are equal it is 0: the model sees zeros, and
// whatever it answers, that value is expected; any other answer would be in a unit that nobody has seen.

const RELATIVE_SIZE_MIN = 1e-9;

export type Scaling = 'median-asinh-f64' | 'meanstd-asinh-f64' | 'affine-f64';

export interface Scale {
  middle: number;
  size: number;
}

/** Of the values that are not NaN, of which none may be larger than 1e300. */
export function scaleOf(values: Float64Array, scaling: Scaling): Scale {
  if (scaling === 'median-asinh-f64') return aroundMedian(values);
  const { mean, sd } = moments(values);
  return { middle: mean, size: sd };
}

function aroundMedian(values: Float64Array): Scale {
  const sorted = new Float64Array(values.length);
  let count = 0;
  for (const value of values) if (!Number.isNaN(value)) sorted[count++] = value;
  if (count === 0) return { middle: 0, size: 0 };
  const middle = sorted.subarray(0, count).sort()[count >> 1] as number;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.abs((sorted[i] as number) - middle);
  return { middle, size: believed(sum / count, middle) };
}

function believed(size: number, middle: number): number {
  return size > 0 && size <= RELATIVE_SIZE_MIN * Math.abs(middle) ? 1 : size;
}

/** Mean and standard deviation of the values that are not NaN, of which none may be larger than 1e300; 1 for one that is 0. */
export function meanAndDeviation(values: Float64Array): { mean: number; sd: number } {
  const { mean, sd } = moments(values);
  return { mean, sd: sd === 0 ? 1 : sd };
}

function moments(values: Float64Array): { mean: number; sd: number } {
  let count = 0;
  let sum = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    count++;
    // In parts of 1/1024: sums of the largest would overflow.
    sum += value / 1024;
  }
  if (count === 0) return { mean: 0, sd: 0 };
  const mean = (sum / count) * 1024;
  let largest = 0;
  for (const value of values) {
    const distance = Math.abs(value - mean);
    if (distance > largest) largest = distance;
  }
  if (largest === 0) return { mean, sd: 0 };
  let squares = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    const share = (value - mean) / largest;
    squares += share * share;
  }
  const sd = largest * Math.sqrt(squares / count);
  return { mean, sd: believed(sd, mean) };
}

/** What is not finite afterwards is missing. */
export function scaledAll(
  values: Float64Array,
  { middle, size }: Scale,
  scaling: Scaling,
): Float64Array {
  const isPlain = scaling === 'affine-f64';
  const rows = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const z = ((values[i] as number) - middle) / (size || 1);
    const value = isPlain ? z : Math.asinh(z);
    rows[i] = Number.isFinite(value) ? value : Number.NaN;
  }
  return rows;
}

export function unscaled(z: number, { middle, size }: Scale, scaling: Scaling): number {
  // Whatever the model answers: 0 times infinity is no number.
  if (size === 0) return middle;
  return middle + size * (scaling === 'affine-f64' ? z : Math.sinh(z));
}
