"""What the exports of public models have in common: the graph is written, run as the program would run it, compared with
what the package itself answers, and described by a manifest with parity vectors.

Values are in no unit: the program scales each context to mean 0 and deviation 1 before it asks (`affine-f64`).
"""

import argparse
import hashlib
import json
import logging
import re
import tempfile
import warnings
from pathlib import Path

NEEDS = "run pip install -r requirements.txt with Python 3.12 or later"
try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
except ImportError as missing:
    raise SystemExit(f"{missing}; {NEEDS}") from missing

# What the packages say of themselves and each other helps nobody who exports.
warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)

OPSET = 18
# What the program keeps of a series, and what it looks ahead: WINDOW_STEPS of src/limits.ts, and the horizon of ours.
CONTEXT = 512
HORIZON = 64
# What the program reads at most: MODEL_BYTES_MAX, CONTEXT_MAX and HORIZON_MAX of src/limits-models.ts.
BYTES_MAX = 1 << 30
CONTEXT_MAX = 8192
HORIZON_MAX = 1024
# Decimals kept in the parity file.
DECIMALS = 6
# Other processors add up in another order, and what comes out is multiplied by a scale.
TOLERANCE = 1e-3
# A run is ended after 2 s. One window of 35 MB of weights takes 3.1 ms on one core: so many make half a second of it. A check
# has eight.
ROW_BYTES = 5.6e9
ROWS_MIN, ROWS_MAX, ROWS_PREFERRED = 8, 256, 32
# One row, a few, and more than were traced.
BATCHES = (1, 3, 16)


def arguments(description):
    """The command line: weights, folder, context. Exits with a sentence."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "weights",
        help="a folder with config.json and the weights, the id of a hub, or `random`: a small one that knows nothing",
    )
    parser.add_argument("folder", type=Path, help="where NAME.onnx, NAME.json and NAME.parity.json go")
    parser.add_argument(
        "--context",
        type=int,
        default=CONTEXT,
        help=f"values that the graph takes; {CONTEXT} is what the program keeps of a series, and more would be padding",
    )
    asked = parser.parse_args()
    folder = Path(asked.weights)
    if asked.weights[0] in "/.~" and not folder.is_dir():
        raise SystemExit(f"{folder}: there is no such folder")
    if folder.is_dir() and not (folder / "config.json").exists():
        raise SystemExit(f"{folder}: it has no config.json; it should have what the hub has of the model")
    if not 64 <= asked.context <= CONTEXT_MAX:
        raise SystemExit(f"--context is {asked.context}: the program takes 64 to {CONTEXT_MAX}")
    return asked


def reason(error):
    """What a package says, in one line that can be read."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def name_of(weights):
    """A manifest's id from a folder or an id such as `Datadog/Toto-2.0-4m`."""
    name = re.sub(r"[^a-z0-9._-]", "-", Path(weights).name.lower()).strip("-._")[:64]
    if name == "":
        raise SystemExit(f"{weights}: its last part names no model; rename the folder")
    return name


def chosen(asked, small, loaded, name):
    """The model that the command line asks for, and its name. `small` makes a random one; `loaded` reads a folder or a hub."""
    if asked.weights != "random":
        return loaded(asked.weights), name_of(asked.weights)
    # Through a folder, so that a random one takes the way of a real one.
    with tempfile.TemporaryDirectory() as folder:
        small().save_pretrained(folder)
        return loaded(folder), f"{name}-random"


