"""Checks that morphologies make when they are built: concrete values only, traced ones pass."""

import numpy as np

from scarlet_sed.errors import DomainError
from scarlet_sed.ranges import concrete
from scarlet_sed.typing import HostArray


def on_host(leaf: object, owner: str) -> HostArray:
    """The present value of a slot in float64, for sums done before anything is traced.

    Raises:
        DomainError: if the value is traced or tied.
    """
    value = concrete(leaf)
    if value is None:
        raise DomainError(
            f"the size of a {owner} was asked for while a value of it is traced or tied",
            fix="resolve the ties first, and ask for sizes outside of jit",
        )
    return value


def check_positive(leaf: object, owner: str, name: str) -> None:
    """Raise `DomainError` unless a slot is positive everywhere."""
    value = concrete(leaf)
    if value is not None and not np.all(value > 0):
        raise DomainError(f"{owner}: {name} = {value!s} is not positive", fix=f"give a positive {name}")


def check_ellipticity(leaf: object, owner: str) -> None:
    """Raise `DomainError` unless an ellipticity (e1, e2) lies inside the unit circle."""
    value = concrete(leaf)
    if value is None:
        return
    if value.shape[-1:] != (2,):
        raise DomainError(
            f"{owner}: ellipticity has shape {value.shape}, not (2,)",
            fix="give (e1, e2), for example from scarlet_sed.ellipticity(axis_ratio, angle)",
        )
    if not np.all(np.sum(np.square(value), axis=-1) < 1.0):
        raise DomainError(
            f"{owner}: ellipticity {value!s} is not inside the unit circle",
            fix="give (e1, e2) with e1^2 + e2^2 < 1, for example from scarlet_sed.ellipticity(axis_ratio, angle)",
        )
