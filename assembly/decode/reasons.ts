// Why a series, a sample, a histogram, an exemplar or metadata are rejected while the rest of the
// request is kept. The numbers are part of the interface with the host: REJECT_REASONS in
// wasm-decoder.ts lists the same reasons, in this order, from 1.

export const NO_METRIC_NAME: u32 = 1;
export const DUPLICATE_LABEL: u32 = 2;
export const EMPTY_LABEL_NAME: u32 = 3;
export const INVALID_UTF8: u32 = 4;
export const TOO_MANY_LABELS: u32 = 5;
export const LABEL_NAME_TOO_LONG: u32 = 6;
export const LABEL_VALUE_TOO_LONG: u32 = 7;
export const TOO_FAR_IN_FUTURE: u32 = 8;
export const NO_SAMPLES: u32 = 9;
export const ODD_REFERENCES: u32 = 10;
export const REFERENCE_OUT_OF_RANGE: u32 = 11;
export const HISTOGRAM_MALFORMED: u32 = 12;
export const HISTOGRAM_TOO_LONG: u32 = 13;
export const HISTOGRAM_SCHEMA: u32 = 14;
export const HISTOGRAM_SPAN_OFFSET: u32 = 15;
export const HISTOGRAM_SPAN_MISMATCH: u32 = 16;
export const HISTOGRAM_NEGATIVE_BUCKET: u32 = 17;
export const HISTOGRAM_COUNT_MISMATCH: u32 = 18;
export const HISTOGRAM_CUSTOM_BOUNDS: u32 = 19;
export const HISTOGRAM_CUSTOM_PARTS: u32 = 20;
export const HISTOGRAM_STRAY_BOUNDS: u32 = 21;
export const INVALID_EXEMPLAR: u32 = 22;
export const INVALID_METADATA: u32 = 23;
export const REASONS: u32 = 23;
