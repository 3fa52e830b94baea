"""Draws as a program takes them, and a program of some of its components."""

from collections.abc import Iterable

import equinox as eqx
import jax
import numpy as np

from scarlet_sed.errors import ParameterError, SourceError
from scarlet_sed.infer.families import Gather, is_gather
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import ComponentGroup, Program
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.shared import is_shared
from scarlet_sed.typing import HostArray


def families_of(posterior: Posterior, count: int | None, seed: int) -> tuple[HostArray, ...]:
    """Per family (draw, row, *shape) parameters of draws: all of them in order, or some that are picked at random.

    Args:
        posterior: draws.
        count: how many, without repeats as far as there are enough; None for all.
        seed: of the choice, which is that of `Posterior.sample_of`.

    Raises:
        ParameterError: if there are no draws, or none are asked for.
    """
    total = posterior.shape[0] * posterior.shape[1]
    if total == 0:
        raise ParameterError("there are no draws to derive anything from", fix="sample longer")
    if count is not None and (count != int(count) or count < 1):
        raise ParameterError(f"count is {count!r}", fix="give a whole number of at least 1, or None for all draws")
    order = np.arange(total) if count is None else posterior.chosen(int(count), seed)
    model = posterior.posterior
    # padding keeps the values that it started from
    found = [np.repeat(np.asarray(start)[None], len(order), axis=0) for start in model.start]
    for path, place in model.places.items():
        own = posterior.draws[path]
        found[place.family][:, place.row] = own.reshape(total, *own.shape[2:])[order]
    return tuple(found)


def require_sources(posterior: LogPosterior, sources: Iterable[str]) -> None:
    """Raise `SourceError` for a name that no source has."""
    known = posterior.scene.sources
    for name in sources:
        if name not in known:
            listed = ", ".join(known)
            raise SourceError(f"there is no source {name!r}", fix=f"choose among: {listed[:600]}")


def program_of(posterior: LogPosterior, sources: Iterable[str]) -> tuple[Program, tuple[tuple[str, ...], ...]]:
    """The program of some sources alone, each drawn where it is, and per group the paths of its components.

    Args:
        posterior: the model.
        sources: their names.
    """
    names = set(sources)
    groups, components = [], []
    for group, paths in zip(posterior.program.groups, posterior.components, strict=True):
        rows = [row for row, path in enumerate(paths) if path.split(".", 1)[0] in names]
        if rows:
            groups.append(group if len(rows) == len(paths) else _rows(group, np.array(rows)))
            components.append(tuple(paths[row] for row in rows))
    program: Program = eqx.tree_at(lambda p: p.groups, posterior.program, tuple(groups))
    return program, tuple(components)


def _rows(group: ComponentGroup, rows: np.ndarray) -> ComponentGroup:
    """Some of the components of a group."""

    def take(node: object) -> object:
        if is_shared(node):
            return node
        if isinstance(node, Gather):
            return Gather(node.rows[rows], node.family)
        return node[rows]  # type: ignore[index]

    found: ComponentGroup = jax.tree.map(take, group, is_leaf=lambda node: is_gather(node) or is_shared(node))
    return found
