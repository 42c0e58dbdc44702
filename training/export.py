"""Writes a trained model as ONNX with its manifest and parity vectors: `python3 export.py out/nano.pt ../models`.

The parity vectors are what PyTorch answers for fixed inputs, odd ones among them: a short history, holes, NaN where
nothing was observed, a constant. Whoever loads the model runs them first and refuses it when it answers otherwise.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch

import series
from model import SIZES, Forecaster
from model_constants import CONTEXT, HORIZON, LEVELS
from normalise import normalised, offset_and_scale
from train import BATCH

OPSET = 16
VERSION = "2.0.0"
# Decimals kept of what goes into the parity file; the tolerance is 1e-4.
DECIMALS = 6


def parity_inputs():
    rng = np.random.default_rng(7)
    x = series.windows(rng, 6)[:, :CONTEXT]
    mask = np.ones_like(x)
    mask[1, :300] = 0
    mask[2, rng.random(CONTEXT) < 0.2] = 0
    mask[3, 100:260] = 0
    x[4] = 3.0
    middle, scale = offset_and_scale(x, mask)
    z = np.round(normalised(x, middle, scale), DECIMALS).astype(np.float32)
    return np.where(mask > 0, z, np.nan).astype(np.float32), mask.astype(np.float32)


def main(path, folder):
    saved = torch.load(path)
    size = saved["size"]
    net = Forecaster(**SIZES[size])
    net.load_state_dict(saved["weights"])
    net.eval()
    context, mask = parity_inputs()
    target = Path(folder) / f"{size}.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    names = {name: {0: "batch"} for name in ("context", "mask", "quantiles")}
    torch.onnx.export(
        net,
        (torch.from_numpy(np.nan_to_num(context)), torch.from_numpy(mask)),
        str(target),
        input_names=["context", "mask"],
        output_names=["quantiles"],
        dynamic_axes=names,
        opset_version=OPSET,
        # The older exporter writes operators that every runtime has.
        dynamo=False,
    )
    graph = onnx.load(str(target))
    onnx.checker.check_model(graph)
    # Paths of the machine that exported it are of no use to anybody.
    for node in graph.graph.node:
        node.doc_string = ""
    onnx.save(graph, str(target))
    with torch.no_grad():
        wanted = net(torch.from_numpy(context), torch.from_numpy(mask)).numpy()
    assert np.isfinite(wanted).all()
    rows = [
        {
            "context": [None if np.isnan(v) else round(float(v), DECIMALS) for v in c],
            "mask": "".join(str(int(v)) for v in m),
            "quantiles": [[round(float(v), DECIMALS) for v in level] for level in q],
        }
        for c, m, q in zip(context, mask, wanted)
    ]
    parity = target.with_suffix(".parity.json")
    parity.write_text(json.dumps({"rows": rows}, separators=(",", ":")) + "\n")
    bytes_ = target.read_bytes()
    manifest = {
        "schema": 1,
        "id": size,
        "version": VERSION,
        "task": "forecast",
        "license": "Apache-2.0",
        "trainedOn": f"synthetic series only (training/series.py), {saved['steps']} steps of {BATCH} windows",
        "file": {
            "path": target.name,
            "sha256": hashlib.sha256(bytes_).hexdigest(),
            "bytes": len(bytes_),
            "opset": OPSET,
        },
        "inputs": {
            "context": {"name": "context", "dtype": "float32", "shape": ["batch", CONTEXT]},
            "mask": {"name": "mask", "dtype": "float32", "oneMeans": "observed"},
        },
        "context": {"max": CONTEXT, "minObserved": 64, "multipleOf": 32, "pad": "left"},
        "horizon": {"native": HORIZON, "rollout": "none"},
        "outputs": {"name": "quantiles", "layout": "bqh", "levels": LEVELS},
        "scaling": {"pre": "median-asinh-f64"},
        "batch": {"dynamic": True, "max": 256, "preferred": 32},
        "runtime": {"providers": ["cpu"], "intraOpThreads": 1},
        "parity": {"file": parity.name, "tolerance": 1e-4},
    }
    target.with_suffix(".json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{target}: {len(bytes_)} bytes, sha256 {manifest['file']['sha256']}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
