"""What followed the last time the series looked like this: the places most like the end of a context, and what came after.

  context f32 [batch, 512]    normalised samples
  mask    f32 [batch, 512]    1 where observed
  shapes  f32 [batch, 14, 64] forecasts that copy: SHAPES for each of MATCHES
  notes   f32 [batch, 51]     how alike the places are, how far back, how much higher

The last 128 samples are compared with those that end `lag` samples earlier, for every lag that leaves as many; then the
last 32, which finds what follows a moment where the long look finds a rhythm. Of the lags that are better than both their
neighbours the PLACES best are kept; what followed each is copied, and repeated when the lag is shorter than the horizon.
A network of this size cannot learn to copy a pulse train from its context; it can learn when to believe a copy. Nothing
in here is learnt. Holes of up to 63 samples hold the mean of the values around them.
"""

import torch
import torch.nn.functional as F

from model_constants import CONTEXT, HORIZON

MATCHES = [128, 32]
PLACES = 8
BLOCK = 32
KINDS = ["best", "mean", "spread", "least", "most", "best, lifted", "mean, lifted"]
SHAPES = [(match, kind) for match in MATCHES for kind in KINDS]
# Those that the network sees as well as mixes.
HINTS = [i for i, (_, kind) in enumerate(SHAPES) if kind in ("mean", "spread")]
NOTES = len(MATCHES) * (3 * PLACES + 1) + 1
NO_LIKENESS = 4.0
# Added to what is unlike: for each sample further back, where something is missing, and where a neighbour is better.
LATER, UNSEEN, NO_DIP = 8e-6, 16.0, 8.0
# The end is flat when it varies less than this; 1 is the mean distance of the context from its median.
FLAT = 0.02


def carried(x, mask, step):
    """Holes of up to 63 samples take the value `step` (1 or -1) before them; the mask says what has a value now."""
    x = torch.where(mask > 0, x, torch.zeros_like(mask))
    for shift in (1, 2, 4, 8, 16, 32):
        pads = (shift, 0) if step > 0 else (0, shift)
        part = slice(None, -shift) if step > 0 else slice(shift, None)
        x = torch.where(mask > 0, x, F.pad(x[:, part], pads))
        mask = torch.maximum(mask, F.pad(mask[:, part], pads))
    return x, mask


def filled(context, mask):
    """Holes take the mean of the values around them, at the end of the context the last one."""
    before, known = carried(context, mask, 1)
    after, also = carried(context, mask, -1)
    return torch.where(known * also > 0, (before + after) / 2, before), known


def products(x, query):
    """[batch, 512 - match]: the sum of query times x[l : l + match] for every l, as a product of two small matrices: the
    stretches of x in which 32 of the l begin, and the query in 32 rows, each moved by one. Rows of wide + 1, cut again
    into rows of wide, move by one without an operator of their own."""
    match = query.shape[1]
    wide, blocks = match + BLOCK, (CONTEXT - match) // BLOCK
    patches = x.view(-1, CONTEXT // BLOCK, BLOCK)
    stretches = torch.cat([patches[:, i : i + blocks] for i in range(wide // BLOCK)], 2)
    rows = F.pad(query, (0, BLOCK + 1)).unsqueeze(1).expand(-1, BLOCK, -1).reshape(-1, BLOCK * (wide + 1))
    moved = rows[:, : BLOCK * wide].reshape(-1, BLOCK, wide)
    return (stretches @ moved.transpose(1, 2)).reshape(-1, CONTEXT - match)


def looked_up(x, seen, match):
    lags = CONTEXT - match
    middle = x[:, -match:].mean(1, keepdim=True)
    y = x - middle
    end = y[:, -match:]
    every = torch.ones_like(end)
    power = (end * end).mean(1, keepdim=True)
    sums = products(torch.cat([y * y, y, seen, y]), torch.cat([every, every, every, end])) / match
    squares, means, known, along = sums.chunk(4)
    unlike = ((power + squares - 2 * along) / (2 * power + FLAT)).clamp(0, NO_LIKENESS)
    lift = -means
    # Of places that are equally like the end the later one: a tie must not be the runtime's to break.
    lag = lags - torch.arange(lags)
    rank = unlike + LATER * lag + (known < 0.999).float() * UNSEEN
    beside = F.pad(rank, (1, 1), value=2 * UNSEEN)
    dip = (rank <= beside[:, :-2]) & (rank < beside[:, 2:])
    _, row = torch.topk(rank + (~dip).float() * NO_DIP, PLACES, 1, largest=False)
    least = torch.gather(unlike, 1, row)
    lag = (lags - row).unsqueeze(2)
    where = (CONTEXT - lag + torch.arange(HORIZON) % lag).reshape(-1, PLACES * HORIZON)
    copies = torch.gather(x, 1, where).reshape(-1, PLACES, HORIZON)
    lifts = torch.gather(lift, 1, row)
    lifted = copies + lifts.unsqueeze(2)
    # Not below -40: what comes of numbers too small for a float's exponent takes a hundred times as long.
    worse = (-4 * least / (least[:, :1] + 0.05)).clamp(min=-40)
    weight = torch.softmax(worse, 1).unsqueeze(2)
    average = (copies * weight).sum(1)
    spread = (((copies - average.unsqueeze(1)) ** 2) * weight).sum(1).clamp(min=1e-8).sqrt()
    four = copies[:, :4]
    shapes = [copies[:, 0], average, spread, four.amin(1), four.amax(1), lifted[:, 0], (lifted * weight).sum(1)]
    ago = torch.log(lag.squeeze(2).float()) / 6
    return shapes, [least, lifts.clamp(-4, 4), ago, power.clamp(min=1e-8).sqrt().clamp(max=4)]


def recall(context, mask):
    x, seen = filled(context, mask)
    shapes, notes = [], [seen.mean(1, keepdim=True)]
    for match in MATCHES:
        more_shapes, more_notes = looked_up(x, seen, match)
        shapes += more_shapes
        notes += more_notes
    return torch.stack(shapes, 1), torch.cat(notes, 1)


if __name__ == "__main__":
    torch.manual_seed(0)
    at = torch.arange(CONTEXT + HORIZON)
    pulses = (at % 60 < 3).float() + 0.05 * torch.randn(1, len(at))
    shapes, _ = recall(pulses[:, :CONTEXT], torch.ones(1, CONTEXT))
    assert (shapes[0, 1] - (at[CONTEXT:] % 60 < 3).float()).abs().mean() < 0.05
    x = torch.randn(3, CONTEXT)
    for match in MATCHES:
        query = torch.randn(3, match)
        plain = torch.stack([(query * x[:, l : l + match]).sum(1) for l in range(CONTEXT - match)], 1)
        assert (products(x, query) - plain).abs().max() < 1e-4
    holes = torch.ones(1, CONTEXT)
    holes[:, 100:163] = 0
    held, seen = filled(torch.full((1, CONTEXT), torch.nan).where(holes == 0, at[:CONTEXT].float()), holes)
    assert (held[0, 100:163] == 131).all() and (held[0, 163:] == at[163:CONTEXT]).all() and seen.min() == 1
    holes[:, -3:] = 0
    held, _ = filled(at[None, :CONTEXT].float(), holes)
    assert (held[0, -3:] == CONTEXT - 4).all()
    print("recall is what it says")
