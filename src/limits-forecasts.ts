// Limits of forecasts on request. See limits.ts.

/** Entries of `forecasts`. */
export const FORECASTS_MAX = 20;
/** Series of one entry: all entries together are 4,000 windows, at the shortest interval of 10 s 400 a second, under half the budget. */
export const FORECAST_SERIES_MAX = 200;
export const FORECAST_MATCH_MAX = 20;
/** Quantiles of one entry, and the outermost of them: what lies beyond is no forecast any more. */
export const FORECAST_QUANTILES_MAX = 9;
export const FORECAST_LEVEL_MIN = 0.001;
/** Steps of one forecast that are kept: with 9 quantiles of 8 bytes 9 KB a series; all entries together 37 MB. */
export const FORECAST_STEPS_MAX = 128;
/** Which series there are is looked up at most this often: a walk over 100,000 of them takes 0.3 s in all. */
export const FORECAST_LOOKUP_MS = 5 * 60 * 1000;
/** An entry that has no forecast yet is tried again after this, since a new process has not read its series; and after so many
 * times as long as the pass took, which then is a twentieth of a core at most. */
export const FORECAST_RETRY_MS = 5_000;
export const FORECAST_RETRY_REST = 20;
/** Series whose windows are fetched and forecast side by side: a quarter of a batch, so that suspicions find room in it. */
export const FORECASTS_AT_ONCE = 8;
/** Pages of one lookup: scorers that keep us waiting give short ones. */
export const FORECAST_PAGES_MAX = 1_000;
/** One record of the shared store: about 50 series with three quantiles; below what a record may have. */
export const FORECAST_RECORD_BYTES_MAX = 512 * 1024;
