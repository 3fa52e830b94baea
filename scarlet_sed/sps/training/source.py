"""Where training rows come from: what a grid's synthesis and a table of another code's spectra have in common."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.emulator.features import Features
from scarlet_sed.sps.histories.base import History
from scarlet_sed.typing import Array

REDDEST = 6e4
"""Angstrom: where the emulator ends."""

PARTS = ("delayed", "constant", "young", "lines")
"""The networks: old stars of delayed exponentials and of constant rates, young stars with nebulae, lines."""

FAINT_LINE = 1e-5
"""Lines are learnt as ln(L + FAINT_LINE x mean): what is fainter changes no photometry."""

LEAST = 1e-25
"""A population with a smaller fraction of its mass in a part has none of that part."""


class Rows(NamedTuple):
    """Training rows of one part.

    Args:
        features: (n, feature).
        light: (n, cell) ln flux, or (n, line) ln line flux, per solar mass of the part.
        living: (n,) living mass per solar mass of the part.
        weight: (n,) 0 where the population has none of this part, else 1.
        feature_slope: (n, feature) how the features change along one direction of the parameters.
        light_slope: (n, cell) or (n, line) how the light changes along it; both in a unit that makes steep slopes one.
        living_slope: (n,) how the living mass changes along it.
    """

    features: Any
    light: Any
    living: Any
    weight: Any
    feature_slope: Any
    light_slope: Any
    living_slope: Any


class RowSource(eqx.Module):
    """Populations with their spectra, for every part.

    To add one, write a final class with these attributes and `chunks`. Light is in nJy at 10 Mpc (lines: per unit of
    ln(wavelength)) per solar mass formed in the part; features come from `old_features` and `young_features`, so that
    networks see populations as they will when they are used.

    Args:
        features: the axes on which populations are described.
        log_start: index of the first cell.
        cells: how many there are.
        line_names: of the lines that the rows hold.
        line_wavelength: Angstrom.
        domain: where networks trained on the rows are right.
        provenance: JSON text of a mapping, for the weight file's record of training.
        tag: what names of kept rows and checkpoints end in, to tell sources apart.
        has_slopes: whether rows carry slopes; where they do not, slopes are zero, and training leaves them out.
        line_table: lines at the nodes, as `LineTable` has them, where the source knows them there: no network is
            trained for them then. None where it does not.
    """

    features: eqx.AbstractVar[Features]
    log_start: eqx.AbstractVar[int]
    cells: eqx.AbstractVar[int]
    line_names: eqx.AbstractVar[tuple[str, ...]]
    line_wavelength: eqx.AbstractVar[tuple[float, ...]]
    domain: eqx.AbstractVar[Domain]
    provenance: eqx.AbstractVar[str]
    tag: eqx.AbstractVar[str]
    has_slopes: eqx.AbstractVar[bool]
    line_table: eqx.AbstractVar[Array | None]

    @property
    def parts(self) -> tuple[str, ...]:
        """Those of `PARTS` that networks are trained for."""
        return PARTS if self.line_table is None else PARTS[:-1]

    @abstractmethod
    def chunks(self, part: str, rng: np.random.Generator, count: int, size: int = 4096) -> Iterator[Rows]:
        """At most `count` rows in chunks of at most `size`, in random order: the last ones are held back."""


def old_features(
    features: Features, history: History, first: Array, second: Array, log_metallicity: Array
) -> tuple[Array, Array]:
    """(feature,) what the networks of old stars see of one row, and the fraction of mass older than 10 Myr."""
    coarse = history.masses(features.old_ages, jnp.asarray(0.0, log_metallicity.dtype))
    return features.old(coarse, first, second, log_metallicity)


def young_features(
    features: Features, history: History, log_metallicity: Array, log_ionization: Array
) -> tuple[Array, Array]:
    """(feature,) what the networks of young stars and lines see of one row, and its fraction of young mass."""
    masses = history.masses(features.young_ages, jnp.asarray(0.0, log_metallicity.dtype))
    return features.young(masses, log_metallicity, log_ionization)
