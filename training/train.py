"""Trains one model on synthetic series only: `python train.py nano 40000 nano.pt`, or goes on from one at a tenth of the
rate: `python train.py nano 4000 more.pt nano.pt`.

Pinball loss on 13 quantiles in normalised space. Offset and scale come from a random prefix of the context and the loss
from the tokens behind it, so that normalisation never sees what is to be forecast. The weights that are kept are the
moving average of the last thousand steps. Multiplications run in bfloat16, everything else in float32. Seeded: the same
machine and libraries give the same model.
"""

import json
import math
import sys
import time

import numpy as np
import torch

import series
from model import SIZES, TOKENS, Forecaster
from model_constants import CONTEXT, HORIZON, LEVELS, PATCH
from normalise import normalised, offset_and_scale
from recall import recall

BATCH = 128
RATE = 1.5e-3
WARM_UP = 300
AVERAGE = 0.998
LOSS_MAX = 8.0
Z_MAX = 15
POSITIONS = 2
BATCHES_AT_ONCE = 16
# Samples that must have been observed before a token's forecast counts.
OBSERVED_MIN = 32
PREFIXES, PREFIX_SHARES = [128, 256, 384, 512], [0.1, 0.2, 0.4, 0.3]


def batches(rng):
    """Series and masks without end; made many at a time because the loops of the generator run over time."""
    while True:
        x = series.windows(rng, BATCHES_AT_ONCE * BATCH)
        mask = series.masks(rng, BATCHES_AT_ONCE * BATCH)
        for at in range(0, len(x), BATCH):
            yield x[at : at + BATCH], mask[at : at + BATCH]


def example(rng, x, mask, prefix):
    """Normalised windows, their masks, and the tokens whose forecasts are judged: the last one, some behind the prefix."""
    head = mask.copy()
    head[:, prefix:] = 0
    middle, scale = offset_and_scale(x[:, :CONTEXT], head)
    z = normalised(x, middle, scale).clip(-Z_MAX, Z_MAX).astype(np.float32)
    judged = np.unique([TOKENS, *rng.choice(np.arange(prefix // PATCH, TOKENS + 1), POSITIONS)])
    return torch.from_numpy(z), torch.from_numpy(mask), judged.tolist()


def moved(x, end):
    """The first `end` samples at the right of a context."""
    return torch.nn.functional.pad(x[:, :end], (CONTEXT - end, 0))


def loss_of(net, z, mask, judged):
    ends = [PATCH * tokens for tokens in judged]
    contexts = torch.cat([moved(z, end) for end in ends])
    masks = torch.cat([moved(mask, end) for end in ends])
    wanted = torch.cat([z[:, end : end + HORIZON] for end in ends]).unsqueeze(1)
    shapes, notes = recall(contexts, masks)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=net.training):
        tokens = net.tokens(z[:, :CONTEXT], mask)
        made = net.quantiles(torch.cat([tokens[:, t - 1] for t in judged]), shapes, notes)
    error = wanted - made.float()
    level = torch.tensor(LEVELS)[None, :, None]
    pinball = torch.maximum(level * error, (level - 1) * error).clamp(max=LOSS_MAX).mean((1, 2))
    seen = (masks.sum(1) >= OBSERVED_MIN).float()
    return (pinball * seen).sum() / seen.sum().clamp(min=1)


def main(size, steps, out, start=None):
    torch.set_num_threads(1)
    saved = torch.load(start) if start else {"steps": 0}
    before, highest = saved["steps"], RATE / 10 if start else RATE
    torch.manual_seed(0)
    rng = np.random.default_rng(20261121 + before)
    judge = np.random.default_rng(12345)
    made = batches(judge)
    held_out = [example(judge, *next(made), CONTEXT) for _ in range(16)]
    made = batches(rng)
    net, average = Forecaster(**SIZES[size]), Forecaster(**SIZES[size])
    if start:
        net.load_state_dict(saved["weights"])
    average.load_state_dict(net.state_dict())
    average.eval()
    parameters = sum(p.numel() for p in net.parameters())
    print(json.dumps({"size": size, "steps": steps, "batch": BATCH, "parameters": parameters}), flush=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    began = time.time()
    running = 0.0
    for step in range(1, steps + 1):
        rate = highest * min(1, step / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
        for group in optimiser.param_groups:
            group["lr"] = rate
        prefix = int(rng.choice(PREFIXES, p=PREFIX_SHARES))
        loss = loss_of(net, *example(rng, *next(made), prefix))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        with torch.no_grad():
            keep = min(AVERAGE, step / (step + 10))
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - keep)
        if step % 500 == 0 or step == steps:
            with torch.no_grad():
                judged = float(np.mean([loss_of(average, *row).item() for row in held_out]))
            line = {"step": before + step, "loss": round(running, 4), "held_out": round(judged, 4)}
            line |= {"cpu_s": round(time.process_time()), "wall_s": round(time.time() - began)}
            print(json.dumps(line), flush=True)
            torch.save({"size": size, "steps": before + step, "weights": average.state_dict()}, out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
