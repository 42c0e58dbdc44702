"""A causal patch transformer that forecasts quantiles.

  context f32 [batch, 512]   normalised samples (see `normalise`), anything where not observed
  mask    f32 [batch, 512]   1 where observed
  result  f32 [batch, 13, 64] quantiles LEVELS of the next 64 samples, normalised; may cross, so sort them

A token is 32 samples and their mask. Attention is causal, so in training each token forecasts what follows it, and one
window is many examples. A token none of whose samples was observed is not looked at. Positions are learnt. ReLU, plain
LayerNorm and learnt positions keep the graph to a few operators that every runtime has.
Normalisation stays outside: float32 cannot hold the mean of a byte counter.
"""

import math

import torch
from torch import nn

from model_constants import CONTEXT, HORIZON, LEVELS, PATCH
from recall import HINTS, NOTES, SHAPES, recall

TOKENS = CONTEXT // PATCH
HIDDEN = -1e4

SIZES = {
    "edge-s": dict(width=128, heads=4, layers=4, inner=512),
    "nano": dict(width=64, heads=4, layers=4, inner=256),
}


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.before_inner = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)

    def forward(self, x, bias):
        batch, tokens, width = x.shape
        parts = self.query_key_value(self.before_attention(x))
        parts = parts.view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weight = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(width // self.heads) + bias, -1)
        x = x + self.join((weight @ value).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.narrow(torch.relu(self.widen(self.before_inner(x))))


class Forecaster(nn.Module):
    def __init__(self, width, heads, layers, inner):
        super().__init__()
        self.embed = nn.Linear(2 * PATCH, width)
        self.position = nn.Parameter(torch.randn(1, TOKENS, width) * 0.02)
        self.layers = nn.ModuleList([Layer(width, heads, inner) for _ in range(layers)])
        self.last = nn.LayerNorm(width)
        self.remember = nn.Linear(len(HINTS) * HORIZON + NOTES, width)
        self.widen = nn.Linear(width, width)
        self.head = nn.Linear(2 * width, HORIZON * len(LEVELS))
        self.believe = nn.Linear(2 * width, len(LEVELS) * len(SHAPES))
        self.register_buffer("future", torch.full((TOKENS, TOKENS), HIDDEN).triu(1))

    def tokens(self, context, mask):
        seen = mask.view(-1, TOKENS, PATCH)
        # Where and not a product: NaN times zero is NaN.
        known = torch.where(seen > 0, context.view(-1, TOKENS, PATCH), torch.zeros_like(seen))
        x = self.embed(torch.cat([known, seen], 2)) + self.position
        bias = self.future[None, None] + (1 - seen.amax(2))[:, None, None, :] * HIDDEN
        for layer in self.layers:
            x = layer(x, bias)
        return self.last(x)

    def quantiles(self, tokens, shapes, notes):
        """[rows, width], and what `recall` gives for the same rows -> [rows, 13, 64]"""
        seen = tokens + self.remember(torch.cat([shapes[:, i] for i in HINTS] + [notes], 1))
        both = torch.cat([seen, torch.relu(self.widen(seen))], 1)
        own = self.head(both).view(-1, len(LEVELS), HORIZON)
        return own + self.believe(both).view(-1, len(LEVELS), len(SHAPES)) @ shapes

    def forward(self, context, mask):
        return self.quantiles(self.tokens(context, mask)[:, -1], *recall(context, mask))
