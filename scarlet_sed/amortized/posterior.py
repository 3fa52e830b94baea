"""Posteriors from networks: draws in microseconds, and how they compare with the exact likelihood."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.context_range import ContextRange
from scarlet_sed.amortized.model import Described
from scarlet_sed.amortized.networks import PARTS, Networks
from scarlet_sed.amortized.one import OneDrawn, OneObject
from scarlet_sed.amortized.survey import FEWEST
from scarlet_sed.errors import DataError, DomainError, FilterError, ParameterError, ShapeError
from scarlet_sed.infer.chunks import CHUNK, by_chunks
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.typing import Array, HostArray

_FAINTEST, _BRIGHTEST = 1e-6, 1e12
"""nJy: squares of signal-to-noise between these stay within single precision."""
_DRAWS = 8192
"""At once."""


class AmortizedDraws(NamedTuple):
    """Draws for many objects.

    Args:
        values: (object, draw, ...) by path, `redshift` among them where it is free.
        numbers: (object, draw, n) as the flow has them.
        log_prob: (object, draw) natural logarithm of the network's density, see `AmortizedPosterior.log_prob`.
        leak: (object,) share of draws whose mass left its prior, and for which others of the object stand in; where it
            is one, none could, and draws are outside.
    """

    values: dict[str, HostArray]
    numbers: HostArray
    log_prob: HostArray
    leak: HostArray

    def quantiles(self, levels: Any = (0.16, 0.5, 0.84)) -> dict[str, HostArray]:
        """(level, object, ...) quantiles of every parameter."""
        return {path: np.quantile(each, levels, axis=1) for path, each in self.values.items()}


class AmortizedPosterior(eqx.Module):
    """The posterior of a spectrum given fluxes, learnt once for all objects of a kind.

    Args (made by `train_amortized` or `load_amortized`):
        described: the spectrum with its priors.
        networks: what was learnt.
        filters: the bands that it takes, in order.
        redshift: the prior of the redshift.
        usual: where the objects of the training lie.
        trained: of `PARTS`, what was trained; the rest is as random as it began, and is not answered.
    """

    described: Described
    networks: Networks
    filters: Filters
    redshift: dist.Distribution
    usual: ContextRange
    trained: tuple[str, ...] = eqx.field(static=True, default=PARTS)

    @property
    def knows_redshift(self) -> bool:
        """Whether it can be asked for redshifts."""
        return self.networks.redshift is not None and "redshift" in self.trained

    def require_numbers(self) -> None:
        """Raise `ParameterError` if only redshifts were trained."""
        if "numbers" not in self.trained:
            raise ParameterError(
                "this posterior was trained for redshifts alone",
                fix='use it with ss.photoz, or train it with `training.parts = ["numbers"]` and --start-from',
            )

    def require_bands(self, known: int, names: Iterable[str]) -> None:
        """Raise `FilterError` if too few of some bands are known to it.

        Args:
            known: how many are.
            names: of the bands.
        """
        if known < FEWEST:
            raise FilterError(
                f"the posterior knows {known} of the bands {', '.join(names)}, not {FEWEST}",
                fix=f"use one for them; this one is for {', '.join(self.filters.names)}",
            )

    @property
    def paths(self) -> tuple[str, ...]:
        """The parameters of the spectrum."""
        return tuple(self.described.model.priors)

    def measured(self, fluxes: Any, errors: Any) -> Measured:
        """Fluxes as networks take them; a band is missing where a flux or its error is not finite.

        Args:
            fluxes, errors: (object, band) nJy, in the order of `filters`. An upper limit is a flux of zero with the
                limit's standard deviation as its error.

        Raises:
            ShapeError: if shapes disagree.
            DataError: for no object, one without any flux, an error that is not positive, or numbers that are no nJy.
        """
        flux, error, present, wrong = self._checked(fluxes, errors)
        if not len(flux):
            raise DataError("there is no object", fix="give the fluxes of one at least")
        for (what, fix), rows in wrong.items():
            if rows.any():
                raise DataError(f"object {int(np.argmax(rows))} {what}", fix=fix)
        return Measured(
            as_float(np.where(present, flux, 0.0)), as_float(np.where(present, error, 1.0)), as_float(present)
        )

    def usable(self, fluxes: Any, errors: Any) -> np.ndarray:
        """(object,) whether `measured` would take them.

        Args:
            fluxes, errors: (object, band) nJy.

        Raises:
            ShapeError: if shapes disagree.
        """
        return ~np.any(list(self._checked(fluxes, errors)[-1].values()), axis=0)

    def _checked(
        self, fluxes: Any, errors: Any
    ) -> tuple[HostArray, HostArray, np.ndarray, dict[tuple[str, str], np.ndarray]]:
        """Fluxes, errors, what is there, and (object,) whether one is wrong by what is wrong and its cure."""
        flux, error = (np.atleast_2d(np.asarray(a, np.float64)) for a in (fluxes, errors))
        bands = len(self.filters)
        if flux.shape != error.shape or flux.ndim != 2 or flux.shape[1] != bands:
            raise ShapeError(
                f"fluxes of shape {flux.shape} with errors of shape {error.shape} for {bands} bands",
                fix=f"give (object, band) arrays with the bands {', '.join(self.filters.names)}; NaN where missing",
            )
        present = np.isfinite(flux) & np.isfinite(error)
        odd = (error < _FAINTEST) | (error > _BRIGHTEST) | (np.abs(flux) > _BRIGHTEST)
        none = "has an error that is not positive", "give NaN where it is missing"
        beyond = f"has an error that is not {_FAINTEST:g} to {_BRIGHTEST:g} nJy, or a flux beyond"
        wrong = {
            none: present & (error <= 0),
            (beyond, "give nJy, and NaN where a band is missing"): present & odd,
            ("has no flux in any band", "leave it out"): ~np.any(present, axis=1, keepdims=True),
        }
        return flux, error, present, {about: np.any(where, axis=1) for about, where in wrong.items()}

    def sample(
        self, fluxes: Any, errors: Any, redshift: Any = None, *, draws: int = 100, seed: int = 0
    ) -> AmortizedDraws:
        """Draw parameters of every object.

        Args:
            fluxes, errors: (object, band) nJy, see `measured`.
            redshift: (object,) or one, where it is known; None to draw it too.
            draws: of each object.
            seed: of everything random.

        Raises:
            ParameterError: if the redshift is not given and the networks know none, they know only redshifts, or for no
                draws.
            DomainError: for a redshift outside of the prior.
            ShapeError, DataError: see `measured`.
        """
        self.require_numbers()
        if draws < 1:
            raise ParameterError(f"draws={draws}", fix="ask for one at least")
        measured = self.measured(fluxes, errors)
        count = measured.flux.shape[0]
        known = self.known_redshifts(redshift, count)
        keys = jax.random.split(jax.random.key(seed), count)
        free = redshift is None

        def rows(flux: Array, sigma: Array, present: Array, z: Array, keys: Array) -> Any:
            return _sampled(self, Measured(flux, sigma, present), z, keys, draws, free)

        columns = (np.asarray(a) for a in (measured.flux, measured.sigma, measured.present))
        values, numbers, log_prob, inside = by_chunks(rows, *columns, known, keys, size=_objects(draws, count))
        share = inside.mean(axis=1)
        order = _stand_ins(inside)
        each = np.arange(count)[:, None]
        return AmortizedDraws(
            {path: v[each, order] for path, v in values.items()}, numbers[each, order], log_prob[each, order], 1 - share
        )

    def log_prob(self, values: dict[str, Any], fluxes: Any, errors: Any, redshift: Any = None) -> HostArray:
        """(object, draw) natural logarithm of the network's density in unconstrained numbers.

        The measure is that of the unconstrained numbers (and of the redshift itself where it is free), the same as of
        `log_target`.

        Args:
            values: (object, draw, ...) by path, with `redshift` where it is free.
            fluxes, errors, redshift: as for `sample`.
        """
        self.require_numbers()
        measured = self.measured(fluxes, errors)
        known = self.known_redshifts(redshift, measured.flux.shape[0])
        free = redshift is None
        names = sorted(set(self.paths) | ({"redshift"} if free else set()))
        missing = [name for name in names if name not in values]
        if missing:
            raise ParameterError(f"the values lack {missing[0]!r}", fix=f"give {', '.join(names)}")

        def rows(flux: Array, sigma: Array, present: Array, z: Array, *own: Array) -> Array:
            return _log_prob(self, Measured(flux, sigma, present), z, dict(zip(names, own, strict=True)), free)

        columns = (np.asarray(a) for a in (measured.flux, measured.sigma, measured.present))
        own = [np.asarray(values[name], np.float64) for name in names]
        found: HostArray = by_chunks(
            rows, *columns, known, *own, size=_objects(own[0].shape[1], measured.flux.shape[0])
        )
        return found

    def log_target(self, values: dict[str, Any], fluxes: Any, errors: Any, redshift: Any = None) -> HostArray:
        """(object, draw) exact log-posterior up to a constant of each object, in unconstrained numbers.

        Args:
            values, fluxes, errors, redshift: as for `log_prob`.
        """
        return self.exact(values, fluxes, errors, redshift)[1]

    def exact(
        self, values: dict[str, Any], fluxes: Any, errors: Any, redshift: Any = None
    ) -> tuple[HostArray, HostArray]:
        """(object, draw) chi-square of the fluxes, and the exact log-posterior as of `log_target`.

        The likelihood is normal in the fluxes that are there; the spectrum is evaluated for every draw (some 50
        microseconds each), not the network.

        Args:
            values, fluxes, errors, redshift: as for `log_prob`.
        """
        measured = self.measured(fluxes, errors)
        count = measured.flux.shape[0]
        free = redshift is None
        paths = self.paths
        draws = np.shape(values[paths[0]])[1]
        z = (
            np.asarray(values["redshift"])
            if free
            else np.repeat(self.known_redshifts(redshift, count)[:, None], draws, axis=1)
        )

        def rows(flux: Array, sigma: Array, present: Array, z: Array, *own: Array) -> tuple[Array, Array]:
            return _exact(self, Measured(flux, sigma, present), z, dict(zip(paths, own, strict=True)), free)

        def flat(a: Any) -> HostArray:
            whole: HostArray = np.asarray(a, np.float64)
            return whole.reshape(count * draws, *whole.shape[2:])

        rest = (np.repeat(np.asarray(a), draws, axis=0) for a in (measured.flux, measured.sigma, measured.present))
        chi2, target = by_chunks(rows, *rest, flat(z), *(flat(values[path]) for path in paths))
        return chi2.reshape(count, draws), target.reshape(count, draws)

    def log_weights(self, found: AmortizedDraws, fluxes: Any, errors: Any, redshift: Any = None) -> HostArray:
        """(object, draw) logarithms of importance weights against the exact posterior; an object's largest is zero."""
        return log_weights_of(self.log_target(found.values, fluxes, errors, redshift), found.log_prob)

    def known_redshifts(self, redshift: Any, count: int) -> HostArray:
        """(object,) redshifts as given, checked; ones where they are free."""
        if redshift is None:
            if not self.knows_redshift:
                raise ParameterError("this posterior knows no redshifts", fix="give redshift=")
            return np.ones(count)
        given = np.asarray(redshift, np.float64)
        if given.shape not in ((), (count,)):
            raise ShapeError(
                f"redshift has the shape {given.shape}", fix=f"give one, or one for each of {count} objects"
            )
        low, high = ends_of(self.redshift)
        outside = ~((given >= low) & (given <= high))
        if outside.any():
            raise DomainError(
                f"the redshift {np.atleast_1d(given)[np.atleast_1d(outside)][0]:g} is not one of {low:g} to {high:g}",
                fix="leave the object out, or train a posterior for its redshift",
            )
        return np.array(np.broadcast_to(given, (count,)))


