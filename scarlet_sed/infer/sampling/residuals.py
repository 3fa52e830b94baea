"""What draws leave of the data, and how improbable that is: band by band, and block of pixels by block.

Posterior predictive p-values (Gelman, Meng & Stern 1996, Statistica Sinica 6, 733): how often the noise model, added to
a draw, departs from that draw as much as the data do. Draws are gone through one by one, so that no more than a few
images are held.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import materialize
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.instrument.noise import Noise, band_sum
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.typing import Array, HostArray

_LEAST = 3
"""Pixels along the side of the smallest block."""
_FEWEST = 0.5
"""Share of a block's pixels that must be in use."""


class ObservedResiduals(NamedTuple):
    """One observation against the draws.

    Args:
        bands: names.
        residual: (band, H, W) data minus the mean of all predictions, in standard deviations of these (noise and
            spread of the models together); NaN where masked.
        p_values: (band,) see `Predictive.p_values`.
        side: pixels along the side of a block: about the sharpest PSF's full width.
        excess: (band, h, w) by block: sigma by which its chi-square is larger than the noise explains (negative:
            smaller), of a one-sided normal; NaN where too few pixels are in use.
    """

    bands: tuple[str, ...]
    residual: HostArray
    p_values: HostArray
    side: int
    excess: HostArray


class Block(NamedTuple):
    """A block of pixels that the model does not explain.

    Args:
        observation, band: where.
        x, y: zero-based pixel of its middle.
        sigma: see `ObservedResiduals.excess`.
    """

    observation: str
    band: str
    x: float
    y: float
    sigma: float


class Residuals(NamedTuple):
    """All observations against the draws, by name.

    Args:
        observed: by observation.
        size: how many draws.
    """

    observed: dict[str, ObservedResiduals]
    size: int

    def outstanding(self, chance: float = 0.01) -> list[Block]:
        """Blocks with more chi-square than the worst one of all has by chance, in `chance` of all cases; worst first.

        Args:
            chance: that any block is listed although nothing is wrong.
        """
        blocks = sum(int(np.sum(np.isfinite(o.excess))) for o in self.observed.values())
        limit = float(stats.norm.isf(chance / max(blocks, 1)))
        found = []
        for name, own in self.observed.items():
            middle = (own.side - 1) / 2
            for band, row, column in np.argwhere(np.nan_to_num(own.excess, nan=-np.inf) > limit):
                sigma = float(own.excess[band, row, column])
                x, y = (float(k) * own.side + middle for k in (column, row))
                found.append(Block(name, own.bands[band], x, y, sigma))
        return sorted(found, key=lambda block: -block.sigma)


def residuals(posterior: Posterior, count: int = 100, seed: int = 0) -> Residuals:
    """Compare the data with what draws predict.

    Args:
        posterior: draws.
        count: how many of them; p-values of bands are multiples of one over it.
        seed: of which ones, and of the noise.

    Raises:
        ParameterError: if there are no draws.
    """
    if posterior.shape[1] == 0:
        raise ParameterError("there are no draws to predict from", fix="sample longer")
    observations = posterior.posterior.observations
    sides = tuple(block_side(o) for o in observations)
    sums = [_Sums(o, side) for o, side in zip(observations, sides, strict=True)]
    whitened = posterior.sample_of(count, seed)
    for draw, key in zip(whitened, jax.random.split(jax.random.key(seed), count), strict=True):
        for own, seen in zip(sums, _seen(posterior.target, draw, key, sides), strict=True):
            own.add(jax.tree.map(np.asarray, seen))
    return Residuals({o.name: own.result() for o, own in zip(observations, sums, strict=True)}, count)


def block_side(observation: Observation) -> int:
    """Pixels along the side of a block: the sharpest PSF's full width, at least three."""
    return max(_LEAST, round(float(np.min(observation.fwhm)) / observation.grid.pixel_scale))


class _Seen(NamedTuple):
    """One observation under one draw.

    Args:
        model: (band, H, W).
        bands: (2, band) discrepancy of the data and of the draw's own noise.
        blocks: (2, band, h, w) the same by block.
    """

    model: Array
    bands: Array
    blocks: Array


