"""Random populations for training, with more of them where networks find it hard."""

from typing import NamedTuple

import numpy as np

from scarlet_sed.sps.emulator.neural import TAU
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.typing import HostArray

AGE = (1e-3, 14.0)
"""Gyr, the ages of the emulator's domain."""


class Draws(NamedTuple):
    """Populations, one per row.

    Args:
        first, second: (n,) Gyr: onset and tau, or the ages at which a constant rate began and stopped.
        log_metallicity: (n,) log10 Z/Zsun.
        log_ionization: (n,) log10 U.
    """

    first: HostArray
    second: HostArray
    log_metallicity: HostArray
    log_ionization: HostArray


def delayed(
    rng: np.random.Generator, count: int, ranges: tuple[tuple[float, float], tuple[float, float]], *, young: bool
) -> Draws:
    """Delayed exponentials: log-uniform in both times, with shares of old ages, short tau and recent onsets.

    Args:
        rng: random numbers.
        count: how many.
        ranges: of log metallicity and log ionisation.
        young: for networks of young stars, so that onsets reach below 10 Myr; else onsets exceed 10 Myr.
    """
    low = AGE[0] if young else YOUNG * 1.0005
    onset = _log_uniform(rng, low, AGE[1], count)
    tau = _log_uniform(rng, *TAU, count)
    kind = rng.random(count)
    late = kind < 0.3
    onset[late] = rng.uniform(0.3, AGE[1], late.sum())
    if young:
        recent = kind > 0.6
        onset[recent] = _log_uniform(rng, low, 0.05, recent.sum())
    else:
        short = (kind < 0.15) | ((kind > 0.3) & (kind < 0.45))
        tau[short] = _log_uniform(rng, TAU[0], 1.0, short.sum())
        recent = kind > 0.85
        onset[recent] = YOUNG + _log_uniform(rng, 1e-5, 0.03, recent.sum())
    return Draws(onset, tau, *_gas(rng, count, ranges))


def constant(
    rng: np.random.Generator, count: int, ranges: tuple[tuple[float, float], tuple[float, float]], *, young: bool
) -> Draws:
    """Constant rates between two ages on one side of 10 Myr; a fifth of the young ones fill their 10 Myr."""
    if young:
        began = _log_uniform(rng, AGE[0], YOUNG, count)
        stopped: HostArray = began * rng.random(count) * (rng.random(count) < 0.6)
        whole = rng.random(count) < 0.35
        began[whole], stopped[whole] = YOUNG, 0.0
        began = np.minimum(np.maximum(began, stopped + 5e-4), YOUNG)
        stopped = np.minimum(stopped, began - 4e-4)
    else:
        stopped = _log_uniform(rng, YOUNG, AGE[1] * 0.98, count)
        at_split = rng.random(count) < 0.15
        stopped[at_split] = YOUNG
        began = stopped + np.maximum(stopped * _log_uniform(rng, 1e-3, 3.0, count), 1e-3)
        wide = rng.random(count) < 0.1
        began[wide] = stopped[wide] + rng.random(wide.sum()) * (AGE[1] - stopped[wide])
        began = np.minimum(np.maximum(began, stopped + 1e-3), AGE[1])
    return Draws(began, stopped, *_gas(rng, count, ranges))


def of_part(
    part: str, rng: np.random.Generator, count: int, ranges: tuple[tuple[float, float], tuple[float, float]]
) -> tuple[HostArray, Draws]:
    """(n,) kind (0 for a delayed exponential, 1 for a constant rate), and the populations of a part's network."""
    if part in ("delayed", "constant"):
        family = delayed if part == "delayed" else constant
        return np.zeros(count, np.float32), _float32(family(rng, count, ranges, young=False))
    kind = (rng.random(count) < 0.4).astype(np.float32)
    both = [f(rng, count, ranges, young=True) for f in (delayed, constant)]
    return kind, _float32(Draws(*(np.where(kind == 0, a, b) for a, b in zip(*both, strict=True))))


def _float32(draws: Draws) -> Draws:
    return Draws(*(a.astype(np.float32) for a in draws))


def _gas(
    rng: np.random.Generator, count: int, ranges: tuple[tuple[float, float], tuple[float, float]]
) -> tuple[HostArray, HostArray]:
    metallicity, ionization = (rng.uniform(*r, count) for r in ranges)
    # the ends are part of the domain: a fiftieth of the draws sits on them
    for values, ends in ((metallicity, ranges[0]), (ionization, ranges[1])):
        at_end = rng.random(count)
        values[at_end < 0.01], values[at_end > 0.99] = ends
    return metallicity, ionization


def _log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> HostArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))
