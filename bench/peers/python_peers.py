"""Two peers of the accuracy bench: river's HalfSpaceTrees and scikit-learn's IsolationForest.

Reads the folder that peers.ts wrote, answers one file per series, and prints the nanoseconds of CPU time spent
in the forests and the rows seen. Nothing ahead of a row is used for it. Both see shingles of the last 8 values.

  N.in    little-endian float64 pairs: seconds, value
  N.out   little-endian float64 pairs: score, alarm (the score again where it passes the peer's own threshold, or 0
          everywhere where the peer has none)
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

SHINGLE = 8
# scikit-learn's forest learns no stream: it is grown anew, from the past alone, every so many rows.
REGROW_ROWS = 1440
PAST_ROWS = 5760
# Its documented threshold for contamination="auto": scores are negated here, so that higher is worse.
ISOLATION_THRESHOLD = 0.5


def shingles(values):
    """Row i holds the values i - 7 to i; the first rows repeat the first value."""
    padded = np.concatenate([np.full(SHINGLE - 1, values[0]), values])
    return np.lib.stride_tricks.sliding_window_view(padded, SHINGLE)


def half_space_trees(values, seed):
    """river's defaults; its features must lie within 0 and 1, so the running range maps them there, as its
    documentation advises where the limits are not known."""
    from river import anomaly, preprocessing

    scaler = preprocessing.MinMaxScaler()
    forest = anomaly.HalfSpaceTrees(seed=seed)
    scores = np.zeros(len(values))
    names = [f"lag{lag}" for lag in range(SHINGLE)]
    for row, shingle in enumerate(shingles(values)):
        features = dict(zip(names, shingle.tolist()))
        scaler.learn_one(features)
        features = scaler.transform_one(features)
        scores[row] = forest.score_one(features)
        forest.learn_one(features)
    return scores, np.zeros(len(values))


def isolation_forest(values, seed):
    """scikit-learn's defaults."""
    from sklearn.ensemble import IsolationForest

    features = shingles(values)
    scores = np.zeros(len(values))
    # The first forest is grown as soon as one has something to grow from.
    starts = [256, *range(REGROW_ROWS, len(values), REGROW_ROWS)]
    for start, end in zip(starts, [*starts[1:], len(values)]):
        if start >= len(values):
            break
        forest = IsolationForest(random_state=seed).fit(features[max(0, start - PAST_ROWS) : start])
        scores[start:end] = -forest.score_samples(features[start:end])
    return scores, np.where(scores > ISOLATION_THRESHOLD, scores, 0.0)


PEERS = {"half-space-trees": half_space_trees, "isolation-forest": isolation_forest}


def main():
    folder, count, seed, name = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    spent = 0
    rows = 0
    for series in range(count):
        values = np.fromfile(folder / f"{series}.in", dtype="<f8").reshape(-1, 2)[:, 1]
        start = time.process_time_ns()
        scores, alarms = PEERS[name](values, seed)
        spent += time.process_time_ns() - start
        rows += len(values)
        np.column_stack([scores, alarms]).astype("<f8").tofile(folder / f"{series}.out")
    print(json.dumps({"nanos": spent, "rows": rows}))


main()