def bounds_of(prior: dist.Distribution) -> tuple[float, float]:
    """The lower and the upper bound of a prior's support; NaN for one that there is not."""
    low, high = (float(np.asarray(getattr(prior.support, n, np.nan))) for n in ("lower_bound", "upper_bound"))
    return low, high


def ends_of(redshift: dist.Distribution) -> tuple[float, float]:
    """The lowest and the highest redshift of a prior.

    Raises:
        ParameterError: if it is not bounded.
    """
    low, high = bounds_of(redshift)
    if not low < high:
        raise ParameterError("the prior of the redshift is not bounded", fix="give one such as Uniform(0.02, 12.0)")
    return low, high


def log_weights_of(log_target: HostArray, log_prob: HostArray) -> HostArray:
    """(object, draw) logarithms of importance weights from two densities; an object's largest is zero."""
    raw = log_target - log_prob
    raw = np.where(np.isfinite(raw), raw, -np.inf)
    top = raw.max(axis=1, keepdims=True)
    found: HostArray = raw - np.where(np.isfinite(top), top, 0.0)
    return found


def effective(log_weights: HostArray, leak: Any = 0.0) -> HostArray:
    """(object,) effective draws of (object, draw) log-weights (Kish 1965); zero where there is no weight at all.

    Args:
        log_weights: of all draws.
        leak: (object,) share of them that stand in for others, see `AmortizedDraws`, and tell nothing more.
    """
    top = log_weights.max(axis=1, keepdims=True)
    weight = np.exp(log_weights - np.where(np.isfinite(top), top, 0.0), dtype=np.float64)
    found: HostArray = (1 - leak) * weight.sum(axis=1) ** 2 / np.maximum((weight**2).sum(axis=1), 1e-300)
    return found


