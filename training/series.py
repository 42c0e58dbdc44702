"""Synthetic series that look like what Prometheus scrapes, without one real sample in them.

`windows(rng, count)` gives float32 [count, LENGTH]: a mix of the families below, then what happens to any series on its
way into a time-series database (sample and hold, coarse resolution, scrape jitter, outliers). `masks` says which of the
first CONTEXT samples were observed. Everything is a function of the numpy generator that is handed in.

A family is a function (rng, count, length) -> [count, length]. Ideas come from published recipes: sums of periodic
kernels (KernelSynth, Ansari et al. 2024), convex mixes of series (TSMixup, same paper), trend x season x noise
(ForecastPFN, Dooley et al. 2023); the code and the families for observability are ours.
"""

import numpy as np

CONTEXT = 512
HORIZON = 64
LENGTH = CONTEXT + HORIZON
TINY = 1e-6


def log_uniform(rng, low, high, size):
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


# What people write into schedules and scrape at whole intervals, in samples.
CLOCK = np.array([2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 36, 40, 48, 60, 72, 90, 96, 120, 144, 180, 240, 288, 360.0])


def periods(rng, low, high, count):
    """Half of them as they come, half of the clock's."""
    known = CLOCK[(low <= CLOCK) & (high >= CLOCK)]
    return np.where(rng.random(count) < 0.5, log_uniform(rng, low, high, count), rng.choice(known, count))


def standard(x):
    return (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + TINY)


def some(rng, count, share):
    """A column of booleans, true for about `share` of the rows."""
    return rng.random((count, 1)) < share


def autoregressive(rng, count, length, memory):
    """First-order, unit variance. `memory` in samples, one per row."""
    phi = np.exp(-1 / np.maximum(memory, 0.05))
    noise = rng.standard_normal((length, count)) * np.sqrt(1 - phi**2)
    x = np.empty((length, count))
    last = rng.standard_normal(count)
    for i in range(length):
        last = phi * last + noise[i]
        x[i] = last
    return x.T


def smooth_cycle(rng, count, length, period, jitter=0.0):
    """A periodic curve with random harmonics: the steeper their decay, the smoother. Phase may wander a little."""
    phase = rng.uniform(0, 1, (count, 1)) + np.arange(length)[None, :] / period[:, None]
    if jitter > 0:
        phase = phase + jitter * autoregressive(rng, count, length, period)
    decay = rng.uniform(0.7, 2.5, (count, 1))
    angle = (2 * np.pi * (phase % 1)).astype(np.float32)
    x = np.zeros((count, length), np.float32)
    for k in range(1, 9):
        weight = (rng.standard_normal((count, 1)) / k**decay).astype(np.float32)
        x += weight * np.sin(k * angle + rng.uniform(0, 2 * np.pi, (count, 1)).astype(np.float32))
    return standard(x.astype(np.float64))


def trend(rng, count, length):
    t = np.linspace(0, 1, length)[None, :]
    slope = rng.normal(0, 1.5, (count, 1))
    bend = rng.normal(0, 3, (count, 1)) * np.maximum(0, t - rng.uniform(0.1, 0.9, (count, 1)))
    kind = rng.integers(0, 3, (count, 1))
    return np.where(kind == 0, 0, slope * t) + np.where(kind == 2, bend, 0)


def levels(rng, count, length, rate_low, rate_high):
    """Piecewise constant, jumps at random times."""
    rate = log_uniform(rng, rate_low, rate_high, (count, 1))
    jumps = (rng.random((count, length)) < rate) * rng.standard_normal((count, length))
    returns = some(rng, count, 0.5)
    wander = np.cumsum(jumps, 1)
    # Levels that are drawn anew instead of added up.
    index = np.maximum.accumulate(np.where(jumps != 0, np.arange(length)[None, :], 0), axis=1)
    fresh = np.take_along_axis(jumps, index, 1)
    return np.where(returns, fresh, wander)


