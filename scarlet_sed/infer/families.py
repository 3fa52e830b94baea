"""Families of alike parameters: free parameters of equal shape and kind of prior, stacked.

Names, ties and sharing are settled here, on the host, once. What enters compiled code are stacked arrays and integer
rows, so a scene with other names or more sources of the same kind needs no new program.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.constraints import base_support, ellipse
from scarlet_sed.parameters import Parameter, as_float, tie_target, to_device
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.shared import batch_axes, is_shared, shared_ids
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import Array, HostArray

T = TypeVar("T")

FamilyValues = tuple[Array, ...]
"""One array (row, *shape) per family: all free parameters of a scene."""

_EDGE = 9.0  # a logistic of 9 is 1.2e-4 short of one
_NOTHING = 25.0  # exp(-25) is 1.4e-11
_ROUNDEST = 15.0  # an axis ratio of 0.001
_COUNTS = tuple(sorted({2**k for k in range(16)} | {3 * 2**k for k in range(14)}))


def padded_count(count: int) -> int:
    """The bucket of a number of sources: 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    return next(c for c in _COUNTS if c >= count)


class Gather(eqx.Module):
    """Stands in a stacked tree for values of a family.

    Args:
        rows: (n,) or () rows of the family.
        family: which family.
        whole: the rows are exactly the family's, in order, so that nothing has to be gathered.
    """

    rows: Array | HostArray
    family: int = eqx.field(static=True)
    whole: bool = eqx.field(static=True, default=False)

    def __call__(self, values: FamilyValues) -> Array:
        return values[self.family] if self.whole else values[self.family][self.rows]


class Family(eqx.Module):
    """Priors of one family.

    Args:
        prior: a numpyro distribution whose arrays carry a leading axis (row,).
        valid: (row,) one for parameters, zero for padding.
        shape: shape of each value.
    """

    prior: dist.Distribution
    valid: Array
    shape: tuple[int, ...] = eqx.field(static=True)

    @property
    def flat(self) -> bool:
        """Whether the prior is the same everywhere on its support."""
        return isinstance(self.prior, dist.ImproperUniform)

    def log_prior(self, value: Array, unconstrained: Array | None = None) -> Array:
        """Scalar: sum of the log-densities of the (row, *shape) values; zero for flat priors.

        Args:
            value: of the parameters.
            unconstrained: (row, *unconstrained shape) real numbers that they come from, if these are known: the
                densities of learnt images are stated in them, and the way back from pixels is long.
        """
        if self.flat:
            return jnp.zeros(())
        if unconstrained is not None and isinstance(self.prior, MorphologyPrior):
            each = self.by_row(lambda prior, u: prior.log_density(u), unconstrained)
        else:
            each = self.by_row(lambda prior, v: jnp.sum(prior.log_prob(v)), value)
        return jnp.sum(jnp.where(self.valid > 0, each, 0.0))

    def tempered(self, value: Array, unconstrained: Array, temperature: Array) -> Array:
        """Scalar: the same at a temperature, see `MorphologyPrior.tempered`."""
        if not isinstance(self.prior, MorphologyPrior):
            return self.log_prior(value) / temperature
        each = self.by_row(lambda prior, u: prior.tempered(u, temperature), unconstrained)
        return jnp.sum(jnp.where(self.valid > 0, each, 0.0))

    def constrain(self, unconstrained: Array) -> Array:
        """(row, *shape) values from (row, *unconstrained shape) real numbers."""
        return self.by_row(lambda prior, u: bijection(prior, self.shape)(u), unconstrained)

    def unconstrain(self, value: Array) -> Array:
        """Inverse of `constrain`; values on the very edge of a support are moved inside by rounding only."""
        return self.by_row(lambda prior, v: bijection(prior, self.shape).inv(v), value)

    def keep_inside(self, unconstrained: Array) -> Array:
        """The same numbers, short of where rounding would put their values on the edge of the support.

        A maximum may lie on an edge, which is at infinity in unconstrained numbers. Optimisers stop here instead;
        samplers must not use this.
        """
        if isinstance(self.prior, MorphologyPrior):  # images of all real numbers are inside
            return unconstrained
        support = base_support(self.prior)
        if isinstance(support, (constraints.interval, type(constraints.unit_interval))):
            return jnp.clip(unconstrained, -_EDGE, _EDGE)
        if isinstance(support, (constraints.greater_than, type(constraints.positive), type(constraints.nonnegative))):
            return jnp.maximum(unconstrained, -_NOTHING)
        if isinstance(support, type(ellipse)):
            return jnp.clip(unconstrained, -_ROUNDEST, _ROUNDEST)
        return unconstrained

    def off_edges(self, value: Array) -> Array:
        """The same (row, *shape) values, those that rounding put on a bound of their support moved next to it, inside.

        -1 + exp(-25) is -1 in float32, which has no finite unconstrained number to go on from.
        """

        def each(prior: dist.Distribution, v: Array) -> Array:
            support = base_support(prior)
            low, high = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
            # distances to a bound are rounded as the larger of the bounds is
            largest = sum((jnp.where(jnp.isfinite(b), jnp.abs(b), 0.0) for b in (low, high) if b is not None), 0.0)
            margin = jnp.maximum(2 * jnp.finfo(v.dtype).eps * largest, jnp.finfo(v.dtype).tiny)
            v = v if low is None else jnp.maximum(v, low + margin)
            return v if high is None else jnp.minimum(v, high - margin)

        return self.by_row(each, value)

    def log_jacobian(self, unconstrained: Array) -> Array:
        """Scalar: log |d value / d unconstrained| summed over rows."""

        def each(prior: dist.Distribution, u: Array) -> Array:
            transform = bijection(prior, self.shape)
            return jnp.sum(transform.log_abs_det_jacobian(u, transform(u)))

        return jnp.sum(jnp.where(self.valid > 0, self.by_row(each, unconstrained), 0.0))

    def by_row(self, each: Callable[..., Array], *values: Array) -> Array:
        """(row, ...) what a function makes of each row's prior and values."""
        found: Array = jax.vmap(each, (batch_axes(self.prior), *(0 for _ in values)))(self.prior, *values)
        return found