def windows(length):
    """Contexts [10, length], NaN where nothing was observed: what series look like, and what has gone wrong in them."""
    rng = np.random.default_rng(7)
    steps = np.arange(length)
    x = np.sin(steps / 7) + 0.1 * rng.standard_normal((10, length))
    x[1, : length * 5 // 8] = np.nan  # young
    x[2, rng.random(length) < 0.2] = np.nan  # scrapes are missing
    x[3, length // 5 : length // 2] = np.nan  # a long gap
    x[4] = 0  # constant, as it is after scaling
    x[5] = 3
    x[6, -40:] = np.nan  # nothing lately
    x[7] += 1000  # far from 0
    x[8] = np.where(steps < length // 2, -1, 1)
    x[9, length // 3] = 200  # one spike
    return np.round(x, DECIMALS).astype(np.float32)


def feeds(manifest, contexts):
    """Contexts [rows, length] as the tensors that the manifest describes; what src/inference/layout.ts does."""
    inputs = manifest["inputs"]
    rows = len(contexts)

    def sized(shape):
        return [rows if size == "batch" else size for size in shape]

    seen = ~np.isnan(contexts)
    shape = sized(inputs["context"]["shape"])
    values = contexts if "mask" not in inputs else np.nan_to_num(contexts)
    tensors = {inputs["context"]["name"]: values.astype(np.float32).reshape(shape)}
    if "mask" in inputs:
        mask = seen if inputs["mask"]["oneMeans"] == "observed" else ~seen
        tensors[inputs["mask"]["name"]] = mask.astype(inputs["mask"]["dtype"]).reshape(shape)
    for constant in inputs.get("constants", []):
        assert constant["fill"] == "zero", "no public model here wants another"
        tensors[constant["name"]] = np.zeros(sized(constant["shape"]), constant["dtype"])
    return tensors


def quantiles_of(manifest, output):
    """The graph's output as [rows, levels, steps]."""
    layout = manifest["outputs"]["layout"]
    ordered = np.transpose(output, [layout.index(letter) for letter in "bqhv" if letter in layout])
    return ordered[..., 0] if "v" in layout else ordered


def error(got, wanted):
    """The largest difference, relative to 1 or to the value: what the program compares before the first use."""
    return float(np.max(np.abs(got - wanted) / np.maximum(1, np.abs(wanted))))


def export(graph, manifest, reference, asked):
    """Writes the three files; exits with a sentence when the graph does not answer as `reference` does.

    `graph` is a module that takes tensors by the names of the manifest. `manifest` says id, inputs, context, horizon and
    outputs. `reference` turns contexts [rows, length] into quantiles [rows, levels, steps], by the package. `asked` is the
    command line.
    """
    contexts = windows(manifest["context"]["max"])
    wanted = reference(contexts)
    if not np.isfinite(wanted).all():
        raise SystemExit(f"{asked.weights}: it answers what is no number; its weights are damaged")
    traced = {name: torch.from_numpy(value) for name, value in feeds(manifest, contexts[:3]).items()}
    batch = torch.export.Dim("batch", min=1, max=1024)
    with torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            kwargs=traced,
            input_names=list(traced),
            output_names=[manifest["outputs"]["name"]],
            dynamic_shapes={name: {0: batch} for name in traced},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    content = without_traces(program.model_proto)
    if len(content) > BYTES_MAX:
        raise SystemExit(f"{asked.weights}: {len(content)} bytes, and the program reads at most {BYTES_MAX}")

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in BATCHES:
        some = np.resize(np.arange(len(contexts)), rows)
        (output,) = session.run(None, feeds(manifest, contexts[some]))
        worst = max(worst, error(quantiles_of(manifest, output), wanted[some]))
    if not worst <= TOLERANCE:
        raise SystemExit(f"{asked.weights}: the graph answers {worst:.1e} beside the package, {TOLERANCE} is allowed")

    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    name = manifest["id"]
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"{name}.onnx").write_bytes(content)
    rows_max = int(ROW_BYTES / len(content) * CONTEXT / asked.context)
    rows_max = min(ROWS_MAX, max(ROWS_MIN, rows_max))
    described = {
        "schema": 1,
        "id": name,
        # Weights have no version of their own: verdicts name the graph.
        "version": digest[:12],
        "task": "forecast",
        "license": "Apache-2.0",
        # Of a folder its name: where it lies is of use to nobody else.
        "source": Path(asked.weights).name if Path(asked.weights).is_dir() else asked.weights,
        "file": {"path": f"{name}.onnx", "sha256": digest, "bytes": len(content), "opset": OPSET},
        "inputs": manifest["inputs"],
        "context": {"max": manifest["context"]["max"], "minObserved": 64, "pad": "left"},
        "horizon": {"native": manifest["horizon"]["native"], "rollout": "none"},
        "outputs": manifest["outputs"],
        "scaling": {"pre": "affine-f64"},
        "batch": {"dynamic": True, "max": rows_max, "preferred": min(ROWS_PREFERRED, rows_max)},
        "parity": {"file": f"{name}.parity.json", "tolerance": TOLERANCE},
    }
    (folder / f"{name}.json").write_text(json.dumps(described, indent=2) + "\n")
    rows = [
        {
            "context": [None if np.isnan(v) else round(float(v), DECIMALS) for v in context],
            "mask": "".join("0" if np.isnan(v) else "1" for v in context),
            "quantiles": np.round(quantiles.astype(float), DECIMALS).tolist(),
        }
        for context, quantiles in zip(contexts, wanted)
    ]
    parity = json.dumps({"rows": rows}, separators=(",", ":"))
    (folder / f"{name}.parity.json").write_text(parity + "\n")
    print(f"{folder / name}.onnx: {len(content)} bytes, {worst:.1e} beside the package's own answers")


def without_traces(model):
    """The graph's bytes, without the source lines and paths that the exporter notes on each node."""
    model.ClearField("metadata_props")
    for graph in (model.graph, *model.functions):
        graph.ClearField("doc_string")
        graph.ClearField("metadata_props")
        for node in graph.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
        for value in graph.value_info:
            value.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