def seasonal(rng, count, length):
    """Traffic and load: cycles with weekends, trend, changing amplitude, noise with memory; sometimes on a log scale."""
    period = periods(rng, 6, 400, count)
    fine = period / rng.integers(2, 24, count)
    x = smooth_cycle(rng, count, length, period, 0.01)
    x += some(rng, count, 0.5) * rng.uniform(0.1, 1, (count, 1)) * smooth_cycle(rng, count, length, fine)
    day = np.floor(np.arange(length)[None, :] / period[:, None] + rng.uniform(0, 7, (count, 1)))
    x *= 1 - some(rng, count, 0.25) * rng.uniform(0.2, 0.9, (count, 1)) * (day % 7 >= 5)
    x *= 1 + some(rng, count, 0.3) * np.clip(0.4 * autoregressive(rng, count, length, period * 2), -0.8, 2)
    x += some(rng, count, 0.4) * trend(rng, count, length)
    memory = np.where(rng.random(count) < 0.5, 0.05, log_uniform(rng, 0.5, 40, count))
    x += log_uniform(rng, 0.01, 1.2, (count, 1)) * autoregressive(rng, count, length, memory)
    return np.where(some(rng, count, 0.25), np.exp(np.clip(0.7 * x, -5, 4)), x)


def daily_coarse(rng, count, length):
    """Five-minute samples: a day of 288, an hourly job on it, more noise by day than by night."""
    period = np.full(count, 288.0) * rng.choice([1, 1, 1, 0.5], count)
    day = smooth_cycle(rng, count, length, period)
    job = smooth_cycle(rng, count, length, period / 24) * some(rng, count, 0.5) * rng.uniform(0.1, 1, (count, 1))
    noise = log_uniform(rng, 0.03, 0.6, (count, 1)) * autoregressive(
        rng, count, length, log_uniform(rng, 0.1, 20, count)
    )
    return day + job + noise * np.exp(some(rng, count, 0.5) * 0.7 * day)


def counts(rng, count, length):
    """Events per interval: Poisson or more dispersed, on a rate that moves; sometimes mostly zero."""
    s = 0.7 * smooth_cycle(rng, count, length, periods(rng, 8, 500, count)) * some(rng, count, 0.6)
    s = s + 0.5 * autoregressive(rng, count, length, log_uniform(rng, 2, 200, count)) * some(rng, count, 0.7)
    s = s + levels(rng, count, length, 0.0005, 0.01) * some(rng, count, 0.2)
    rate = log_uniform(rng, 0.02, 500, (count, 1)) * np.exp(np.clip(s, -5, 3))
    shape = log_uniform(rng, 0.5, 20, (count, 1))
    rate = np.where(some(rng, count, 0.4), rate * rng.gamma(shape, 1 / shape, (count, length)), rate)
    x = rng.poisson(np.minimum(rate, 1e6)).astype(np.float64)
    return np.where(some(rng, count, 0.15), x * (rng.random((count, length)) < 0.25), x)


def counter_rate(rng, count, length):
    """`rate()` of a counter between two scrapes whose times jitter; a whole number of events over about 15 s."""
    s = smooth_cycle(rng, count, length, log_uniform(rng, 20, 600, count)) * some(rng, count, 0.6)
    s = s + autoregressive(rng, count, length, log_uniform(rng, 1, 100, count)) * some(rng, count, 0.6)
    step = rng.choice([10.0, 15.0, 30.0, 60.0], (count, 1))
    at = np.arange(length + 1)[None, :] * step + rng.normal(0, 0.02, (count, length + 1)) * step * some(
        rng, count, 0.5
    )
    took = np.maximum(np.diff(at, axis=1), 0.1)
    per_second = log_uniform(rng, 0.01, 2000, (count, 1)) * np.exp(np.clip(0.6 * s, -4, 3))
    return rng.poisson(np.minimum(per_second * took, 1e7)) / took


def wandering(rng, count, length):
    """Random walks, mean-reverting noise, regimes; volatility that comes in bursts."""
    walk = np.cumsum(rng.standard_normal((count, length)), 1) / np.sqrt(length) * 3
    revert = autoregressive(rng, count, length, log_uniform(rng, 1, 300, count))
    regime = levels(rng, count, length, 0.001, 0.02) + 0.3 * revert
    kind = rng.integers(0, 3, (count, 1))
    x = np.where(kind == 0, walk, np.where(kind == 1, revert, regime))
    burst = np.exp(0.6 * autoregressive(rng, count, length, log_uniform(rng, 10, 200, count)))
    rough = x + log_uniform(rng, 0.02, 0.5, (count, 1)) * rng.standard_normal((count, length)) * burst
    return np.where(some(rng, count, 0.5), rough, x)


