"""Large constants that many objects hold together: weights of an engine, tables."""

from typing import Any

import equinox as eqx
import jax


class Shared(eqx.Module):
    """A module of constants that sources of a scene share: it is never copied, stacked or batched.

    It holds no parameters. Two objects share one if they hold the very same object.
    """


def is_shared(node: Any) -> bool:
    """Whether a node is `Shared` (for `jax.tree.map(is_leaf=...)`)."""
    return isinstance(node, Shared)


def batch_axes(tree: Any) -> Any:
    """`in_axes` of `jax.vmap` for a stacked tree: the leading axis everywhere but in shared constants."""
    return jax.tree.map(lambda node: None if is_shared(node) else 0, tree, is_leaf=is_shared)


def shared_ids(tree: Any) -> tuple[int, ...]:
    """The identities of the shared constants in a tree, in order."""
    return tuple(id(node) for node in jax.tree.leaves(tree, is_leaf=is_shared) if is_shared(node))