class Place(NamedTuple):
    """Where a free parameter lives: its family and its row there."""

    family: int
    row: int


class Families(NamedTuple):
    """All families of a tree, their starting values, and where each path lives."""

    families: tuple[Family, ...]
    values: FamilyValues
    places: dict[str, Place]


def _kind(leaf: Parameter) -> tuple:
    prior_leaves, structure = jax.tree.flatten(leaf.prior, is_leaf=is_shared)
    shapes = tuple(np.shape(x) for x in prior_leaves if not is_shared(x))
    return leaf.value.shape, str(structure), shapes, shared_ids(leaf.prior)


def build_families(leaves: Mapping[str, Any]) -> Families:
    """Stack the free parameters among the leaves (by path) of a tree."""
    members: dict[tuple, list[str]] = {}
    for path, leaf in leaves.items():
        if isinstance(leaf, Parameter):
            members.setdefault(_kind(leaf), []).append(path)
    families, values, places = [], [], {}
    for index, paths in enumerate(members.values()):
        parameters = [leaves[path] for path in paths]
        count = padded_count(len(paths))
        families.append(
            Family(
                stack([p.prior for p in parameters], count),
                as_float(np.arange(count) < len(paths)),
                parameters[0].value.shape,
            )
        )
        values.append(stack([p.value for p in parameters], count))
        places.update({path: Place(index, row) for row, path in enumerate(paths)})
    return Families(tuple(families), tuple(values), places)


def stack(trees: Sequence[T], count: int) -> T:
    """Stack alike trees along a new leading axis, repeating the first up to `count`; what is shared stays as it is."""
    padded = [*trees, *[trees[0]] * (count - len(trees))]

    def join(*leaves: Any) -> Any:
        if is_shared(leaves[0]):
            return leaves[0]
        array = np.stack([np.asarray(leaf) for leaf in leaves])
        return to_device(array, np.int32) if array.dtype == np.int32 else as_float(array)

    return jax.tree.map(join, *padded, is_leaf=is_shared)


def template_leaf(leaves: Mapping[str, Any], places: Mapping[str, Place], path: str) -> Any:
    """What stands for a slot in a stacked tree: a `Gather` of its family, or its constant."""
    target = tie_target(leaves, path)
    if target in places:
        place = places[target]
        return Gather(np.asarray(place.row, np.int32), place.family)
    return np.asarray(leaves[target])


def is_gather(node: Any) -> bool:
    """Whether a node is a `Gather` (for `jax.tree.map(is_leaf=...)`)."""
    return isinstance(node, Gather)


def mark_whole(tree: T, families: Sequence[Family], members: int) -> T:
    """Mark the gathers that take a whole family in order; what the padding takes does not matter.

    Args:
        tree: a stacked tree.
        families: the families that its gathers refer to.
        members: how many of the stacked rows are not padding.
    """

    def mark(node: Any) -> Any:
        if not is_gather(node):
            return node
        count = families[node.family].valid.shape[0]
        whole = node.rows.shape == (count,) and np.array_equal(np.asarray(node.rows)[:members], np.arange(members))
        return Gather(node.rows, node.family, whole)

    return jax.tree.map(mark, tree, is_leaf=is_gather)


def materialize(tree: Any, values: FamilyValues) -> Any:
    """The tree with every gather replaced by its values."""
    return jax.tree.map(lambda node: node(values) if is_gather(node) else node, tree, is_leaf=is_gather)
