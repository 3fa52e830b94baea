"""How good a posterior is on objects that it has never seen, by signal-to-noise and missing bands."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from scipy import stats

from scarlet_sed.amortized.derived import derived_of
from scarlet_sed.amortized.model import library
from scarlet_sed.amortized.posterior import AmortizedDraws, AmortizedPosterior
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.training import NOISE, WIDE, observe
from scarlet_sed.parameters import as_float
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import HostArray

SIGNALS = (1.0, 5.0, 10.0, np.inf)
"""Edges of bins of the mean signal-to-noise of what detects."""


class Simulations(NamedTuple):
    """Objects with truths.

    Args:
        fluxes, errors: (object, band) nJy, all bands there.
        values: (object, ...) truths by path, with `redshift`.
        signal: (object,) mean signal-to-noise of what detects.
    """

    fluxes: HostArray
    errors: HostArray
    values: dict[str, HostArray]
    signal: HostArray


class Row(NamedTuple):
    """One quantity of the objects in a bin.

    Args:
        quantity: its name.
        signal: (2,) the bin.
        missing: number of bands taken away.
        objects: their number.
        bias, rms: of posterior medians against truths.
        r2: one less the ratio of their squared errors to the variance of truths.
        within68, within95: share of truths in central intervals.
        width: median half width of the 68 % intervals.
        pit: largest distance of the distribution of truths' places among their draws from the uniform one.
    """

    quantity: str
    signal: tuple[float, float]
    missing: int
    objects: int
    bias: float
    rms: float
    r2: float
    within68: float
    within95: float
    width: float
    pit: float


class Joint(NamedTuple):
    """All numbers of the objects in a bin together (TARP, Lemos et al. 2023, arXiv:2302.03026).

    Args:
        signal, missing, objects: as of `Row`.
        deviation: largest distance of the expected coverage from the nominal one.
        error: its standard deviation, by bootstrap; of so few objects it is never zero.
    """

    signal: tuple[float, float]
    missing: int
    objects: int
    deviation: float
    error: float


class Assessed(NamedTuple):
    """What was found: by quantity, and of all together."""

    rows: list[Row]
    joint: list[Joint]


def simulations(posterior: AmortizedPosterior, survey: Survey, count: int, seed: int) -> Simulations:
    """Draw objects from the priors, as a survey finds them, with all bands there.

    Args:
        posterior: whose priors.
        survey: errors; its missing bands do not count.
        count: how many.
        seed: of everything random; another one than that of the training.
    """
    described = posterior.described
    parts: list[tuple[HostArray, ...]] = []
    kept = 0
    rng = np.random.default_rng(seed)
    look = eqx.filter_jit(observe)
    while kept < count:
        own = 1_000_003 * (seed + 1) + len(parts)
        spectra = library(described, posterior.redshift, posterior.filters, min(2 * count, 20_000), own)
        # of its own: what draws the spectra must not draw their errors too
        objects = look(described, survey, spectra, jax.random.fold_in(jax.random.key(own), NOISE))
        taken = rng.random(len(objects.weight)) < WIDE * np.asarray(objects.weight)
        columns = (
            objects.measured.flux,
            objects.measured.sigma,
            objects.mass,
            objects.normal,
            objects.redshift,
            objects.signal,
        )
        parts.append(tuple(np.asarray(a)[taken] for a in columns))
        kept += int(taken.sum())
    flux, sigma, mass, normal, redshift, signal = (np.concatenate(c)[:count] for c in zip(*parts, strict=True))
    values = jax.vmap(described.with_mass)(as_float(normal), as_float(mass))
    truth = {path: np.asarray(value) for path, value in values.items()}
    return Simulations(flux, sigma, {**truth, "redshift": redshift}, signal)


def quantities(
    posterior: AmortizedPosterior, values: dict[str, HostArray], redshift: HostArray
) -> dict[str, HostArray]:
    """What is judged, (object, draw) each: all parameters, the elements of a vector one by one, ln(1 + z), and of
    populations log10 of the mean age.

    Args:
        posterior: whose spectrum.
        values: (object, draw, ...) by path.
        redshift: (object, draw).
    """
    found: dict[str, HostArray] = {}
    for path in posterior.paths:
        value = np.asarray(values[path])
        if value.shape == redshift.shape:
            found[path] = value
        else:
            each = value.reshape(*redshift.shape, -1)
            found.update({f"{path}[{i}]": each[..., i] for i in range(each.shape[-1])})
    found["ln(1+z)"] = np.log1p(redshift)
    if isinstance(posterior.described.model.spectrum, StellarPopulation):
        ages = derived_of(posterior, {**values, "redshift": redshift}, names=["mean_age"])
        found["log_age"] = np.log10(ages["mean_age"])
    return found


def assess(
    posterior: AmortizedPosterior,
    made: Simulations,
    *,
    missing: Sequence[int] = (0,),
    known: bool = True,
    draws: int = 200,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Assessed:
    """Judge a posterior on simulations.

    Args:
        posterior: to judge.
        made: objects.
        missing: numbers of bands to take away at random, one set of rows each.
        known: whether redshifts are given.
        draws: of each object.
        seed: of everything random.
        progress: called with a line at times.
    """
    rows: list[Row] = []
    joint: list[Joint] = []
    redshift = made.values["redshift"]
    single = {path: np.asarray(v)[:, None] for path, v in made.values.items()}
    truths = quantities(posterior, single, redshift[:, None])
    for count in missing:
        fluxes = without(made.fluxes, count, seed)
        found = posterior.sample(fluxes, made.errors, redshift if known else None, draws=draws, seed=seed)
        at = np.repeat(redshift[:, None], draws, axis=1) if known else found.values["redshift"]
        judged = quantities(posterior, found.values, at)
        progress(f"{count} bands missing, mean leak {found.leak.mean():.4f}")
        for name, each in judged.items():
            if known and name == "ln(1+z)":
                continue
            for low, high in pairwise(SIGNALS):
                own = (made.signal >= low) & (made.signal < high)
                if own.sum() > 1:
                    rows.append(row_of(name, (low, high), count, each[own], truths[name][own, 0]))
        nearer = _nearer(posterior, made, found, known, seed)
        for low, high in pairwise(SIGNALS):
            own = (made.signal >= low) & (made.signal < high)
            if own.sum() > 1:
                joint.append(Joint((low, high), count, int(own.sum()), *_deviation(nearer[own], seed)))
    return Assessed(rows, joint)


def _nearer(
    posterior: AmortizedPosterior, made: Simulations, found: AmortizedDraws, known: bool, seed: int
) -> HostArray:
    """(object,) share of draws that are nearer to a place, drawn without looking at either, than the truth is.

    Distances are those of parameters as they are, each in units of its spread over all truths.
    """
    paths = [*posterior.paths, *(() if known else ("redshift",))]
    count, draws = found.log_prob.shape
    total, there = np.zeros((count, draws)), np.zeros(count)
    rng = np.random.default_rng([seed, 1])
    for path in paths:
        truth = np.asarray(made.values[path], float).reshape(count, -1)
        drawn = np.asarray(found.values[path], float).reshape(count, draws, -1)
        if path == "redshift":
            truth, drawn = np.log1p(truth), np.log1p(drawn)
        scale = np.maximum(truth.std(axis=0), 1e-9)
        place = rng.normal(truth.mean(axis=0), scale, truth.shape)
        total += np.sum(((drawn - place[:, None]) / scale) ** 2, axis=-1)
        there += np.sum(((truth - place) / scale) ** 2, axis=-1)
    nearer: HostArray = np.mean(total < there[:, None], axis=1)
    return nearer


def _deviation(nearer: HostArray, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng([seed, 2])
    again = [_distance(rng.choice(nearer, len(nearer))) for _ in range(100)]
    return _distance(nearer), float(np.std(again))


def _distance(places: HostArray) -> float:
    """Largest distance of an empirical distribution on zero to one from the uniform one."""
    return float(stats.kstest(places, "uniform", method="asymp").statistic)


def without(fluxes: HostArray, count: int, seed: int) -> HostArray:
    """(object, band) fluxes with so many bands of every object taken away at random."""
    order = np.argsort(np.random.default_rng([seed, 3, count]).random(fluxes.shape), axis=1)
    found: HostArray = np.where(order < count, np.nan, fluxes)
    return found


def row_of(name: str, signal: tuple[float, float], missing: int, draws: HostArray, truth: HostArray) -> Row:
    """How (object, draw) draws of a quantity compare with (object,) truths."""
    # of n draws, this one's intervals hold as much of the distribution as they say (Hyndman & Fan 1996, definition 6)
    q = np.quantile(draws, (0.025, 0.16, 0.5, 0.84, 0.975), axis=1, method="weibull")
    off = q[2] - truth
    return Row(
        name,
        signal,
        missing,
        len(truth),
        float(off.mean()),
        float(np.sqrt(np.mean(off**2))),
        float(1 - np.mean(off**2) / np.var(truth)),
        float(np.mean((truth > q[1]) & (truth < q[3]))),
        float(np.mean((truth > q[0]) & (truth < q[4]))),
        float(np.median(0.5 * (q[3] - q[1]))),
        _distance((np.sum(draws < truth[:, None], axis=1) + 0.5) / (draws.shape[1] + 1)),
    )
