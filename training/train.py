"""Trains one model on synthetic series only: `python3 train.py nano 12000 out/nano.pt`.

Pinball loss on 13 quantiles in normalised space. Offset and scale come from a random prefix of the context and the loss
from the tokens behind it, so that normalisation never sees what is to be forecast. The weights that are kept are the
moving average of the last thousand steps. Seeded: the same machine and libraries give the same model.
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

BATCH = 256
RATE = 2e-3
WARM_UP = 300
AVERAGE = 0.998
LOSS_MAX = 8.0
# Samples that must have been observed before a token's forecast counts.
OBSERVED_MIN = 32
PREFIXES, PREFIX_SHARES = [128, 256, 384, 512], [0.15, 0.25, 0.3, 0.3]


def example(rng, prefix):
    x = series.windows(rng, BATCH)
    mask = series.masks(rng, BATCH)
    head = mask.copy()
    head[:, prefix:] = 0
    mean, sd = offset_and_scale(x[:, :CONTEXT], head)
    z = normalised(x, mean, sd).clip(-15, 15).astype(np.float32)
    return torch.from_numpy(z), torch.from_numpy(mask)


def loss_of(net, z, mask, prefix):
    first = prefix // PATCH - 1
    tokens = net.tokens(z[:, :CONTEXT], mask)[:, first:]
    wanted = torch.stack(
        [z[:, (first + i + 1) * PATCH :][:, :HORIZON] for i in range(tokens.shape[1])], 1
    ).unsqueeze(2)
    seen = mask.view(-1, TOKENS, PATCH).sum(2).cumsum(1)[:, first:] >= OBSERVED_MIN
    error = wanted - net.quantiles(tokens)
    level = torch.tensor(LEVELS)[None, None, :, None]
    pinball = torch.maximum(level * error, (level - 1) * error).clamp(max=LOSS_MAX).mean((2, 3))
    return (pinball * seen).sum() / seen.sum().clamp(min=1)


def main(size, steps, out):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(20261121)
    judge = np.random.default_rng(12345)
    held_out = [example(judge, 512) for _ in range(6)]
    net, average = Forecaster(**SIZES[size]), Forecaster(**SIZES[size])
    average.load_state_dict(net.state_dict())
    parameters = sum(p.numel() for p in net.parameters())
    print(json.dumps({"size": size, "steps": steps, "batch": BATCH, "parameters": parameters}), flush=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    began = time.time()
    running = 0.0
    for step in range(1, steps + 1):
        rate = RATE * min(1, step / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
        for group in optimiser.param_groups:
            group["lr"] = rate
        prefix = int(rng.choice(PREFIXES, p=PREFIX_SHARES))
        loss = loss_of(net, *example(rng, prefix), prefix)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        with torch.no_grad():
            keep = min(AVERAGE, step / (step + 10))
            for mine, theirs in zip(average.parameters(), net.parameters()):
                mine.mul_(keep).add_(theirs, alpha=1 - keep)
        if step % 250 == 0 or step == steps:
            with torch.no_grad():
                judged = float(np.mean([loss_of(average, z, m, 512).item() for z, m in held_out]))
            line = {"step": step, "loss": round(running, 4), "held_out": round(judged, 4)}
            line |= {"cpu_s": round(time.process_time()), "wall_s": round(time.time() - began)}
            print(json.dumps(line), flush=True)
            torch.save({"size": size, "steps": step, "weights": average.state_dict()}, out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