def latency(rng, count, length):
    """Log-normal around a level that moves, with Pareto spikes."""
    s = 0.3 * smooth_cycle(rng, count, length, log_uniform(rng, 20, 500, count)) * some(rng, count, 0.5)
    s = s + 0.3 * autoregressive(rng, count, length, log_uniform(rng, 0.5, 60, count))
    s = s + 0.6 * levels(rng, count, length, 0.0005, 0.01) * some(rng, count, 0.3)
    x = np.exp(np.clip(s + log_uniform(rng, 0.02, 0.6, (count, 1)) * rng.standard_normal((count, length)), -6, 5))
    hit = rng.random((count, length)) < log_uniform(rng, 0.0005, 0.03, (count, 1))
    return x * (1 + hit * np.minimum(rng.pareto(1.5, (count, length)), 30))


def saturated(rng, count, length):
    """A pool or a percentage that touches its floor or its ceiling."""
    x = wandering(rng, count, length) + 0.7 * seasonal(rng, count, length).clip(-4, 4)
    low = np.quantile(x, rng.uniform(0, 0.3), axis=1, keepdims=True)
    high = np.quantile(x, rng.uniform(0.6, 1), axis=1, keepdims=True)
    return np.clip(x, low, high)


def jobs(rng, count, length):
    """Cron: pulses, ramps and plateaus at a steady pace, sometimes late, sometimes left out, of uneven size."""
    period = periods(rng, 6, 300, count)[:, None]
    u = np.arange(length)[None, :] / period + rng.uniform(0, 1, (count, 1))
    run = np.floor(u).astype(int)
    run -= run.min(1, keepdims=True)
    runs = int(run.max()) + 1
    late = rng.normal(0, 0.03, (count, runs)) * some(rng, count, 0.4)
    size = np.exp(log_uniform(rng, 0.01, 0.6, (count, 1)) * rng.standard_normal((count, runs)))
    size *= 1 - (rng.random((count, runs)) < 0.05) * some(rng, count, 0.3)
    phase = (u - np.floor(u) - np.take_along_axis(late, run, 1)) % 1
    share = log_uniform(rng, 0.01, 0.8, (count, 1))
    kind = rng.integers(0, 4, (count, 1))
    pulse = (phase < share) * 1.0
    ramp = np.where(phase < share, phase / share, 0)
    decay = np.exp(-phase / np.maximum(share * 0.3, 0.005))
    saw = phase
    x = np.where(kind == 0, pulse, np.where(kind == 1, ramp, np.where(kind == 2, decay, saw)))
    x = x * np.take_along_axis(size, run, 1)
    return x + log_uniform(rng, 0.001, 0.3, (count, 1)) * autoregressive(
        rng, count, length, log_uniform(rng, 0.1, 30, count)
    )


def schedules(rng, count, length):
    """Several jobs on one host: pulses of a few samples at whole periods, up or down, nearly alike, on a quiet floor."""
    x = 0.3 * smooth_cycle(rng, count, length, log_uniform(rng, 60, 600, count)) * some(rng, count, 0.3)
    at = np.arange(length)[None, :]
    for share in (1.0, 0.6, 0.3):
        period = np.maximum(2, np.round(periods(rng, 4, 240, count)))[:, None]
        late = np.round(rng.normal(0, 0.7, (count, 1)) * some(rng, count, 0.15) * rng.standard_normal(x.shape))
        offset = at + np.floor(rng.uniform(0, period))
        run = np.floor(offset / period).astype(int)
        phase = offset - run * period
        width = np.maximum(1, np.round(period * log_uniform(rng, 0.005, 0.4, (count, 1))))
        rough = log_uniform(rng, 0.003, 0.5, (count, 1))
        each = np.exp(rough * rng.standard_normal((count, int(run.max()) + 1)))
        left_out = rng.random(each.shape) < 0.04 * some(rng, count, 0.3)
        size = np.take_along_axis(each * ~left_out, run, 1)
        inside = phase + late < width
        profile = np.where(some(rng, count, 0.4), 1 - phase / width * rng.uniform(0, 1, (count, 1)), 1)
        height = np.exp(0.7 * rng.standard_normal((count, 1))) * np.where(some(rng, count, 0.25), -1, 1)
        x += some(rng, count, share) * height * size * profile * inside
    noise = log_uniform(rng, 0.001, 0.25, (count, 1))
    return x + noise * autoregressive(rng, count, length, log_uniform(rng, 0.1, 20, count))


