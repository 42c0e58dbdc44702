// Numbers between bytes and doubles, without a string in between. Both directions are exact: what is read is what
// `Number` reads, what is written is what `String` writes, the shortest digits that read back as the same double (or, for
// 32-bit values, as the same float). The usual cases take a few dozen nanoseconds in plain double arithmetic; whatever
// comes near a rounding boundary, and the rare forms, are left to the language.

const ZERO = 48;
const POINT = 46;
const MINUS = 45;
const PLUS = 43;
/** A mantissa up to here takes another digit and stays below 2^53, where integers are exact. */
const MANTISSA_MAX = 900_719_925_474_098;
/** Powers of ten that a double holds exactly, 10^0 to 10^22: W. D. Clinger, "How to read floating point numbers". */
const TENS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));
/** 10^-6 to 10^15, for the place of the first digit. */
const MAGNITUDES = Float64Array.from({ length: 22 }, (_, at) => Number(`1e${at - 6}`));
const SMALLEST = 1e-6;
const LARGEST = 1e15;
/** How near to a rounding boundary the double arithmetic below is not trusted; its error is below 1e-7. */
const DOUBT = 1e-5;
/** Halves a double into two of 26 bits, so that products of halves are exact (Veltkamp). */
const SPLITTER = 134_217_729;
/** By a double's exponent as its bits have it: half the distance to its neighbour above. */
const HALF_GAPS = Float64Array.from({ length: 2047 }, (_, exponent) => 2 ** (exponent - 1023 - 53));
/** Floats of the same exponent lie so many times further apart. */
const FLOAT_WIDER = 2 ** (53 - 24);
const TENS_HIGH = TENS.map((ten) => highHalf(ten));
const TENS_LOW = TENS.map((ten, at) => ten - TENS_HIGH[at]!);
/** So many digits of a mantissa may stand apart: their power of ten times the mantissa stays exact in two doubles. */
const TAIL_DIGITS_MAX = 6;
/** No number takes more bytes than this: sign, 17 digits, point, exponent. */
export const NUMBER_BYTES_MAX = 26;

/** 00 to 99 as text. */
const PAIRS = Uint8Array.from({ length: 200 }, (_, at) =>
  String(at >> 1)
    .padStart(2, '0')
    .charCodeAt(at & 1),
);
const digits = new Uint8Array(17);
const double = new Float64Array(1);
const halves = new Uint32Array(double.buffer);
const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** What stands at `start` to `end`, as `Number` reads a decimal number; NaN when it is none. */
export function parseNumber(bytes: Buffer, start: number, end: number): number {
  let at = start;
  const first = bytes[at];
  if (first === MINUS || first === PLUS) at++;
  // The digits as one integer, of which the last few are apart when all together are too many for a double.
  let mantissa = 0;
  let tail = 0;
  let tailCount = 0;
  let pointAt = -1;
  const digitsAt = at;
  for (; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit >= 0 && digit <= 9) {
      if (mantissa <= MANTISSA_MAX) mantissa = mantissa * 10 + digit;
      else {
        tail = tail * 10 + digit;
        tailCount++;
      }
    } else if (bytes[at] === POINT && pointAt < 0) pointAt = at;
    else break;
  }
  if (at - digitsAt === (pointAt < 0 ? 0 : 1)) return Number.NaN;
  const power = pointAt < 0 ? 0 : at - pointAt - 1;
  let size = Number.NaN;
  if (at < end) {
    // An exponent, or no number at all.
    if ((bytes[at]! | 32) !== 101 || !isInteger(bytes, at + 1, end)) return Number.NaN;
  } else if (power <= 22) {
    size = tailCount === 0 ? mantissa / TENS[power]! : divide(mantissa, tail, { tailCount, power });
  }
  if (Number.isNaN(size)) return Number(bytes.toString('latin1', start, end));
  return first === MINUS ? -size : size;
}

