"""Coordinates that follow the bends of a posterior, learnt from draws.

Where data fix some combinations of parameters far better than others, as the colours of a galaxy fix age, metallicity
and dust, the posterior is a thin sheet, and a bent one: no linear whitening makes it round, and trajectories take
hundreds of small steps. Here, the numbers of a source that the data fix best are moved by polynomials of those that
they leave looser, and scaled, one after the other:

    t_k = base_k exp(w_k(looser t)) + f_k(looser t),      t = base + centre for all others,

which can be undone whatever the polynomials are, and changes volumes by exp(sum w). What the polynomials miss costs
steps, never correctness (transport maps: Parno & Marzouk 2018, SIAM/ASA JUQ 6, 645; additive and affine coupling: Dinh,
Sohl-Dickstein & Bengio 2017, arXiv:1605.08803).
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

TIGHT = 3
"""Numbers of a block that may be bent: of a population's eight, two or three are."""
LOOSE = 8
"""Looser numbers that bend each."""
FEWEST = 3
"""A block of fewer numbers than this is not bent."""
_DEGREES = (3, 2)
_WIDEST = 1.5
"""Largest change of a logarithmic width."""
_WORTH = 0.8
"""A number is bent where that makes its variance, of draws that were left out, smaller than this share."""
_RIDGE = 1e-3
"""Of the regression, in the variance of its features."""
_DRAWS_A_FEATURE = 10
_FAR = 10.0


class Bend(NamedTuple):
    """A shear of p numbers, block by block.

    Args:
        axes: (p, p) from steps of the numbers to coordinates t; blocks do not mix.
        back: (p, p) its inverse.
        block: (p,) block of each t; their number for none.
        tight: (block, TIGHT) places in t of those that are bent, the tightest last; p where there are fewer.
        loose: (block, TIGHT, LOOSE) places of those that bend them; p where there are fewer.
        centre: (p,) of the coordinates that are not bent.
        shift: (block, TIGHT, feature) coefficients of f.
        width: (block, TIGHT, feature) coefficients of w; only those of first order are used.
        reach: (block, TIGHT, LOOSE) beyond which loose coordinates bend no further.
        prior: (p,) variances of the numbers' priors.
    """

    axes: Array
    back: Array
    block: Array
    tight: Array
    loose: Array
    centre: Array
    shift: Array
    width: Array
    reach: Array
    prior: Array

    @property
    def bent(self) -> int:
        """How many numbers it bends."""
        return int(np.sum(np.any(np.asarray(self.shift) != 0, axis=-1)))

    def __call__(self, steps: Array) -> tuple[Array, Array]:
        """(p,) bent steps from straight ones, and the log-determinant of the transform."""
        bent = jnp.append(self.axes @ steps + self.centre, 0.0)
        volume = jnp.zeros((), bent.dtype)
        for number in range(TIGHT):
            width, shift = self._at(number, bent)
            at = self.tight[:, number]
            bent = bent.at[at].set(bent[at] * jnp.exp(width) + shift)
            volume += jnp.sum(width)
        return self.back @ bent[:-1], volume

    def undone(self, steps: Array) -> Array:
        """(p,) straight steps from bent ones."""
        bent = jnp.append(self.axes @ steps, 0.0)
        straight = bent
        for number in range(TIGHT):
            width, shift = self._at(number, bent)
            at = self.tight[:, number]
            straight = straight.at[at].set((bent[at] - shift) * jnp.exp(-width))
        return self.back @ (straight[:-1] - self.centre)

    def _at(self, number: int, bent: Array) -> tuple[Array, Array]:
        """(block,) logarithmic width and shift of the tight coordinate of that number, from coordinates with a pad."""
        reach = self.reach[:, number]
        features = _features(_within(bent[self.loose[:, number]], reach))
        width = jnp.sum(self.width[:, number] * features, axis=-1)
        return _WIDEST * jnp.tanh(width / _WIDEST), jnp.sum(self.shift[:, number] * features, axis=-1)


def _within(numbers: Array, reach: Array | HostArray) -> Array:
    """The same numbers (to 0.05 % up to half their reach), which level off at the reach."""
    return numbers * (1 + (numbers / reach) ** 8) ** (-1 / 8)


def _features(loose: Array) -> Array:
    """(block, feature) monomials up to the third order of (block, LOOSE) numbers."""
    one = jnp.ones((*loose.shape[:-1], 1), loose.dtype)
    padded = jnp.concatenate([one, loose], axis=-1)
    found = padded[..., _FACTORS[:, 0]]
    for column in _FACTORS[:, 1:].T:
        found = found * padded[..., column]
    return found


_FACTORS = np.array(list(combinations_with_replacement(range(LOOSE + 1), max(_DEGREES))))
"""(feature, 3) places of the factors of each monomial; zero is the constant one."""
_DEGREE = np.sum(_FACTORS > 0, axis=1)