def alternating(rng, count, length):
    """On and off: compressors, batches, elections. Two or three levels held for times that are alike or not at all."""
    steps = np.zeros((count, length))
    mean = log_uniform(rng, 1.5, 60, (count, 2))
    shape = log_uniform(rng, 0.7, 200, (count, 1))
    at = rng.uniform(0, mean.sum(1))
    turn = rng.integers(0, 2, count)
    rows = np.arange(count)
    while (alive := at < length).any():
        steps[rows[alive], at[alive].astype(int)] += 1
        at = at + np.maximum(1, rng.gamma(shape[:, 0], mean[rows, turn] / shape[:, 0]))
        turn = 1 - turn
    visit = np.cumsum(steps, 1).astype(int)
    drawn = rng.standard_normal((count, int(visit.max()) + 1))
    on = visit % 2
    level = on * 2.0 + on * log_uniform(rng, 0.005, 0.8, (count, 1)) * np.take_along_axis(drawn, visit, 1)
    third = some(rng, count, 0.3) * (np.take_along_axis(rng.random(drawn.shape), visit, 1) < 0.25) * on
    x = level * (1 - 0.5 * third)
    drift = 0.5 * autoregressive(rng, count, length, log_uniform(rng, 30, 600, count)) * some(rng, count, 0.5)
    x = x + drift * np.where(some(rng, count, 0.5), 1 - on, 1)
    inside = np.clip(1 + 0.5 * autoregressive(rng, count, length, log_uniform(rng, 1, 20, count)), 0.1, 3)
    x = np.where(some(rng, count, 0.3), x * inside, x)
    noise = log_uniform(rng, 0.002, 0.3, (count, 1))
    return x + noise * autoregressive(rng, count, length, log_uniform(rng, 0.1, 10, count))


def quiet_and_busy(rng, count, length):
    """Requests to a service that is hardly used: mostly nothing, single events, spells of work, rarely a large one."""
    busy = levels(rng, count, length, 0.002, 0.02) > rng.uniform(0, 1.5, (count, 1))
    rate = log_uniform(rng, 0.01, 0.3, (count, 1)) + busy * log_uniform(rng, 0.3, 8, (count, 1))
    slow = np.exp(0.5 * autoregressive(rng, count, length, log_uniform(rng, 3, 100, count)))
    x = rng.poisson(rate * slow) * np.where(some(rng, count, 0.5), rng.gamma(2, 0.5, (count, length)), 1)
    hit = rng.random((count, length)) < log_uniform(rng, 0.0005, 0.01, (count, 1))
    storm = np.zeros_like(x)
    height = hit * np.minimum(rng.pareto(1.0, (count, length)) * 5, 200) * some(rng, count, 0.7)
    fades = rng.uniform(0, 0.9, (count, 1))
    for after in range(8):
        storm[:, after:] += height[:, : length - after] * fades**after
    return x + (storm if rng.random() < 0.5 else np.round(storm))


def plateaus(rng, count, length):
    """Replicas, configuration values, versions: whole numbers that change now and then."""
    x = levels(rng, count, length, 0.001, 0.03)
    whole = np.round(x * log_uniform(rng, 1, 20, (count, 1)))
    return np.where(some(rng, count, 0.6), whole, x)


def leaks(rng, count, length):
    """Heap and disk: growth with resets, more or less bent, with noise on it."""
    period = log_uniform(rng, 20, 800, (count, 1))
    u = (np.arange(length)[None, :] / period + rng.uniform(0, 1, (count, 1))) % 1
    x = 3 * u ** rng.uniform(0.5, 1.8, (count, 1))
    x = x + 0.2 * autoregressive(rng, count, length, log_uniform(rng, 0.2, 50, count))
    return x + 0.4 * wandering(rng, count, length) * some(rng, count, 0.5)


def nearly_constant(rng, count, length):
    """One value, and rarely something else: a bump, another level, a short burst of a few whole numbers."""
    rate = log_uniform(rng, 0.001, 0.05, (count, 1))
    hit = rng.random((count, length)) < rate
    held = hit.copy()
    for shift in range(1, 6):
        held[:, shift:] |= hit[:, :-shift] & (rng.random((count, length - shift)) < 0.6)
    size = np.round(1 + rng.exponential(1.5, (count, length)))
    bump = np.where(np.where(some(rng, count, 0.5), hit, held), size, 0)
    base = rng.integers(0, 6, (count, 1)) + 0.0
    noise = some(rng, count, 0.3) * log_uniform(rng, 1e-4, 0.05, (count, 1)) * rng.standard_normal((count, length))
    sign = np.where(some(rng, count, 0.25), -1, 1)
    step = levels(rng, count, length, 0.0005, 0.004) * some(rng, count, 0.2)
    return base + sign * bump + noise + np.round(2 * step)


