"""A Gaussian of some free parameters around their best values, to carry uncertainty through any function of them."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array


class Gaussian(eqx.Module):
    """Parameters whose unconstrained numbers are normal.

    Args:
        priors: by name; their supports say how numbers become values.
        best: unconstrained, by name.
        root: by name, (*number, k): how the numbers move with k independent standard normal ones.
    """

    priors: dict[str, dist.Distribution]
    best: dict[str, Array]
    root: dict[str, Array]

    def renamed(self, names: Mapping[str, str]) -> "Gaussian":
        """The same under new names; names that are not mentioned are kept."""
        fields = [{names.get(n, n): v for n, v in each.items()} for each in (self.priors, self.best, self.root)]
        return Gaussian(*fields)

    def values(self, normal: Array | None = None) -> dict[str, Array]:
        """Values by name: the best, or those that k standard normal numbers lead to."""
        found = {}
        for name, prior in self.priors.items():
            moved = self.best[name] if normal is None else self.best[name] + self.root[name] @ normal
            found[name] = bijection(prior, moved.shape)(moved)
        return found

    def spread(self, function: Callable[[dict[str, Array]], Any]) -> Any:
        """The standard deviations of a function of the values, to first order; a tree of arrays like its own.

        Args:
            function: of the values by name.
        """
        size = next(iter(self.root.values())).shape[-1] if self.root else 0
        slopes = jax.jacfwd(lambda normal: function(self.values(normal)))(jnp.zeros(size))
        return jax.tree.map(lambda slope: jnp.sqrt(jnp.sum(jnp.square(slope), axis=-1)), slopes)
