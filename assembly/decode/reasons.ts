// Why a series or a sample is rejected while the rest of the request is kept. The numbers are part
// of the interface with the host: REJECT_REASONS in wasm-decoder.ts lists the same reasons, in this
// order, from 1.

export const NO_METRIC_NAME: u32 = 1;
export const DUPLICATE_LABEL: u32 = 2;
export const EMPTY_LABEL_NAME: u32 = 3;
export const INVALID_UTF8: u32 = 4;
export const TOO_MANY_LABELS: u32 = 5;
export const LABEL_NAME_TOO_LONG: u32 = 6;
export const LABEL_VALUE_TOO_LONG: u32 = 7;
export const TOO_FAR_IN_FUTURE: u32 = 8;
export const NATIVE_HISTOGRAM: u32 = 9;
export const NO_SAMPLES: u32 = 10;
export const REASONS: u32 = 10;
