"""Images as a normalising flow: standard normal numbers, bent until they are galaxies."""

import math
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import StandardNormalPrior, standard_normal
from scarlet_sed.priors.coordinates import NormalNumbers
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from scarlet_sed.priors.shipped import read_prior
from scarlet_sed.shared import Shared
from scarlet_sed.typing import Array, HostArray

_WIDEST, _MOST_SKEWED, _LONGEST = 3.0, 1.5, 0.7
"""Largest logarithm of a width, skewness, and logarithm of a tail: a hundred deviations stay a number in 32 bits."""


class Bends(eqx.Module):
    """Numbers along the axes of a normal distribution from standard normal ones, block by block.

    Blocks double in size: 1, 1, 2, 4, ... What a block is like depends on all blocks before it, by a network of one
    hidden layer: place, width, skewness and tails of each number, by the sinh-arcsinh transform of Jones & Pewsey
    (2009, Biometrika 96, 761). One more network gives the width of all numbers beyond the axes.

    Args:
        into, out: one matrix a network, (before, hidden) and (hidden, 4 block).
        shifts, places: their biases, (hidden,) and (4 block,).
    """

    into: tuple[Array, ...]
    shifts: tuple[Array, ...]
    out: tuple[Array, ...]
    places: tuple[Array, ...]

    @staticmethod
    def initial(key: Array, axes: int, width: int) -> "Bends":
        """Bends that do nothing yet.

        Args:
            key: of the random numbers.
            axes: a power of two.
            width: of the hidden layers.
        """
        sizes = _blocks(axes)
        before = [0, *accumulate(sizes)]
        outputs = [4 * size for size in sizes] + [1]
        keys = jax.random.split(key, len(before))
        into = tuple(jax.random.normal(k, (n, width)) / math.sqrt(max(n, 1)) for k, n in zip(keys, before, strict=True))
        out = tuple(jnp.zeros((width, n)) for n in outputs)
        return Bends(into, tuple(jnp.zeros(width) for _ in before), out, tuple(jnp.zeros(n) for n in outputs))

    @property
    def axes(self) -> int:
        """How many numbers are bent."""
        return self.into[-1].shape[0]

    def bent(self, normal: Array) -> Array:
        """(n,) white numbers of standard normal ones."""
        found: Array = jnp.zeros(0, normal.dtype)
        for number, size in enumerate(_blocks(self.axes)):
            place, width, skew, tail = self._of(number, size, found)
            own = normal[found.size : found.size + size]
            new = place + jnp.exp(width) * jnp.sinh(jnp.exp(tail) * (jnp.arcsinh(own) + skew))
            found = jnp.concatenate([found, new])
        return jnp.concatenate([found, jnp.exp(self._rest(found)) * normal[self.axes :]])

    def normal(self, white: Array) -> tuple[Array, Array]:
        """(n,) standard normal numbers of white ones, and the logarithm of the volume that they gain."""
        known, found, volume = white[: self.axes], [], jnp.zeros((), white.dtype)
        begin = 0
        for number, size in enumerate(_blocks(self.axes)):
            place, width, skew, tail = self._of(number, size, known[:begin])
            inner = (known[begin : begin + size] - place) * jnp.exp(-width)
            turned = jnp.arcsinh(inner) * jnp.exp(-tail) - skew
            found.append(jnp.sinh(turned))
            # d sinh(turned) / d inner, and the width
            volume += jnp.sum(_log_cosh(turned) - 0.5 * jnp.log1p(inner**2) - tail - width)
            begin += size
        rest = self._rest(known)
        beyond = white[self.axes :]
        return jnp.concatenate([*found, beyond * jnp.exp(-rest)]), volume - beyond.size * rest

    def _of(self, number: int, size: int, before: Array) -> tuple[Array, Array, Array, Array]:
        """(block,) places, logarithms of widths, skewnesses, and logarithms of tails of a block."""
        place, width, skew, tail = self._told(number, before).reshape(4, size)
        return place, _within(width, _WIDEST), _within(skew, _MOST_SKEWED), _within(tail, _LONGEST)

    def _rest(self, known: Array) -> Array:
        """() logarithm of the width of all numbers beyond the axes."""
        return _within(self._told(-1, known)[0], _WIDEST)

    def _told(self, number: int, before: Array) -> Array:
        hidden = jax.nn.silu(jnp.arcsinh(before) @ self.into[number] + self.shifts[number])
        return hidden @ self.out[number] + self.places[number]

    def arrays(self) -> dict[str, HostArray]:
        """What a file needs: matrices in 16 bits."""
        found: dict[str, HostArray] = {}
        for name, kind in (("into", np.float16), ("out", np.float16), ("shifts", np.float32), ("places", np.float32)):
            found |= {f"{name}{number}": np.asarray(a, kind) for number, a in enumerate(getattr(self, name))}
        return found


