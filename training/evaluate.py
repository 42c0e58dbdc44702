"""Forecasts real series and prints MASE and CRPS beside simple rules: `python evaluate.py DIR [MODEL.onnx ...]`.

DIR holds Arrow files of the BOOM benchmark (Datadog, 2025), whose name ends in the sampling step. The protocol is
GIFT-Eval's "short" one: horizon 48 (60 for 10 s), the last min(20, ceil(0.1 n / horizon)) windows of each series,
season 1440 / 288 / 360 samples for 1 min / 5 min / 10 s; MASE is scaled by the in-sample error of the seasonal naive
forecast, CRPS is the mean weighted quantile loss over nine deciles. Printed are ratios to seasonal naive, set by set
and their geometric mean, and the share of samples inside the 80 % band. Nothing is tuned here.
"""

import math
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow.ipc as ipc

from model_constants import CONTEXT, LEVELS
from normalise import normalised, offset_and_scale

SEASON = {"T": 1440, "5T": 288, "10S": 360}
# The spread of BOOM's own seasonal naive forecast is that of so many samples; its published CRPS is met within 2 %.
NAIVE_NEWEST = 2048
HORIZON = {"T": 48, "5T": 48, "10S": 60}
DECILES = np.arange(1, 10) / 10
Z = np.array([NormalDist().inv_cdf(q) for q in DECILES])


def read(path):
    try:
        table = ipc.open_stream(str(path)).read_all()
    except Exception:
        table = ipc.open_file(str(path)).read_all()
    found = []
    for target in table.column("target").to_pylist():
        rows = target if isinstance(target[0], list) else [target]
        found += [np.array(row, np.float64) for row in rows]
    return found


def windows(values, horizon):
    n = len(values)
    count = min(max(1, math.ceil(0.1 * n / horizon)), 20)
    for k in range(count, 0, -1):
        end = n - k * horizon
        yield values[:end], values[end : end + horizon]


def seasonal_naive(pasts, horizon, season):
    made = []
    for past in pasts:
        m = season if len(past) > season else 1
        point = np.resize(past[-m:], horizon)
        newest = past[-NAIVE_NEWEST:]
        error = np.sqrt(np.nanmean((newest[m:] - newest[:-m]) ** 2))
        spread = error * np.sqrt(np.arange(horizon) // m + 1)
        made.append(point + Z[:, None] * spread)
    return np.stack(made)


def last_value(pasts, horizon, _season):
    steps = np.sqrt(np.arange(1, horizon + 1))
    return np.stack(
        [np.full(horizon, p[-1]) + Z[:, None] * np.nanstd(np.diff(p[-512:])) * steps for p in pasts]
    )


def unconditional(pasts, horizon, _season):
    return np.stack([np.repeat(np.nanquantile(p[-512:], DECILES)[:, None], horizon, 1) for p in pasts])


def smoothing(pasts, horizon, _season):
    """Simple exponential smoothing, the best of nine rates on the last 512 samples."""
    rates = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.0])
    x = np.stack([p[-512:] for p in pasts])
    level = np.repeat(x[:, :1], len(rates), 1)
    squares = np.zeros_like(level)
    for t in range(1, x.shape[1]):
        error = x[:, t : t + 1] - level
        squares += error**2
        level = level + rates * error
    best = squares.argmin(1)
    rows = np.arange(len(x))
    spread = np.sqrt(squares[rows, best] / (x.shape[1] - 1))
    widen = np.sqrt(1 + np.arange(horizon)[None, :] * rates[best][:, None] ** 2)
    return level[rows, best][:, None, None] + Z[None, :, None] * (spread[:, None] * widen)[:, None, :]


def model(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    places = [LEVELS.index(round(float(q), 2)) for q in DECILES]

    def forecast(pasts, horizon, _season):
        x = np.zeros((len(pasts), CONTEXT))
        mask = np.zeros_like(x)
        for row, past in enumerate(pasts):
            past = past[-CONTEXT:]
            x[row, -len(past) :] = np.nan_to_num(past)
            mask[row, -len(past) :] = np.isfinite(past)
        middle, scale = offset_and_scale(x, mask)
        z = normalised(x, middle, scale).astype(np.float32)
        made = []
        for at in range(0, len(z), 64):
            feed = {"context": z[at : at + 64], "mask": mask[at : at + 64].astype(np.float32)}
            made.append(session.run(None, feed)[0])
        q = np.sort(np.concatenate(made).astype(np.float64), axis=1)[:, places, :horizon]
        return middle[:, :, None] + scale[:, :, None] * np.sinh(q)

    return forecast


def judge(forecast, found, step):
    horizon, season = HORIZON[step], SEASON[step]
    pairs = [pair for values in found for pair in windows(values, horizon)]
    pasts = [past for past, _ in pairs]
    wanted = np.stack([future for _, future in pairs])
    q = forecast(pasts, horizon, season)
    scale = np.array(
        [np.nanmean(np.abs(p[season:] - p[:-season])) if len(p) > season else np.nan for p in pasts]
    )
    with np.errstate(all="ignore"):
        ratio = np.abs(q[:, 4] - wanted) / scale[:, None]
    mase = ratio[np.isfinite(ratio)].mean()
    loss = 2 * np.abs((q - wanted[:, None]) * ((wanted[:, None] <= q) - DECILES[None, :, None]))
    crps = np.mean(np.nansum(loss, axis=(0, 2)) / max(1e-12, np.nansum(np.abs(wanted))))
    inside = np.nanmean((wanted >= q[:, 0]) & (wanted <= q[:, 8]))
    return mase, crps, inside


def main(folder, models):
    rules = {
        "last value": last_value,
        "exponential smoothing": smoothing,
        "quantiles of the last 512": unconditional,
    }
    rules |= {Path(path).stem: model(path) for path in models}
    sets = {path.stem: read(path) for path in sorted(Path(folder).glob("*.arrow"))}
    naive = {name: judge(seasonal_naive, found, name.split("-")[-1]) for name, found in sets.items()}
    for label, forecast in rules.items():
        ratios = []
        for name, found in sets.items():
            mase, crps, inside = judge(forecast, found, name.split("-")[-1])
            ratios.append((mase / naive[name][0], crps / naive[name][1], inside))
            print(f"{label:28}{name:16}MASE {ratios[-1][0]:.3f}  CRPS {ratios[-1][1]:.3f}  inside 80 % {inside:.3f}")
        means = [math.exp(np.mean(np.log([max(row[i], 1e-9) for row in ratios]))) for i in (0, 1)]
        inside = np.mean([row[2] for row in ratios])
        print(f"{label:28}{'all':16}MASE {means[0]:.3f}  CRPS {means[1]:.3f}  inside 80 % {inside:.3f}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
