"""What a dust curve is, and how much light a column of that dust lets through."""

import math
from abc import abstractmethod
from typing import final

import equinox as eqx
import jax.numpy as jnp

from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import parameter
from scarlet_sed.ranges import check_range
from scarlet_sed.typing import Array

V_BAND = 5500.0
"""Wavelength in Angstrom at which curves are one."""

NATURAL_PER_MAGNITUDE = 0.4 * math.log(10.0)


class Curve(eqx.Module):
    """The shape of attenuation with wavelength, k = A_lambda / A_V.

    To add one, write a final class with slots made by `parameter(...)`, check their ranges with `check_range`, and
    write `__call__`: positive, finite and differentiable at every wavelength from 500 Angstrom to 30 micron, also
    where the published law ends (say in the docstring how it goes on), and one at 5500 Angstrom to a percent. Then
    add a line to `CURVES` in tests/registry.py. Priors are resolved before a curve is evaluated.
    """

    @abstractmethod
    def __call__(self, wavelength: Array) -> Array:
        """k at rest-frame wavelengths in Angstrom: any shape in, the same shape out."""


@final
class Attenuation(eqx.Module):
    """Dust in front of the stars: a curve, its depth in V, and how much deeper the youngest stars lie.

    Light of stars younger than 10 Myr and of the gas around them passes A_V(young) = birth_cloud * A_V in all, with
    the same curve. With `CharlotFall` this is the model of Charlot & Fall 2000, ApJ 539, 718, whose mu is
    1 / birth_cloud; the 0.44 of Calzetti et al. 2000 between stars and gas is birth_cloud = 2.27.

    Args:
        curve: the shape with wavelength.
        av: A_V of the old stars in mag, zero or more.
        birth_cloud: A_V of the young stars over that of the old ones, zero or more.

    Raises:
        ParameterError: if the curve is not a `Curve`.
        DomainError: if `av` or `birth_cloud`, or the support of its prior, reaches below zero.
    """

    curve: Curve
    av: Array = parameter(unit="mag", doc="attenuation of the old stars in the V band", shape=())
    birth_cloud: Array = parameter(doc="attenuation of young stars over that of old ones", shape=(), default=1.0)

    def __check_init__(self) -> None:
        if not isinstance(self.curve, Curve):
            raise ParameterError(
                f"the curve of an Attenuation is {self.curve!r}", fix="give an instance of a curve, such as Calzetti()"
            )
        check_range(self.av, "Attenuation", "av", 0.0)
        check_range(self.birth_cloud, "Attenuation", "birth_cloud", 0.0)

    def log_transmission(self, wavelength: Array) -> tuple[Array, Array]:
        """Natural logarithms of the fractions of the old and of the young light that get through.

        Args:
            wavelength: rest-frame Angstrom, any shape.

        Returns:
            two arrays of that shape, zero or negative: old, young.
        """
        old = -NATURAL_PER_MAGNITUDE * self.av * self.curve(wavelength)
        return old, self.birth_cloud * old


def wavenumber(wavelength: Array) -> Array:
    """Inverse micron of wavelengths in Angstrom."""
    return 1e4 / jnp.asarray(wavelength)