def _blocks(axes: int) -> list[int]:
    return [1] + [2**power for power in range(axes.bit_length() - 1)]


def _within(x: Array, most: float) -> Array:
    return most * jnp.tanh(x / most)


def _log_cosh(x: Array) -> Array:
    return jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - math.log(2)


@final
class FlowImages(Shared):
    """Images by a flow from standard normal numbers, on top of a normal distribution seen through a little noise.

    Args:
        base: the normal distribution, with the noise in it (`GaussianImages.seen_through`).
        bends: of its white numbers.
    """

    base: GaussianImages
    bends: Bends

    def log_density(self, white: Array) -> Array:
        """Natural logarithm of the density a unit of (n,) white numbers."""
        normal, volume = self.bends.normal(white)
        return standard_normal(normal) + volume

    @property
    def shape(self) -> tuple[int, int]:
        """See `LearntImages`."""
        return self.base.shape

    def image(self, normal: Array) -> Array:
        """See `LearntImages`."""
        return self.base.image(jnp.vectorize(self.bends.bent, signature="(n)->(n)")(normal))

    def normal(self, image: Array) -> Array:
        """See `LearntImages`."""
        found: Array = jnp.vectorize(lambda w: self.bends.normal(w)[0], signature="(n)->(n)")(self.base.normal(image))
        return found


@final
class FlowPrior(StandardNormalPrior):
    """Images by a learnt flow, see `FlowImages`. Its numbers are standard normal: samplers know no easier prior.

    Args:
        images: what was learnt, which all sources that have the prior share.
    """

    constructor_arguments: ClassVar = ("images",)
    pytree_data_fields = ("images",)

    def __init__(self, images: FlowImages, *, validate_args: bool | None = None) -> None:
        self.images = images
        super().__init__(event_shape=images.base.shape, validate_args=validate_args)

    @classmethod
    def load(cls, path: str | Path) -> "FlowPrior":
        """What `scarlet-sed prior train` wrote, or what ships. Sources share it if they are given one object.

        Args:
            path: of a file, or a name among `shipped.SHIPPED`.

        Raises:
            FileFormatError: if it is missing or damaged, or holds a normal distribution only.
        """
        arrays, header = read_prior(path)
        count = sum(name.startswith("into") for name in arrays)
        if not count:
            raise FileFormatError(f"{str(path)!r} holds no flow", fix="load it as a GaussianImagePrior")
        parts = {
            name: tuple(as_float(arrays[f"{name}{number}"]) for number in range(count))
            for name in ("into", "shifts", "out", "places")
        }
        base = GaussianImages.from_arrays(arrays, header).seen_through(header["level"])
        return cls(FlowImages(base, Bends(**parts)))

    @property
    def coordinates(self) -> NormalNumbers:
        """Standard normal numbers."""
        return NormalNumbers(self.images)

    @property
    def easier(self) -> GaussianImagePrior:
        """The normal distribution below: from afar, the way through bent numbers is long."""
        return GaussianImagePrior(self.images.base)
