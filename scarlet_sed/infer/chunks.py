"""Rows of a table through a compiled function, so many at a time that they stay in the processor's cache."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from scarlet_sed.parameters import as_float

CHUNK = 64
"""Rows evaluated at once."""


def by_chunks(
    function: Callable[..., Any],
    *columns: Any,
    progress: Callable[[int, int], None] = lambda done, of: None,
    size: int = CHUNK,
) -> Any:
    """What a function makes of all rows, called with `size` of them at a time, so that it is compiled once.

    The last rows are filled up with others, which are cut off again.

    Args:
        function: takes an array of `size` rows of each column, returns a tree of arrays with as many rows.
        *columns: arrays of numbers (NumPy) or of keys (JAX) with equally many rows, at least one.
        progress: called with the rows done and their number.
        size: rows at a time.

    Returns:
        the tree, of NumPy arrays with all rows.
    """
    count = len(columns[0])
    padded = np.resize(np.arange(count), -(-count // size) * size)
    parts = []
    for start in range(0, padded.size, size):
        at = padded[start : start + size]
        parts.append(jax.tree.map(np.asarray, function(*(_given(column[at]) for column in columns))))
        progress(min(start + size, count), count)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _given(rows: Any) -> Any:
    return as_float(rows) if isinstance(rows, np.ndarray) else rows
