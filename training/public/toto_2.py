"""Toto 2.0 for one variate as an ONNX graph with its manifest: `python toto_2.py Datadog/Toto-2.0-4m out`.

The package's own `forecast` in one pass, with the settings of its GluonTS predictor. What it takes and gives is kept:
target [batch, 1, N] and target_mask, bool, true where observed; series_ids [batch, 1], zero; quantiles
[levels, batch, 1, steps]. Two things happen in the graph that the package leaves to its caller: what is missing holds the
last value (the newest patch counts as observed whatever the mask says), and positions are int64, for ONNX gathers by these.
"""

import copy

from exporting import HORIZON, NEEDS, arguments, chosen, export, reason

try:
    import numpy as np
    import torch
    from toto2 import Toto2Model
    from toto2.configuration import Toto2GluonTSModelConfig, Toto2ModelConfig
    from toto2.model import ffill_imputation
except ImportError as missing:
    raise SystemExit(f"{missing}; {NEEDS}") from missing

DEFAULTS = Toto2GluonTSModelConfig(prediction_length=HORIZON, context_length=1, target_dim=1)
FORECAST = {
    "scaler_fallback_min_obs": DEFAULTS.scaler_fallback_min_obs,
    "quantile_real_cap_k": DEFAULTS.quantile_real_cap_k,
    "has_missing_values": True,
}


class Positions64(torch.nn.Module):
    """The transformer, told its positions in int64."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, state, time_ids=None, **rest):
        if time_ids is None:
            time_ids = torch.arange(state.shape[-2], device=state.device)
        return self.transformer(state, time_ids=time_ids, **rest)


class Graph(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, target, target_mask, series_ids):
        inputs = {"target": held(target, target_mask), "target_mask": target_mask, "series_ids": series_ids}
        return self.model.forecast(inputs, HORIZON, **FORECAST)


def held(values, seen):
    """[…, N] with the last value seen in the place of each that was not; 0 before the first. Looks back 1, 2, 4, … steps."""
    values = torch.where(seen, values, 0.0)
    back = 1
    while back < values.shape[-1]:
        older = torch.cat([torch.zeros_like(values[..., :back]), values[..., :-back]], dim=-1)
        was_seen = torch.cat([torch.zeros_like(seen[..., :back]), seen[..., :-back]], dim=-1)
        values = torch.where(seen, values, older)
        seen = seen | was_seen
        back *= 2
    return values


def small():
    """The layout of the published ones with 0.3 M weights: layers over time, and one over variates."""
    torch.manual_seed(7)
    return Toto2Model(
        Toto2ModelConfig(
            patch_size=32,
            d_model=64,
            num_heads=4,
            num_layers=4,
            layer_group_size=4,
            num_variate_layers_per_group=1,
            variate_layer_first=False,
            residual_attn_ratio=Toto2ModelConfig.compute_residual_attn_ratio(4096, 32),
        )
    )


def loaded(weights):
    """The package's model of a folder or a hub's id. Exits with a sentence."""
    try:
        return Toto2Model.from_pretrained(weights).float().eval()
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise SystemExit(f"{weights}: it cannot be read as Toto 2.0: {reason(error)}") from error


def main():
    asked = arguments("Toto 2.0 as ONNX, with a manifest.")
    model, name = chosen(asked, small, loaded, "toto-2.0")
    size, levels = model.config.patch_size, list(model.output_head.knots)
    if asked.context % size != 0:
        raise SystemExit(f"--context is {asked.context}: {asked.weights} takes multiples of {size}")
    if 0.5 not in levels:
        raise SystemExit(f"{asked.weights}: its quantiles {levels} lack the median")
    untouched = copy.deepcopy(model)
    model.transformer = Positions64(model.transformer)

    def reference(contexts):
        inputs = {
            "target": torch.from_numpy(ffill_imputation(contexts))[:, None],
            "target_mask": torch.from_numpy(~np.isnan(contexts))[:, None],
            "series_ids": torch.zeros(len(contexts), 1, dtype=torch.long),
        }
        return untouched.forecast(inputs, HORIZON, **FORECAST)[:, :, 0].permute(1, 0, 2).numpy()

    shape = ["batch", 1, asked.context]
    manifest = {
        "id": name,
        "inputs": {
            "context": {"name": "target", "dtype": "float32", "shape": shape},
            "mask": {"name": "target_mask", "dtype": "bool", "oneMeans": "observed"},
            "constants": [{"name": "series_ids", "dtype": "int64", "shape": ["batch", 1], "fill": "zero"}],
        },
        "context": {"max": asked.context},
        "horizon": {"native": HORIZON},
        "outputs": {"name": "quantiles", "layout": "qbvh", "levels": levels},
    }
    export(Graph(model), manifest, reference, asked)


if __name__ == "__main__":
    main()
