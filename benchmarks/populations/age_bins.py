"""A grid whose spectra are constant in bagpipes' bins of age, to compare everything else with bagpipes (test only).

bagpipes averages spectra in bins of 0.1 dex in age, a raw spectrum standing for the ages nearest to it. A pair of nodes
a hair apart at each edge makes interpolation that is linear in age give the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference_parts import age_of_universe

Values = NDArray[np.floating]

HAIR = 1e-5
YOUNG = 0.01
UNIVERSE = age_of_universe(0.0)
"""Gyr, where the last bin ends; the grid goes on to LAST with its spectrum."""
LAST = 20.0
CENTRES = 10 ** (np.arange(6.0, 10.11, 0.1) - 9)
"""Gyr; bagpipes' bins are even in log age up to the age of the universe."""
EDGES = np.r_[0.0, np.sqrt(CENTRES[1:] * CENTRES[:-1]), UNIVERSE]


def bin_weights(age: Values) -> Values:
    """(bin, age) shares of raw spectra in each bin: a raw spectrum holds from halfway to its neighbours (linearly)."""
    owned = np.r_[0.0, 0.5 * (age[1:] + age[:-1]), LAST]
    overlap = np.minimum(EDGES[1:, None], owned[None, 1:]) - np.maximum(EDGES[:-1, None], owned[None, :-1])
    shares = np.maximum(overlap, 0.0)
    return shares / shares.sum(axis=1, keepdims=True)


def binned_content(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a grid with its stars in bins.

    Args:
        content: as `Grid.from_arrays` takes it.
    """
    age = np.asarray(content["age"], np.float64)
    stars = np.einsum("ba,zac->zbc", bin_weights(age), content["stars"].astype(np.float64))
    living = np.stack([np.interp(CENTRES, age, row) for row in content["living_mass"]])
    nodes, index = [0.0], [0]
    for k, edge in enumerate(EDGES[1:-1]):
        if edge > YOUNG and nodes[-1] < YOUNG:
            nodes, index = [*nodes, YOUNG], [*index, k]
        nodes, index = [*nodes, edge * (1 - HAIR), edge * (1 + HAIR)], [*index, k, k + 1]
    nodes, index = [*nodes, LAST], [*index, CENTRES.size - 1]
    return content | {"age": np.array(nodes), "stars": stars[:, index], "living_mass": living[:, index]}
