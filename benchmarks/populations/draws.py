"""Random galaxies for the comparisons: numpy only, so that every environment can read them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]

ACS = ("f435w", "f606w", "f775w", "f814w", "f850lp")
NIRCAM = [
    "090w",
    "115w",
    "150w",
    "182m",
    "200w",
    "210m",
    "277w",
    "335m",
    "356w",
    "410m",
    "430m",
    "444w",
    "460m",
    "480m",
]
BANDS = (*(f"acs_wfc_{name}" for name in ACS), *(f"jwst_f{name}" for name in NIRCAM))

DELAYED, DIRICHLET, CONTINUITY = 0, 1, 2
CALZETTI, SALIM = 0, 1
REDSHIFT = (0.01, 8.0)
LOG_METALLICITY = (-2.3, 0.69)
LOG_IONIZATION = (-4.0, 0.0)
BINS = 7
LOG_MASS = 10.0


class Draws(NamedTuple):
    """Galaxies, one a row; every family's parameters are drawn for every row.

    Args:
        redshift, log_metallicity, log_ionization, av, birth_cloud: (n,) as `StellarPopulation` takes them.
        family: (n,) DELAYED, DIRICHLET or CONTINUITY.
        age_fraction, tau: (n,) of the delayed exponential; Gyr.
        fractions: (n, BINS) of Dirichlet.
        log_ratios: (n, BINS - 1) of Continuity.
        curve: (n,) CALZETTI or SALIM.
        slope, bump: (n,) of Salim.
    """

    redshift: Values
    log_metallicity: Values
    log_ionization: Values
    av: Values
    birth_cloud: Values
    family: NDArray[np.integer]
    age_fraction: Values
    tau: Values
    fractions: Values
    log_ratios: Values
    curve: NDArray[np.integer]
    slope: Values
    bump: Values

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Draws:
        """Some of the galaxies."""
        return Draws(*(column[rows] for column in self))

    def save(self, path: Path) -> None:
        """Write an npz file."""
        np.savez(path, **self._asdict())

    @staticmethod
    def load(path: Path) -> Draws:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return Draws(**{name: file[name] for name in Draws._fields})


def make(count: int, seed: int, *, bagpipes: bool = False) -> Draws:
    """Draws from the priors: redshift even in ln(1 + z), age fraction in its log from 0.003 to 1.

    Args:
        count: how many.
        seed: of the random numbers.
        bagpipes: delayed exponentials and Calzetti's curve only.

    Numbers are rounded to float32, so that every code sees the same ones.
    """
    rng = np.random.default_rng(seed)
    low, high = np.log1p(REDSHIFT)
    family = np.where(rng.random(count) < 0.5, DELAYED, rng.integers(DIRICHLET, CONTINUITY + 1, count))
    curve = rng.integers(CALZETTI, SALIM + 1, count)
    found = Draws(
        redshift=np.expm1(rng.uniform(low, high, count)),
        log_metallicity=rng.uniform(*LOG_METALLICITY, count),
        log_ionization=rng.uniform(*LOG_IONIZATION, count),
        av=rng.uniform(0.0, 4.0, count),
        birth_cloud=rng.uniform(1.0, 3.0, count),
        family=np.full(count, DELAYED) if bagpipes else family,
        age_fraction=10 ** rng.uniform(-2.5, 0.0, count),
        tau=10 ** rng.uniform(-2.0, 2.0, count),
        fractions=rng.dirichlet(np.ones(BINS), count),
        log_ratios=0.3 * rng.standard_t(2, (count, BINS - 1)),
        curve=np.full(count, CALZETTI) if bagpipes else curve,
        slope=rng.uniform(-1.0, 0.4, count),
        bump=rng.uniform(0.0, 4.0, count),
    )
    return Draws(*(c.astype(np.float32).astype(float) if c.dtype.kind == "f" else c for c in found))