def small_whole(rng, count, length):
    """Queue lengths, connections, threads: a slowly moving whole number with few different values."""
    s = autoregressive(rng, count, length, log_uniform(rng, 0.5, 200, count))
    s = s + smooth_cycle(rng, count, length, log_uniform(rng, 20, 500, count)) * some(rng, count, 0.4)
    return np.round(s * log_uniform(rng, 0.3, 6, (count, 1)) + rng.uniform(0, 5, (count, 1))).clip(0)


FAMILIES = [
    (seasonal, 5.5),
    (daily_coarse, 2.5),
    (counts, 2.5),
    (counter_rate, 1.5),
    (wandering, 2.5),
    (latency, 2.0),
    (saturated, 1.2),
    (jobs, 1.5),
    (schedules, 2.5),
    (quiet_and_busy, 1.2),
    (alternating, 1.8),
    (plateaus, 0.8),
    (leaks, 1.0),
    (nearly_constant, 1.2),
    (small_whole, 1.2),
]
SHARES = np.array([share for _, share in FAMILIES]) / sum(share for _, share in FAMILIES)


def windows(rng, count, length=LENGTH):
    parts = []
    for (family, _), rows in zip(FAMILIES, rng.multinomial(count, SHARES)):
        if rows > 0:
            parts.append(family(rng, rows, length))
    x = np.concatenate(parts)[rng.permutation(count)]
    weight = rng.uniform(0.15, 0.85, (count, 1))
    mixed = weight * standard(x) + (1 - weight) * standard(x[rng.permutation(count)])
    x = np.where(some(rng, count, 0.2), mixed, x)
    spread = x.std(1, keepdims=True) + TINY
    x = x + some(rng, count, 0.15) * log_uniform(rng, 0.003, 0.3, (count, 1)) * spread * rng.standard_normal(x.shape)
    x = outliers(rng, x, spread)
    x = held(rng, x)
    step = spread * log_uniform(rng, 0.03, 0.6, (count, 1))
    x = np.where(some(rng, count, 0.12), np.round(x / step) * step, x)
    x = np.where(some(rng, count, 0.1), -x, x)
    x = np.where(some(rng, count, 0.1), x[:, ::-1], x)
    return np.ascontiguousarray(x, np.float32)


def outliers(rng, x, spread):
    """What the model must learn not to repeat: single spikes and short bursts, also in the context."""
    count, length = x.shape
    hit = (rng.random(x.shape) < 0.004) & some(rng, count, 0.2)
    x[hit] += (3 * np.broadcast_to(spread, x.shape)[hit]) * rng.standard_t(2, int(hit.sum())).clip(-20, 20)
    start = rng.integers(0, length, (count, 1))
    width = rng.integers(2, 30, (count, 1))
    at = np.arange(length)[None, :]
    burst = (at >= start) & (at < start + width) & some(rng, count, 0.08)
    return x + burst * rng.normal(0, 4, (count, 1)) * spread


def held(rng, x):
    """Scraped more often than it changes: each value is seen several times."""
    count, length = x.shape
    times = np.where(some(rng, count, 0.12), rng.integers(2, 13, (count, 1)), 1)
    at = np.arange(length)[None, :]
    return np.take_along_axis(x, at - (at + rng.integers(0, 12, (count, 1))) % times * (at >= 12), 1)


def masks(rng, count, length=CONTEXT):
    """1: observed. Short histories, lost scrapes, an outage, every other scrape missing."""
    at = np.arange(length)[None, :]
    m = np.ones((count, length), bool)
    m &= ~((at < rng.integers(0, 449, (count, 1))) & some(rng, count, 0.3))
    m &= ~((rng.random((count, length)) < rng.uniform(0, 0.3, (count, 1))) & some(rng, count, 0.15))
    start = rng.integers(0, length - 64, (count, 1))
    m &= ~((at >= start) & (at < start + rng.integers(4, 64, (count, 1))) & some(rng, count, 0.1))
    m &= ~((at % rng.integers(2, 5, (count, 1)) != 0) & some(rng, count, 0.05))
    return m.astype(np.float32)


if __name__ == "__main__":
    import time

    generator = np.random.default_rng(0)
    began = time.process_time()
    for _ in range(8):
        batch = windows(generator, 256)
        assert np.isfinite(batch).all()
    print(f"{8 * 256 / (time.process_time() - began):.0f} windows per CPU-second, shape {batch.shape}")
