"""The Gauss-Newton matrix of many parameters: sources that do not overlap share a derivative image.

A derivative image costs as much as drawing the scene. Parameters of sources far apart are moved together and their
images cut apart again, so the number of images grows with the crowding of the scene, not with its sources.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.curvature import whitened
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.multiples import Multiple, flux_slopes, multiples, only_fluxes
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.windows import Window, colours, common, overlap, window, wings, within
from scarlet_sed.parameters import Tied, tie_target
from scarlet_sed.paths import slots
from scarlet_sed.typing import Array, HostArray

_TOGETHER = 16  # derivative images a call: one compiled program whatever their number
_FLUXES_TOGETHER = 64  # derivatives of fluxes a call


class Direction(NamedTuple):
    """One number of one parameter: its path, its family, its row there and its place in the raveled row."""

    path: str
    family: int
    row: int
    element: int


def unit_vectors(moves: Sequence[Sequence[Direction]], unconstrained: FamilyValues) -> FamilyValues:
    """Vectors that are one along each direction of a move and zero elsewhere, each family with a leading axis (move,).

    Args:
        moves: the directions that go together, for each vector.
        unconstrained: numbers of the shapes wanted.
    """
    vectors = [np.zeros((len(moves), u.shape[0], int(np.prod(u.shape[1:]))), u.dtype) for u in unconstrained]
    for index, together in enumerate(moves):
        for direction in together:
            vectors[direction.family][index, direction.row, direction.element] = 1.0
    return tuple(jnp.asarray(v.reshape(len(moves), *u.shape)) for v, u in zip(vectors, unconstrained, strict=True))


class _Block(NamedTuple):
    """The parameters that one source (or everything else) owns: which, and where they show in each observation."""

    members: list[int]
    windows: list[Window]


def gauss_newton(posterior: LogPosterior, unconstrained: FamilyValues, directions: Sequence[Direction]) -> HostArray:
    """(p, p) Gauss-Newton matrix of the likelihood along p directions.

    Light beyond six FWHM from a source's box is left out.

    Args:
        posterior: the model.
        unconstrained: where.
        directions: one for each row.
    """
    blocks = _blocks(posterior, unconstrained, directions)
    images = _images(posterior, unconstrained, directions, blocks)
    matrix = np.zeros((len(directions), len(directions)))
    for i, first in enumerate(blocks):
        for j, second in enumerate(blocks[: i + 1]):
            part = sum(
                _inner(a, first.windows[o], b, second.windows[o])
                for o, (a, b) in enumerate(zip(images[i], images[j], strict=True))
                if overlap(first.windows[o], second.windows[o])
            )
            matrix[np.ix_(first.members, second.members)] = part
            matrix[np.ix_(second.members, first.members)] = np.transpose(part)
    return matrix


def _inner(a: HostArray, at: Window, b: HostArray, bt: Window) -> HostArray:
    """(p, q) inner products of (p, band, h, w) with (q, band, h', w') images over their common pixels."""
    both = common(at, bt)
    mine, other = a[:, :, *within(both, at)], b[:, :, *within(both, bt)]
    return mine.reshape(len(mine), -1) @ other.reshape(len(other), -1).T


def _blocks(posterior: LogPosterior, unconstrained: FamilyValues, directions: Sequence[Direction]) -> list[_Block]:
    """One block for each source, and one for parameters of observations and those that sources share."""
    scene, observations = posterior.scene, posterior.observations
    leaves = {s.path: s.leaf for s in slots({**scene.sources, **{o.name: o for o in observations}})}
    tied = [(path, tie_target(leaves, path)) for path, leaf in leaves.items() if isinstance(leaf, Tied)]
    shared = {target for path, target in tied if path.split(".")[0] != target.split(".")[0]}
    owned: dict[str, list[int]] = {}
    for index, direction in enumerate(directions):
        owner = direction.path.split(".")[0]
        owned.setdefault(owner if owner in scene.sources and direction.path not in shared else "", []).append(index)
    boxes: dict[str, list] = {}
    for (name, _, _), box in zip(scene.components(), scene.boxes(), strict=True):
        boxes.setdefault(name, []).append(box)
    whole = [
        (slice(0, shape[1]), slice(0, shape[2]))
        for shape in (r.shape for r in jax.eval_shape(whitened, posterior.program, unconstrained))
    ]
    wide = [(o, wings(o)) for o in observations]
    return [
        _Block(members, [window(boxes[name], scene.frame, o, margin) for o, margin in wide] if name else whole)
        for name, members in owned.items()
    ]


def _images(
    posterior: LogPosterior, unconstrained: FamilyValues, directions: Sequence[Direction], blocks: Sequence[_Block]
) -> list[list[HostArray]]:
    """For each block and observation, (member, band, h, w) derivatives of the whitened residuals in its window."""
    dtype = jnp.result_type(*unconstrained)
    found = [
        [
            np.zeros((len(block.members), o.shape[0], rows.stop - rows.start, columns.stop - columns.start), dtype)
            for o, (rows, columns) in zip(posterior.observations, block.windows, strict=True)
        ]
        for block in blocks
    ]
    turns = colours([block.windows for block in blocks])
    spared = _spared(posterior, unconstrained, directions, blocks)
    together: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for b, block in enumerate(blocks):
        drawn = [k for k, member in enumerate(block.members) if member not in spared]
        for turn, k in enumerate(drawn):
            together.setdefault((turns[b], turn), []).append((b, k))
    for group in _batches(list(together.values()), _TOGETHER):
        moves = [[directions[blocks[b].members[k]] for b, k in moved] for moved in group]
        basis = unit_vectors([*moves, *[[]] * (_TOGETHER - len(moves))], unconstrained)
        for o, drawn in enumerate(derivatives(posterior.program, unconstrained, basis)):
            images = np.asarray(drawn)
            for slot, moved in enumerate(group):
                for b, k in moved:
                    found[b][o][k] = images[slot][:, *blocks[b].windows[o]]
    for b, block in enumerate(blocks):
        places = {member: k for k, member in enumerate(block.members)}
        for member in set(places) & set(spared):
            for pivot, factors in spared[member].terms:
                for o, factor in enumerate(factors):
                    found[b][o][places[member]] += factor[:, None, None] * found[b][o][places[pivot]]
    return found


def _spared(
    posterior: LogPosterior, unconstrained: FamilyValues, directions: Sequence[Direction], blocks: Sequence[_Block]
) -> dict[int, Multiple]:
    """Directions whose images are sums of others' of the same source, which need not be drawn."""
    # behind a screen, a band's light changes its shape with its colour
    behind = {name for name, source in posterior.scene.sources.items() if any(source.screens())}
    candidates = [
        index
        for index, direction in enumerate(directions)
        if only_fluxes(direction.path) and direction.path.split(".")[0] not in behind
    ]
    if not candidates:
        return {}
    slopes: list[list[HostArray]] = [[] for _ in posterior.observations]
    for group in _batches(candidates, _FLUXES_TOGETHER):
        moves = [[directions[index]] for index in group]
        basis = unit_vectors([*moves, *[[]] * (_FLUXES_TOGETHER - len(moves))], unconstrained)
        for o, each in enumerate(flux_slopes(posterior.program, unconstrained, basis)):
            slopes[o].append(np.concatenate([np.asarray(part, float) for part in each], axis=1)[: len(group)])
    owner = {member: b for b, block in enumerate(blocks) for member in block.members}
    found = {}
    for index, made in multiples([np.concatenate(s) for s in slopes]).items():
        terms = [(candidates[pivot], factors) for pivot, factors in made.terms]
        if all(owner[candidates[index]] == owner[pivot] for pivot, _ in terms):
            found[candidates[index]] = Multiple(terms)
    return found


def _batches(items: list, size: int) -> Iterator[list]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _derivatives(program: Program, unconstrained: FamilyValues, basis: FamilyValues) -> tuple[Array, ...]:
    """Per observation, (p, band, H', W') derivatives of the whitened residuals along p directions.

    Args:
        program: the model.
        unconstrained: where.
        basis: directions, each family with a leading axis p.
    """
    # linearised once: the profiles are not drawn again for every direction
    _, derivative = jax.linearize(lambda u: whitened(program, u), unconstrained)
    return jax.lax.map(derivative, basis)


derivatives = Compiled(_derivatives, level=1)
