"""The numbers of a spectrum as networks describe them: a mass against the light, and standard normal ones."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.normal import PriorMap
from scarlet_sed.errors import DomainError, ParameterError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.starting_points import FluxModel
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.photometry.cosmology import Cosmology
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array, HostArray

_DRAWS = 100_000
"""From which quantiles of priors are taken."""
_FAR = 30.0
"""A draw that in single precision lies on an end of its support has no finite number; it gets this one. Any nearer, and
many draws would share it: a flow would heap ever more density upon that place."""


class Described(eqx.Module):
    """A spectrum with free amplitude, in the numbers that networks describe.

    The first is the logarithm of the mass (or of what else multiplies the light) against that of the observed light,

        log10 mass + log10 dimming(z) - log10 reference,

    which does not change when an object is as much brighter as it has more mass; the others are standard normal under
    the prior (see `PriorMap`).

    Args:
        model: the spectrum and its priors.
        prior: of all numbers but the amplitude.
        ratio: (2,) mean and standard deviation of the first number.
        amplitude: place of the amplitude among the unconstrained numbers.
        path: of the amplitude.
        ends: (2,) the range of the amplitude.
    """

    model: FluxModel
    prior: PriorMap
    ratio: Array
    ends: Array
    amplitude: int = eqx.field(static=True)
    path: str = eqx.field(static=True)

    @staticmethod
    def of(spectrum: Spectrum, prior: PriorMap | None = None) -> "Described":
        """A spectrum whose amplitude has a uniform prior; the ratio is standardised later.

        Args:
            spectrum: with priors.
            prior: the map of its other numbers; None to make it from draws.

        Raises:
            ParameterError: if the spectrum has no free amplitude with a uniform prior.
        """
        model = FluxModel.of(spectrum, None)
        path = spectrum.log_amplitude
        if path is None or not isinstance(model.priors.get(path), dist.Uniform):
            raise ParameterError(
                f"a network needs a {type(spectrum).__name__} whose logarithm of mass has a uniform prior",
                fix="give log_mass=dist.Uniform(5.0, 12.5)",
            )
        place = int(sum(size for name, size in list(model.sizes.items())[: list(model.sizes).index(path)]))
        if prior is None:
            numbers = _unconstrained(model, jax.random.split(jax.random.key(0), _DRAWS))
            prior = PriorMap.of(np.delete(numbers, place, axis=1))
        mass = model.priors[path]
        ends = as_float([float(mass.low), float(mass.high)])
        return Described(model, prior, as_float([0.0, 1.0]), ends, place, path)

    @property
    def numbers(self) -> int:
        """How many there are."""
        return int(self.prior.knots.shape[0]) + 1

    def values(self, numbers: Array, measured: Measured, redshift: Array) -> tuple[dict[str, Array], Array]:
        """Parameters by path, and the logarithm of the volume of unconstrained ones in that of the numbers.

        The amplitude counts as it is: it is not unconstrained.

        Args:
            numbers: (n,) as the flow has them.
            measured: the fluxes.
            redshift: the object's.
        """
        mass = numbers[0] * self.ratio[1] + self.ratio[0] + self._light(measured, redshift)
        return self.with_mass(numbers[1:], mass), self._volume(numbers[1:])

    def with_mass(self, normal: Array, mass: Array) -> dict[str, Array]:
        """Parameters by path, from normal numbers and the amplitude."""
        others, _ = self.prior.unconstrained(normal)
        whole = jnp.insert(others, self.amplitude, 0.0)
        return {**self.model.values(whole), self.path: mass}

    def described(self, normal: Array, mass: Array, measured: Measured, redshift: Array) -> Array:
        """(n,) numbers as the flow has them, of normal ones and the amplitude."""
        first = (mass - self._light(measured, redshift) - self.ratio[0]) / self.ratio[1]
        return jnp.concatenate([first[None], normal])

    def numbers_of(self, values: dict[str, Array], measured: Measured, redshift: Array) -> tuple[Array, Array]:
        """(n,) numbers as the flow has them, and the same volume."""
        normal = self.prior.normal(jnp.delete(self.model.numbers(values), self.amplitude))
        return self.described(normal, values[self.path], measured, redshift), self._volume(normal)

    def log_prior(self, values: dict[str, Array]) -> Array:
        """Natural logarithm of the prior density in unconstrained numbers; the amplitude counts as it is."""
        found = jnp.where(self.inside(values), 0.0, -jnp.inf) + self.log_jacobian(values)
        for path, prior in self.model.priors.items():
            if path != self.path:
                found += jnp.sum(prior.log_prob(values[path]))
        return found

    def log_jacobian(self, values: dict[str, Array]) -> Array:
        """Logarithm of the volume of parameters in that of unconstrained numbers; the amplitude counts as it is."""
        found = jnp.zeros(())
        for path, prior in self.model.priors.items():
            if path != self.path:
                transform = bijection(prior, self.model.shapes[path])
                found += jnp.sum(transform.log_abs_det_jacobian(transform.inv(values[path]), values[path]))
        return found

    def inside(self, values: dict[str, Array]) -> Array:
        """Whether the amplitude lies where its prior does; all others do by construction."""
        mass = values[self.path]
        return (mass >= self.ends[0]) & (mass <= self.ends[1])

    def _volume(self, normal: Array) -> Array:
        _, slopes = self.prior.unconstrained(normal)
        return jnp.sum(slopes) + jnp.log(self.ratio[1])

    def _light(self, measured: Measured, redshift: Array) -> Array:
        """log10 of the reference flux against the dimming."""
        cosmology = getattr(self.model.spectrum, "cosmology", None) or Cosmology()
        return jnp.log10(measured.reference) - jnp.log10(cosmology.dimming(redshift)) - _UNIT


_UNIT = 17.0
"""Keeps ratios near zero: log10 of 10^9 solar masses against nJy, roughly."""


class Library(eqx.Module):
    """Spectra drawn from the priors.

    Args:
        normal: (draw, n - 1) numbers.
        redshift: (draw,).
        flux: (draw, band) nJy at the amplitude `AMPLITUDE`.
    """

    normal: Array
    redshift: Array
    flux: Array


AMPLITUDE = 9.0


def library(
    described: Described, redshift: dist.Distribution, filters: Filters, count: int, seed: int, progress: Any = None
) -> Library:
    """Draw spectra and their fluxes.

    Args:
        described: the spectrum.
        redshift: prior.
        filters: the bands.
        count: how many.
        seed: of everything random.
        progress: called with the rows done and their number.

    Raises:
        DomainError: if a spectrum is not finite.
    """

    def rows(keys: Array) -> tuple[Array, Array, Array]:
        return _rows(described, redshift, filters, keys)

    shown = {} if progress is None else {"progress": progress}
    found = by_chunks(rows, jax.random.split(jax.random.key(seed), count), **shown)
    lost = ~np.isfinite(found[2]).all(axis=1)
    if lost.any():
        row = int(np.argmax(lost))
        values = described.with_mass(as_float(found[0][row]), as_float(AMPLITUDE))
        told = ", ".join(f"{path} {np.asarray(value)}" for path, value in values.items())
        raise DomainError(
            f"{lost.sum()} of {count} spectra are not finite, one at redshift {found[1][row]:.3f} with {told}",
            fix="narrow the priors to what the engine knows",
        )
    return Library(*(to_device(each, np.float32) for each in found))


@eqx.filter_jit
def _rows(described: Described, redshift: Any, filters: Filters, keys: Array) -> tuple[Array, Array, Array]:
    def one(key: Array) -> tuple[Array, Array, Array]:
        own, far = jax.random.split(key)
        z = redshift.sample(far)
        u = jnp.delete(_drawn(described.model, own), described.amplitude, assume_unique_indices=True)
        normal = described.prior.normal(u)
        values = described.with_mass(normal, as_float(AMPLITUDE))
        return normal, z, described.model.fluxes(values, z, filters)

    return jax.vmap(one)(keys)


def _drawn(model: FluxModel, key: Array) -> Array:
    return jnp.clip(model.numbers(model.drawn(key)), -_FAR, _FAR)


def _unconstrained(model: FluxModel, keys: Array) -> HostArray:
    draw = eqx.filter_jit(jax.vmap(partial(_drawn, model)))
    found: HostArray = np.asarray(draw(keys), np.float64)
    return found
