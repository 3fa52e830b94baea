"""A posterior that trains in seconds: few bands, few spectra, small networks."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.amortized.model import Described, Library, library
from scarlet_sed.amortized.networks import Networks, Sizes
from scarlet_sed.amortized.posterior import AmortizedPosterior, ends_of
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.training import Recipe, begin, usual_of
from scarlet_sed.distributions import LogUniformRedshift

BANDS = ("f090w", "f115w", "f150w", "f200w", "f277w", "f356w", "f444w")
FILTERS = ss.Filters.load(list(BANDS))
REDSHIFT = LogUniformRedshift(0.1, 8.0)
SIZES = Sizes(embedding=(32,), summary=8, layers=2, width=16, knots=4, redshift=(32,), cells=40, finer=2, axes=3)
RECIPE = Recipe(sizes=SIZES, steps=500, batch=32, library=2000, memory=50)


def survey() -> Survey:
    """Errors of a deep field."""
    return Survey.of(FILTERS, 1.0, detecting=BANDS[-3:])


def spectrum() -> ss.StellarPopulation:
    """Stars with dust, four numbers free."""
    return ss.StellarPopulation(
        dist.Uniform(6.0, 12.0),
        dist.TruncatedNormal(-0.4, 0.4, low=-2.2, high=0.5),
        -2.5,
        history=ss.DelayedTau(age_fraction=dist.Beta(1.3, 1.3), log_tau=0.3),
        attenuation=ss.Attenuation(ss.Calzetti(), av=dist.LogNormal(-1.2, 0.9)),
    )


@lru_cache(maxsize=1)
def drawn() -> tuple[Described, Library, Networks]:
    """The spectrum, a library of it, and random networks."""
    described = Described.of(spectrum())
    spectra = library(described, REDSHIFT, FILTERS, RECIPE.library, 1)
    standard, networks = begin(described, survey(), spectra, ends_of(REDSHIFT), RECIPE)
    return standard, spectra, networks


def posterior() -> AmortizedPosterior:
    """One with random networks."""
    described, spectra, networks = drawn()
    usual = usual_of(described, survey(), spectra, networks, RECIPE)
    return AmortizedPosterior(described, networks, FILTERS, REDSHIFT, usual)


def objects(count: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fluxes and errors in nJy, a band missing here and there, and redshifts."""
    rng = np.random.default_rng(5)
    _, spectra, _ = drawn()
    flux = np.asarray(spectra.flux[:count], float)
    flux *= 30 / flux[:, -1:]
    error = np.ones_like(flux)
    seen = flux + rng.normal(size=flux.shape)
    seen[::3, 1] = np.nan
    return seen, error, np.asarray(spectra.redshift[:count], float)


def checkpoint(folder: Path) -> Path:
    """Where a training keeps its state."""
    return folder / "small.checkpoint"
