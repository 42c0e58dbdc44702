"""Offset and scale of a context, in float64; the same rule as src/deep-check uses when it asks the model.

  mean, sd over the observed samples; sd is 1 when they are all but equal (sd <= 1e-9 * |mean|, or 0)
  z = asinh((x - mean) / sd)      x = mean + sd * sinh(z)
asinh keeps a spike in the context from hiding everything else.
"""

import numpy as np

RELATIVE_SD_MIN = 1e-9


def offset_and_scale(x, mask):
    """[rows, samples] twice -> two columns [rows, 1]"""
    x = np.where(mask > 0, x, 0).astype(np.float64)
    n = np.maximum(mask.sum(1, keepdims=True), 1)
    mean = x.sum(1, keepdims=True) / n
    sd = np.sqrt((((x - mean) * mask) ** 2).sum(1, keepdims=True) / n)
    flat = sd <= RELATIVE_SD_MIN * np.abs(mean)
    return mean, np.where(flat | (sd == 0), 1.0, sd)


def normalised(x, mean, sd):
    return np.arcsinh((x.astype(np.float64) - mean) / sd)
