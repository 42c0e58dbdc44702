// The settings of `forecasts`: which series are forecast, how often, how far ahead, and which quantiles are shown.

import { Type } from '@sinclair/typebox';
import { MATCHER_LENGTH_MAX, TENANT_BYTES_MAX } from './limits.js';
import {
  FORECAST_LEVEL_MIN,
  FORECAST_MATCH_MAX,
  FORECAST_QUANTILES_MAX,
  FORECAST_SERIES_MAX,
  FORECASTS_MAX,
} from './limits-forecasts.js';

const ForecastEntry = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-zA-Z_][a-zA-Z0-9_-]{0,99}$',
      description: 'Value of the label forecast, and its name in addresses',
    }),
    match: Type.Array(Type.String({ minLength: 1, maxLength: MATCHER_LENGTH_MAX }), {
      minItems: 1,
      maxItems: FORECAST_MATCH_MAX,
      description: 'Series selectors; a series that any of them matches is forecast',
    }),
    horizon: Type.String({
      pattern: '^[1-9][0-9]{0,4}(s|m|h|d)$',
      default: '1h',
      description: 'How far ahead; the gauges show the end of it',
    }),
    interval: Type.String({
      pattern: '^([1-9][0-9]{1,4}s|[1-9][0-9]{0,4}(m|h))$',
      default: '5m',
      description: 'How often a new forecast is made, 10s at least',
    }),
    quantiles: Type.Array(
      Type.Number({ minimum: FORECAST_LEVEL_MIN, maximum: 1 - FORECAST_LEVEL_MIN }),
      {
        minItems: 1,
        maxItems: FORECAST_QUANTILES_MAX,
        uniqueItems: true,
        default: [0.1, 0.5, 0.9],
        description: 'Which quantiles are shown; 0.01 and 0.99 are the edges of the 98 % band',
      },
    ),
    seriesMax: Type.Integer({
      minimum: 1,
      maximum: FORECAST_SERIES_MAX,
      default: 50,
      description: 'Series that are forecast at most',
    }),
    tenant: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: TENANT_BYTES_MAX,
        description: 'Whose series, when tenancy is not off',
      }),
    ),
  },
  { additionalProperties: false },
);

export const ForecastList = Type.Array(ForecastEntry, {
  maxItems: FORECASTS_MAX,
  default: [],
  description: 'Series whose values are forecast again and again, as gauges and on request',
});
