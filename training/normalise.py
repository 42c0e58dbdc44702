"""Offset and scale of a context, in float64; the same rule as src/inference/scaling.ts.

  middle  the median of the observed samples (of an even number the upper one of the two in the middle)
  scale   their mean distance from it; 1 when they are all but equal (<= 1e-9 * |middle|, or 0)
  z = asinh((x - middle) / scale)      x = middle + scale * sinh(z)
A spike in the context moves neither much, and asinh keeps it from hiding everything else.
"""

import numpy as np

RELATIVE_SCALE_MIN = 1e-9


def offset_and_scale(x, mask):
    """[rows, samples] twice -> two columns [rows, 1]"""
    seen = mask > 0
    n = np.maximum(seen.sum(1, keepdims=True), 1)
    ordered = np.sort(np.where(seen, x, np.inf).astype(np.float64), 1)
    middle = np.take_along_axis(ordered, n // 2, 1)
    middle = np.where(np.isfinite(middle), middle, 0)
    scale = np.where(seen, np.abs(x - middle), 0).sum(1, keepdims=True) / n
    flat = (scale <= RELATIVE_SCALE_MIN * np.abs(middle)) | (scale == 0)
    return middle, np.where(flat, 1.0, scale)


def normalised(x, middle, scale):
    return np.arcsinh((x.astype(np.float64) - middle) / scale)
