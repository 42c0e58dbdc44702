// Values before and after a model, in float64: inside the graph, in float32, a byte counter's offset of 1e9 would cost 7 %
// of its amplitude. The rule is that of training/normalise.py:
//
//   mean, sd over the observed values; sd is 1 when they are all but equal (sd <= 1e-9 * |mean|, or 0)
//   meanstd-asinh-f64:  z = asinh((x - mean) / sd)    asinh keeps a spike in the context from hiding everything else
//   affine-f64:         z = (x - mean) / sd           for models that normalise by themselves: it changes only rounding

const RELATIVE_SD_MIN = 1e-9;

export type Scaling = 'meanstd-asinh-f64' | 'affine-f64';

export interface Scale {
  mean: number;
  sd: number;
}

/** Of the values that are not NaN, of which none may be larger than 1e300. */
export function scaleOf(values: Float64Array): Scale {
  let count = 0;
  let sum = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    count++;
    // In parts of 1/1024: sums of the largest would overflow.
    sum += value / 1024;
  }
  if (count === 0) return { mean: 0, sd: 1 };
  const mean = (sum / count) * 1024;
  let largest = 0;
  for (const value of values) {
    const distance = Math.abs(value - mean);
    if (distance > largest) largest = distance;
  }
  if (largest === 0) return { mean, sd: 1 };
  let squares = 0;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    const share = (value - mean) / largest;
    squares += share * share;
  }
  const sd = largest * Math.sqrt(squares / count);
  return { mean, sd: sd <= RELATIVE_SD_MIN * Math.abs(mean) || sd === 0 ? 1 : sd };
}

/** What is not finite afterwards is missing. */
export function scaledAll(
  values: Float64Array,
  { mean, sd }: Scale,
  scaling: Scaling,
): Float64Array {
  const isPlain = scaling === 'affine-f64';
  const rows = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const z = ((values[i] as number) - mean) / sd;
    const value = isPlain ? z : Math.asinh(z);
    rows[i] = Number.isFinite(value) ? value : Number.NaN;
  }
  return rows;
}

export function unscaled(z: number, { mean, sd }: Scale, scaling: Scaling): number {
  return mean + sd * (scaling === 'affine-f64' ? z : Math.sinh(z));
}