def _objects(draws: int, count: int) -> int:
    """How many objects are worked on at once: their draws stay in the processor's cache."""
    return max(1, min(_DRAWS // draws, count, CHUNK))


def _stand_ins(inside: HostArray) -> np.ndarray:
    """(object, draw) places: its own for a draw that is inside, that of one inside for another, in turn."""
    count, draws = inside.shape
    order = np.tile(np.arange(draws), (count, 1))
    for row in np.flatnonzero(~inside.all(axis=1) & inside.any(axis=1)):
        good, bad = np.flatnonzero(inside[row]), np.flatnonzero(~inside[row])
        order[row, bad] = np.resize(good, bad.size)
    return order


@eqx.filter_jit
def _sampled(
    posterior: AmortizedPosterior, measured: Measured, redshift: Array, keys: Array, draws: int, free: bool
) -> tuple[dict[str, Array], Array, Array, Array]:
    def each(measured: Measured, redshift: Array, key: Array) -> OneDrawn:
        return OneObject.of(posterior, measured, redshift, free).drawn(key, draws)

    found = jax.vmap(each)(measured, redshift, keys)
    return found.values, found.numbers, found.log_prob, found.inside


@eqx.filter_jit
def _log_prob(
    posterior: AmortizedPosterior, measured: Measured, redshift: Array, values: dict[str, Array], free: bool
) -> Array:
    def each(measured: Measured, z: Array, values: dict[str, Array]) -> Array:
        return jax.vmap(OneObject.of(posterior, measured, z, free).log_prob)(values)

    return jax.vmap(each)(measured, redshift, values)


@eqx.filter_jit
def _exact(
    posterior: AmortizedPosterior, measured: Measured, redshift: Array, values: dict[str, Array], free: bool
) -> tuple[Array, Array]:
    def each(measured: Measured, redshift: Array, values: dict[str, Array]) -> tuple[Array, Array]:
        chi2 = _chi2(posterior, measured, redshift, values)
        return chi2, -0.5 * chi2 + _log_prior(posterior, redshift, values, free)

    return jax.vmap(each)(measured, redshift, values)


def target_of(
    posterior: AmortizedPosterior, measured: Measured, redshift: Array, values: dict[str, Array], free: bool
) -> Array:
    """The exact log-posterior of one object in unconstrained numbers, up to a constant. Traced.

    Args:
        posterior: whose spectrum and priors.
        measured: fluxes.
        redshift: where the object is.
        values: by path.
        free: whether the redshift has its prior.
    """
    return -0.5 * _chi2(posterior, measured, redshift, values) + _log_prior(posterior, redshift, values, free)


def _chi2(posterior: AmortizedPosterior, measured: Measured, redshift: Array, values: dict[str, Array]) -> Array:
    flux = posterior.described.model.fluxes(values, redshift, posterior.filters)
    return jnp.sum((measured.present * (flux - measured.flux) / measured.sigma) ** 2)


def _log_prior(posterior: AmortizedPosterior, redshift: Array, values: dict[str, Array], free: bool) -> Array:
    found = posterior.described.log_prior(values)
    if not free:
        return found
    # outside of their support, NumPyro's densities go on
    prior = posterior.redshift
    return jnp.where(prior.support(redshift), found + prior.log_prob(redshift), -jnp.inf)