/** (mantissa · 10^tailCount + tail) / 10^power, correctly rounded; NaN where that is in doubt. */
function divide(
  mantissa: number,
  tail: number,
  { tailCount, power }: { tailCount: number; power: number },
): number {
  if (tailCount > TAIL_DIGITS_MAX) return Number.NaN;
  const scaled = mantissa * TENS[tailCount]!;
  const low = productRest(mantissa, tailCount, scaled) + tail;
  const whole = scaled + low;
  const wholeRest = low - (whole - scaled);
  const quotient = whole / TENS[power]!;
  const product = quotient * TENS[power]!;
  const rest = whole - product - productRest(quotient, power, product) + wholeRest;
  const correction = rest / TENS[power]!;
  const sum = quotient + correction;
  // How far the exact result lies from the double: near half a gap it might belong to the next one.
  const distance = Math.abs(correction - (sum - quotient));
  double[0] = sum;
  const high = halves[1]!;
  const isPowerOfTwo = (high & 0xfffff) === 0 && halves[0] === 0;
  return distance < 0.999 * HALF_GAPS[high >>> 20]! && !isPowerOfTwo ? sum : Number.NaN;
}

/** What `product`, rounded, lacks to value times 10^power: exact, from products of halves (Dekker). */
function productRest(value: number, power: number, product: number): number {
  const high = highHalf(value);
  const low = value - high;
  const tenHigh = TENS_HIGH[power]!;
  const tenLow = TENS_LOW[power]!;
  return high * tenHigh - product + high * tenLow + low * tenHigh + low * tenLow;
}

function isInteger(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  if (bytes[at] === MINUS || bytes[at] === PLUS) at++;
  if (at >= end) return false;
  for (; at < end; at++) {
    if (bytes[at]! < ZERO || bytes[at]! > ZERO + 9) return false;
  }
  return true;
}

/** Writes a finite double at `at` and returns where it ends. */
export function writeDouble(out: Buffer, at: number, value: number): number {
  const size = Math.abs(value);
  if (size < 1e9 && Math.trunc(size) === size) return writeSmallInteger(out, at, value);
  if (!(size >= SMALLEST && size < LARGEST)) return writeString(out, at, String(value));
  double[0] = size;
  const high = halves[1]!;
  // The gap below a power of two is half the gap above it.
  if ((high & 0xfffff) === 0 && halves[0] === 0) return writeString(out, at, String(value));
  // `size` times a power of ten, so that 17 digits stand before the point: product + rest, exactly (Dekker).
  const place = placeOf(size, high >>> 20);
  const power = 16 - place;
  const ten = TENS[power]!;
  const product = size * ten;
  const rest = productRest(size, power, product);
  // Anything nearer to it than half the gap between doubles reads back as the same double.
  const half = HALF_GAPS[high >>> 20]! * ten;
  let front = Math.floor(product / 1e8);
  const tail = product - front * 1e8 + rest;
  let back = Math.round(tail / 100) * 100;
  let distance = Math.abs(back - tail);
  let isDoubtful = Math.abs(distance - half) < DOUBT;
  if (distance > half) {
    back = Math.round(tail / 10) * 10;
    distance = Math.abs(back - tail);
    isDoubtful ||= Math.abs(distance - half) < DOUBT || distance > 5 - DOUBT;
    if (distance > half) {
      back = Math.round(tail);
      isDoubtful ||= Math.abs(back - tail) > 0.5 - DOUBT;
    }
  }
  if (back < 0) {
    front--;
    back += 1e8;
  } else if (back >= 1e8) {
    front++;
    back -= 1e8;
  }
  if (isDoubtful || front < 1e8 || front >= 1e9) return writeString(out, at, String(value));
  fillDigits(front, 9, 0);
  fillDigits(back, 8, 9);
  return writeDigits(out, value < 0 ? writeByte(out, at, MINUS) : at, 17, place);
}

