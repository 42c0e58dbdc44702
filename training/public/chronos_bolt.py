"""Chronos-Bolt as an ONNX graph with its manifest: `python chronos_bolt.py amazon/chronos-bolt-tiny out`.

The package's own network, with two parts in the place of what cannot be exported: means that leave out what is NaN, and
patches by `unfold`. Context [batch, N] with NaN where nothing was observed, quantiles [batch, levels, steps]. Patches in
which nothing was observed are not attended to, so a graph for a shorter context answers as the package does for one.
"""

import copy

from exporting import CONTEXT_MAX, HORIZON, HORIZON_MAX, NEEDS, arguments, chosen, export, reason

try:
    import torch
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from safetensors import SafetensorError
    from transformers import AutoConfig, T5Config
    from transformers.utils import logging
except ImportError as missing:
    raise SystemExit(f"{missing}; {NEEDS}") from missing

logging.disable_progress_bar()
logging.set_verbosity_error()


class Standardised(torch.nn.Module):
    """(x - mean) / deviation over what is not NaN, and back; like the package's it has a deviation of `eps` in place of 0."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        seen = ~torch.isnan(x)
        count = seen.sum(-1, keepdim=True).clamp(min=1).to(x.dtype)
        mean = torch.where(seen, x, 0.0).sum(-1, keepdim=True) / count
        distance = torch.where(seen, x - mean, 0.0)
        deviation = (distance.square().sum(-1, keepdim=True) / count).sqrt()
        deviation = torch.where(deviation == 0, self.eps, deviation)
        return (x - mean) / deviation, (mean, deviation)

    def inverse(self, z, mean_and_deviation):
        mean, deviation = mean_and_deviation
        return z * deviation + mean


class Patches(torch.nn.Module):
    """[batch, N] in patches side by side."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x.reshape(x.shape[0], -1, self.size)


class Graph(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, context):
        return self.model(context=context).quantile_preds


def small():
    """The layout of the published ones with 0.3 M weights, drawn so that each of them matters."""
    torch.manual_seed(7)
    config = T5Config(
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        vocab_size=2,
        pad_token_id=0,
        decoder_start_token_id=0,
        feed_forward_proj="relu",
        architectures=["ChronosBoltModelForForecasting"],
    )
    config.chronos_config = {
        "context_length": 2048,
        "prediction_length": HORIZON,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        "use_reg_token": True,
    }
    model = ChronosBoltModelForForecasting(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5)
    return model


def loaded(weights):
    """The package's model of a folder or a hub's id, in float32. Exits with a sentence."""
    try:
        config = AutoConfig.from_pretrained(weights)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{weights}: no weights there: {reason(error)}") from error
    if "ChronosBoltModelForForecasting" not in (config.architectures or []):
        raise SystemExit(f"{weights}: it is {config.architectures}, and this exports Chronos-Bolt only")
    # A weight that is not there would be drawn at random, and nothing said of these two layers.
    ChronosBoltModelForForecasting._keys_to_ignore_on_load_missing = []
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    try:
        model, loading = ChronosBoltModelForForecasting.from_pretrained(weights, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SystemExit(f"{weights}: its weights cannot be read: {reason(error)}") from error
    if loading["missing_keys"]:
        raise SystemExit(f"{weights}: its weights lack {sorted(loading['missing_keys'])[0]}; fetch them again")
    return model.eval()


def checked(weights, config, context):
    """Exits with a sentence when the program could not use it."""
    size, steps = config.input_patch_size, config.prediction_length
    if config.input_patch_stride != size:
        raise SystemExit(f"{weights}: its patches overlap ({size} every {config.input_patch_stride}), which is not exported")
    longest = min(config.context_length, CONTEXT_MAX)
    if context > longest or context % size != 0:
        raise SystemExit(f"--context is {context}: {weights} takes multiples of {size} up to {longest}")
    if not HORIZON <= steps <= HORIZON_MAX:
        raise SystemExit(f"{weights}: it looks {steps} steps ahead, and the program wants {HORIZON} to {HORIZON_MAX}")
    if 0.5 not in config.quantiles or config.quantiles != sorted(config.quantiles):
        raise SystemExit(f"{weights}: its quantiles {config.quantiles} do not ascend, or lack the median")


def main():
    asked = arguments("Chronos-Bolt as ONNX, with a manifest.")
    model, name = chosen(asked, small, loaded, "chronos-bolt")
    config = model.chronos_config
    checked(asked.weights, config, asked.context)
    untouched = copy.deepcopy(model)
    model.instance_norm = Standardised(model.instance_norm.eps)
    model.patch = Patches(config.input_patch_size)
    # Fused attention gives the exporter a shape that it cannot follow.
    model.set_attn_implementation("eager")

    def reference(contexts):
        with torch.no_grad():
            return untouched(context=torch.from_numpy(contexts)).quantile_preds.numpy()

    manifest = {
        "id": name,
        "inputs": {"context": {"name": "context", "dtype": "float32", "shape": ["batch", asked.context]}},
        "context": {"max": asked.context},
        "horizon": {"native": config.prediction_length},
        "outputs": {"name": "quantile_preds", "layout": "bqh", "levels": list(config.quantiles)},
    }
    export(Graph(model), manifest, reference, asked)


if __name__ == "__main__":
    main()
