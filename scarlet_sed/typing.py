"""Array aliases used in signatures (shapes are given in the docstrings, checked by jaxtyping where it matters)."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Array = jax.Array
"""A traced or concrete JAX array."""

HostArray = NDArray[np.floating[Any]]
"""A numpy array that never enters a traced function."""

ArrayLike = jax.Array | NDArray[Any] | float | int
"""What a user may pass where an array is wanted."""

Values = Mapping[str, Array]
"""Parameter values by path."""