/** Writes a finite number that a 32-bit float holds, with the digits that tell it from its neighbours there. */
export function writeFloat(out: Buffer, at: number, value: number): number {
  const size = Math.abs(value);
  if (size < 1e6 && Math.trunc(size) === size) return writeSmallInteger(out, at, value);
  if (!(size >= SMALLEST && size < LARGEST)) return writeString(out, at, floatText(value));
  float[0] = size;
  const bits = floatBits[0]!;
  if ((bits & 0x7fffff) === 0) return writeString(out, at, floatText(value));
  const place = placeOf(size, (bits >>> 23) + 1023 - 127);
  const power = 8 - place;
  const ten = power < 0 ? 1 / TENS[-power]! : TENS[power]!;
  const scaled = size * ten;
  const half = FLOAT_WIDER * HALF_GAPS[(bits >>> 23) + 1023 - 127]! * ten;
  let step = 1000;
  let rounded = 0;
  let isDoubtful = false;
  for (; step >= 1; step /= 10) {
    rounded = Math.round(scaled / step) * step;
    const distance = Math.abs(rounded - scaled);
    isDoubtful ||= Math.abs(distance - half) < DOUBT || distance > step / 2 - DOUBT;
    if (distance < half) break;
  }
  if (isDoubtful || rounded < 1e8 || rounded >= 1e9) return writeString(out, at, floatText(value));
  fillDigits(rounded, 9, 0);
  return writeDigits(out, value < 0 ? writeByte(out, at, MINUS) : at, 9, place);
}

/** The fewest digits that read back as the same float, by trying. */
export function floatText(value: number): string {
  for (let precision = 1; precision < 9; precision++) {
    const shown = Number(value.toPrecision(precision));
    if (Math.fround(shown) === value) return String(shown);
  }
  return String(Number(value.toPrecision(9)));
}

/** The power of ten of the first digit of a size from 10^-6 to 10^15. */
function placeOf(size: number, exponent: number): number {
  // The decimal logarithm of two, cut off: the guess is right or one too low.
  const guess = Math.floor((exponent - 1023) * 0.30102999);
  return size >= MAGNITUDES[guess + 7]! ? guess + 1 : guess;
}

function highHalf(value: number): number {
  const spread = SPLITTER * value;
  return spread - (spread - value);
}

function writeByte(out: Buffer, at: number, byte: number): number {
  out[at] = byte;
  return at + 1;
}

function writeString(out: Buffer, at: number, text: string): number {
  return at + out.write(text, at, 'latin1');
}

function writeSmallInteger(out: Buffer, at: number, value: number): number {
  let rest = Math.abs(value) | 0;
  let end = value < 0 ? writeByte(out, at, MINUS) : at;
  let count = 1;
  for (let ten = 10; count < 9 && rest >= ten; ten *= 10) count++;
  end += count;
  for (let place = end - 1; count > 0; count--, place--) {
    const quotient = (rest / 10) | 0;
    out[place] = ZERO + rest - 10 * quotient;
    rest = quotient;
  }
  return end;
}

/** The last `count` digits of an integer below 2^31, two at a time. */
function fillDigits(value: number, count: number, from: number): void {
  let rest = value | 0;
  let place = from + count;
  for (; place - from >= 2; place -= 2) {
    const quotient = (rest / 100) | 0;
    const pair = (rest - 100 * quotient) << 1;
    digits[place - 2] = PAIRS[pair]!;
    digits[place - 1] = PAIRS[pair + 1]!;
    rest = quotient;
  }
  if (place > from) digits[from] = ZERO + rest;
}

/** `digits` without zeros at the end, the point `place` places behind the first. */
function writeDigits(out: Buffer, start: number, filled: number, place: number): number {
  let count = filled;
  while (digits[count - 1] === ZERO) count--;
  let at = start;
  if (place < 0) {
    out[at++] = ZERO;
    out[at++] = POINT;
    for (let zero = -1; zero > place; zero--) out[at++] = ZERO;
    for (let i = 0; i < count; i++) out[at++] = digits[i]!;
    return at;
  }
  for (let i = 0; i <= place; i++) out[at++] = i < count ? digits[i]! : ZERO;
  if (count <= place + 1) return at;
  out[at++] = POINT;
  for (let i = place + 1; i < count; i++) out[at++] = digits[i]!;
  return at;
}
