"""What several spectra share: a checked reference wavelength, an exponential that stays finite."""

import math
from typing import Any

import jax.numpy as jnp

from scarlet_sed.errors import ParameterError
from scarlet_sed.typing import Array


def checked_reference(value: Any) -> float:
    """A reference wavelength in Angstrom.

    Raises:
        ParameterError: if it is not a positive number.
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ParameterError(f"a reference wavelength of {value!r}", fix="give a positive number of Angstrom")
    return float(value)


def bounded_exp(x: Array) -> Array:
    """exp(x), held at a large finite number where it would overflow the type (above 1e34 in float32)."""
    return jnp.exp(jnp.minimum(x, 0.9 * math.log(float(jnp.finfo(x.dtype).max))))