@partial(jax.jit, static_argnames="sides")
def _seen(target: AnyTarget, whitened: Array, key: Array, sides: tuple[int, ...]) -> list[_Seen]:
    program, values = target.program, target.values(whitened)
    keys = jax.random.split(key, len(program.observations))
    found = []
    for observation, model, own, side in zip(program.observations, program.images(values), keys, sides, strict=True):
        noise, weights = materialize(observation.instrument, values).noise, observation.weights
        both = [_discrepancy(noise, r, weights) for r in (observation.data - model, noise.sample(own, weights))]
        shape = model.shape[-2:]
        blocks = jnp.stack([_blocks(each[:, : shape[0], : shape[1]], side) for each in both])
        found.append(_Seen(model, jnp.stack([band_sum(each) for each in both]), blocks))
    return found


def _discrepancy(noise: Noise, residual: Array, weights: Array) -> Array:
    """(band, H', W') what each pixel adds to minus twice the log-likelihood, zero for a residual of zero."""
    return -2 * (noise.terms(residual, weights) - noise.terms(jnp.zeros_like(residual), weights))


def _blocks(values: Array, side: int) -> Array:
    """(band, h, w) sums over blocks of pixels; those at the far edges are smaller."""
    pads = [(0, 0), *((0, -size % side) for size in values.shape[1:])]
    padded = jnp.pad(values, pads)
    bands, height, width = padded.shape
    return jnp.sum(jnp.sum(padded.reshape(bands, height // side, side, width // side, side), axis=4), axis=2)


class _Sums:
    """What is added up over draws, of one observation."""

    def __init__(self, observation: Observation, side: int) -> None:
        self.observation, self.side = observation, side
        self.used = np.asarray(observation.weights) > 0
        self.model = np.zeros(observation.shape)
        self.squares = np.zeros(observation.shape)
        self.bands: list[HostArray] = []
        self.blocks: list[HostArray] = []

    def add(self, seen: _Seen) -> None:
        # against the data, or the squares of bright pixels lose their digits
        off = np.asarray(seen.model, float) - np.asarray(self.observation.data, float)
        self.model += off
        self.squares += off**2
        self.bands.append(np.asarray(seen.bands, float))
        self.blocks.append(np.asarray(seen.blocks, float))

    def result(self) -> ObservedResiduals:
        count, weights = len(self.bands), np.asarray(self.observation.weights, float)
        mean = self.model / count
        spread = np.maximum(self.squares / count - mean**2, 0.0)
        variance = 1 / np.where(self.used, weights, 1.0) + spread
        residual = np.where(self.used, -mean / np.sqrt(variance), np.nan)
        data, own = np.moveaxis(np.stack(self.bands), 1, 0)
        p_values = np.mean(own >= data, axis=0)
        return ObservedResiduals(tuple(self.observation.bands), residual, p_values, self.side, self._excess())

    def _excess(self) -> HostArray:
        pixels = np.asarray(_blocks(jnp.asarray(self.used, float), self.side))
        data, own = np.moveaxis(np.stack(self.blocks), 1, 0)
        enough = pixels >= _FEWEST * self.side**2
        # noise that is drawn says what a pixel's discrepancy has for mean and variance (1 and 2 if it is Gaussian);
        # a gamma distribution of these moments then knows tails that no number of draws would reach
        mean, variance = _moments(own, pixels, enough)
        shape = pixels * (mean**2 / variance)[:, None, None]
        scale = (variance / mean)[:, None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            p = np.mean(stats.gamma.sf(data, shape, scale=scale), axis=0)
        return np.where(enough, stats.norm.isf(np.clip(p, 1e-300, 1 - 1e-16)), np.nan)


def _moments(own: HostArray, pixels: HostArray, enough: NDArray[np.bool_]) -> tuple[HostArray, HostArray]:
    """(band,) mean and variance of a pixel's discrepancy under the noise model, from all blocks of all draws."""
    counted = np.where(enough, pixels, 0.0)
    total = np.maximum(counted.sum(axis=(-2, -1)), 1.0)
    mean = np.mean(np.where(enough, own, 0.0).sum(axis=(-2, -1)), axis=0) / total
    squares = np.mean(np.where(enough, (own - pixels * mean[:, None, None]) ** 2, 0.0), axis=0)
    variance = squares.sum(axis=(-2, -1)) / total
    tiny = np.finfo(float).tiny
    return np.maximum(mean, tiny), np.maximum(variance, tiny)