def straight(covariance: HostArray, prior: HostArray, blocks: HostArray) -> Bend:
    """A bend that does nothing yet, along the principal axes of each block.

    Loose is what the data tell little about: variances count in units of the priors'.

    Args:
        covariance: (p, p) of the numbers at the maximum.
        prior: (p,) variances of their priors.
        blocks: (p,) each number's block; negative for none.
    """
    size = len(prior)
    axes, back = np.eye(size), np.eye(size)
    members = [np.flatnonzero(blocks == number) for number in np.unique(blocks[blocks >= 0])]
    members = [own for own in members if len(own) >= FEWEST]
    block = np.full(size, len(members))
    tight = np.full((len(members), TIGHT), size)
    loose = np.full((len(members), TIGHT, LOOSE), size)
    for number, own in enumerate(members):
        unit = np.sqrt(prior[own])
        variances, vectors = np.linalg.eigh(covariance[np.ix_(own, own)] / np.outer(unit, unit))
        scale = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps))
        # eigenvalues ascend: the tightest come first
        axes[np.ix_(own, own)] = (vectors / scale).T / unit
        back[np.ix_(own, own)] = unit[:, None] * vectors * scale
        block[own] = number
        bent = min(TIGHT, len(own) - 1)
        for place, index in enumerate(reversed(range(bent))):
            looser = own[index + 1 :][-LOOSE:]
            tight[number, place] = own[index]
            loose[number, place, : len(looser)] = looser
    flat = np.zeros((len(members), TIGHT, len(_FACTORS)))
    return Bend(
        as_float(axes),
        as_float(back),
        to_device(block, np.int32),
        to_device(tight, np.int32),
        to_device(loose, np.int32),
        as_float(np.zeros(size)),
        as_float(flat),
        as_float(flat),
        as_float(np.full(loose.shape, _FAR)),
        as_float(prior),
    )


def learnt(bend: Bend, steps: HostArray) -> Bend:
    """A bend that makes draws as straight as it can.

    Args:
        bend: whose axes to use.
        steps: (chain, draw, p) of the numbers, as they are drawn; each chain is left out once to see what is worth it.
    """
    numbers = np.asarray(steps, np.float64) @ np.asarray(bend.axes, np.float64).T
    flat = numbers.reshape(-1, numbers.shape[-1])
    fold = np.repeat(np.arange(numbers.shape[0]), numbers.shape[1])
    padded = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    tight, loose = np.asarray(bend.tight), np.asarray(bend.loose)
    reach = 2.0 * np.maximum(np.max(np.abs(padded), axis=0), 1.0)[loose]
    centre = np.mean(flat, axis=0)
    shift, width = np.zeros(bend.shift.shape), np.zeros(bend.width.shape)
    for block, number in np.argwhere(tight < flat.shape[1]):
        place, own = tight[block, number], reach[block, number]
        inside = _within(jnp.asarray(padded[:, loose[block, number]]), own)
        features = np.asarray(_features(inside), np.float64)
        value = flat[:, place]
        used = _chosen(features, value, fold)
        if used is None:
            continue
        shift[block, number, used] = _regressed(features[:, used], value)
        residual = value - features @ shift[block, number]
        first = _DEGREE <= 1
        logarithm = np.log(np.abs(residual) + 1e-3 * np.std(residual))
        width[block, number, first] = _regressed(features[:, first], logarithm)
        width[block, number, 0] = 0.0
        centre[place] = 0.0
    return bend._replace(centre=as_float(centre), shift=as_float(shift), width=as_float(width), reach=as_float(reach))


def _chosen(features: HostArray, value: HostArray, fold: np.ndarray) -> np.ndarray | None:
    """(feature,) which ones predict a value best where it was left out; None where they gain too little."""
    varied = (np.std(features, axis=0) > 0) | (_DEGREE == 0)
    line = _left_out(features[:, varied & (_DEGREE <= 1)], value, fold)
    best, found = _WORTH * line, None
    for degree in _DEGREES:
        used = varied & (degree >= _DEGREE)
        if np.sum(used) * _DRAWS_A_FEATURE < len(value) and (left := _left_out(features[:, used], value, fold)) < best:
            best, found = left, used
    return found


def _regressed(features: HostArray, value: HostArray) -> HostArray:
    ridge = _RIDGE * len(value) * np.diag(np.var(features, axis=0) + 1e-9)
    found: HostArray = np.linalg.solve(features.T @ features + ridge, features.T @ value)
    return found


def _left_out(features: HostArray, value: HostArray, fold: np.ndarray) -> float:
    """Variance about the regression of the other chains' draws."""
    squares = []
    for one in np.unique(fold):
        out = fold == one
        squares.append((value[out] - features[out] @ _regressed(features[~out], value[~out])) ** 2)
    return float(np.mean(np.concatenate(squares)))
