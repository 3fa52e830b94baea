"""Histories in bins of age: free mass fractions, or free ratios of neighbouring rates."""

from abc import abstractmethod
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError, ShapeError
from scarlet_sed.parameters import Parameter, parameter
from scarlet_sed.sps.histories.base import History, Masses
from scarlet_sed.sps.histories.constant import constant_masses
from scarlet_sed.typing import Array

RECENT = (0.0, 0.01, 0.03, 0.1)
"""Gyr: the youngest edges; the others are even in the logarithm up to the age of the universe."""


class Binned(History):
    """A constant rate in each bin of age; `Dirichlet` and `Continuity` differ in what is free.

    Bins follow Leja et al. (2019, ApJ 876, 3, section 4), with a first bin of 10 Myr as Tacchella et al. (2022, ApJ
    927, 170): edges at 0, 10, 30 and 100 Myr, then even in log age up to the age of the universe at the redshift, or
    all edges as given.
    """

    edges: eqx.AbstractVar[tuple[float, ...] | None]

    @abstractmethod
    def bin_fractions(self, universe: Array) -> Array:
        """(bin,) fraction of the mass formed in each bin, youngest first; sum one."""

    @property
    @abstractmethod
    def bins(self) -> int:
        """The number of bins."""

    @property
    def needs_universe(self) -> bool:
        return self.edges is None

    def bin_edges(self, universe: Array) -> Array:
        """(bin + 1,) ages in Gyr, increasing from 0."""
        if self.edges is not None:
            return jnp.asarray(self.edges, universe.dtype)
        steps = jnp.asarray(np.linspace(0.0, 1.0, self.bins - len(RECENT) + 2), universe.dtype)
        late = RECENT[-1] * jnp.exp(steps * jnp.log(universe / RECENT[-1]))
        return jnp.concatenate([jnp.asarray(RECENT[:-1], universe.dtype), late])

    def masses(self, edges: Array, universe: Array) -> Masses:
        own = self.bin_edges(universe)
        each = jax.vmap(lambda old, young: constant_masses(edges, old, young))(own[1:], own[:-1])
        fractions = self.bin_fractions(universe)
        return Masses(fractions @ each.total, fractions @ each.older)


@final
class Dirichlet(Binned):
    """Mass fractions per bin, naturally under a `numpyro.distributions.Dirichlet` prior.

    Args:
        fractions: (bin,) youngest first, not negative, sum one.
        edges: (bin + 1,) Gyr, increasing from 0; None for the bins of `Binned`, which need at least 4.

    Raises:
        ShapeError: for too few fractions, or edges of another length.
        ParameterError: for fractions that do not sum to one, or edges that do not increase from 0.
    """

    fractions: Array = parameter(doc="fraction of the mass formed in each bin of age, youngest first")
    edges: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        value = _plain(self.fractions)
        _check_edges(self.edges, _length(value, "Dirichlet", "fractions"))
        if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
            host = np.asarray(value, np.float64)
            if np.any(host < 0) or abs(host.sum() - 1) > 1e-3:
                raise ParameterError(
                    f"the fractions {np.array2string(host, precision=3)} are not shares of one mass",
                    fix="give numbers of zero or more that sum to one",
                )

    @property
    def bins(self) -> int:
        return int(_plain(self.fractions).shape[0])

    def bin_fractions(self, universe: Array) -> Array:
        return self.fractions


@final
class Continuity(Binned):
    """Logarithms of the ratio of rates in neighbouring bins; Leja et al. (2019) give them Student's t (0.3, nu = 2).

    Args:
        log_ratios: (bin - 1,) log10 of the rate in a bin over the rate in the next older one, youngest first.
        edges: as for `Dirichlet`.

    Raises:
        ShapeError, ParameterError: as for `Dirichlet`.
    """

    log_ratios: Array = parameter(doc="log10 ratio of star-formation rates of neighbouring bins, youngest first")
    edges: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        _check_edges(self.edges, _length(_plain(self.log_ratios), "Continuity", "log_ratios") + 1)

    @property
    def bins(self) -> int:
        return int(_plain(self.log_ratios).shape[0]) + 1

    def bin_fractions(self, universe: Array) -> Array:
        log_rates = -jnp.pad(jnp.cumsum(self.log_ratios), (1, 0)) * np.log(10.0)
        return jax.nn.softmax(log_rates + jnp.log(jnp.diff(self.bin_edges(universe))))


def _plain(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Parameter) else leaf


def _length(value: Any, owner: str, what: str) -> int:
    if len(value.shape) != 1:
        raise ShapeError(f"the {what} of {owner} have shape {value.shape}", fix="give one number a bin, a 1-d array")
    return int(value.shape[0])


def _check_edges(edges: tuple[float, ...] | None, bins: int) -> None:
    if edges is None:
        if bins < len(RECENT):
            raise ShapeError(f"{bins} bins of age", fix=f"give at least {len(RECENT)}, or edges= of your own")
        return
    if len(edges) != bins + 1:
        raise ShapeError(f"{len(edges)} edges for {bins} bins of age", fix="give one edge more than bins")
    if edges[0] != 0 or not np.all(np.diff(edges) > 0) or not np.all(np.isfinite(edges)):
        raise ParameterError(f"the edges {edges} do not increase from 0", fix="give ages in Gyr, youngest first")
