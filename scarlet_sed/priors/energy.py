"""Images as an energy on top of a normal distribution: a network says where galaxies are likelier than that."""

import math
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.coordinates import NormalNumbers
from scarlet_sed.priors.gaussian import GaussianImages
from scarlet_sed.priors.shipped import read_prior
from scarlet_sed.shared import Shared
from scarlet_sed.typing import Array, HostArray

LEVELS = (0.1, 10.0)
"""Noise, in units of the coordinates, that an energy is trained for."""
_EASIER, _EASIEST = 3.0, 1.0
"""By what factor an easier prior's noise is higher, and the level from which on none is easier."""
_WAVES = 4


class EnergyNetwork(eqx.Module):
    """A network with one number as output: residual layers of SiLU, which never outgrow a straight line.

    Args:
        matrices, biases: of the layers, (in, out) and (out,).
    """

    matrices: tuple[Array, ...]
    biases: tuple[Array, ...]

    @staticmethod
    def initial(key: Array, axes: int, width: int, layers: int = 4) -> "EnergyNetwork":
        """Random weights.

        Args:
            key: of the random numbers.
            axes: numbers of an image that it looks at.
            width: of its layers.
            layers: how many.
        """
        sizes = [axes + 2 * _WAVES, *(width,) * layers, 1]
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = list(pairwise(sizes))
        matrices = [jax.random.normal(k, pair) / math.sqrt(pair[0]) for k, pair in zip(keys, pairs, strict=True)]
        matrices[-1] = 0.1 * matrices[-1]
        return EnergyNetwork(tuple(matrices), tuple(jnp.zeros(size) for size in sizes[1:]))

    def arrays(self) -> dict[str, HostArray]:
        """What a file needs: matrices in 16 bits."""
        found = {f"matrix{number}": np.asarray(m, np.float16) for number, m in enumerate(self.matrices)}
        return found | {f"bias{number}": np.asarray(b, np.float32) for number, b in enumerate(self.biases)}

    @property
    def axes(self) -> int:
        """Numbers of an image that it looks at."""
        return self.matrices[0].shape[0] - 2 * _WAVES

    def __call__(self, white: Array, log_level: Array) -> Array:
        """The energy of (axes,) white numbers at a noise level, given by its natural logarithm."""
        low, high = np.log(LEVELS)
        phase = np.pi * jnp.arange(1, _WAVES + 1) * (log_level - low) / (high - low)
        hidden = jnp.concatenate([white, jnp.cos(phase), jnp.sin(phase)])
        for number, (matrix, bias) in enumerate(zip(self.matrices[:-1], self.biases[:-1], strict=True)):
            change = jax.nn.silu(hidden @ matrix + bias)
            hidden = hidden + change if number else change
        return (hidden @ self.matrices[-1] + self.biases[-1])[0]


@final
class EnergyImages(Shared):
    """Images seen through noise in their coordinates, as a normal distribution times exp(-energy).

    Through noise of deviation `level`, a normal distribution is a wider one, and its standard normal numbers are what
    the energy is a function of: log p = -|w|^2 / 2 - E(w). Far out E grows no faster than a straight line, so that
    p can be integrated whatever was learnt.

    Args:
        base: the images without noise.
        network: the energy of the numbers along the widest axes.
        level: () noise.
        refusal: why no sampler may have it, see `gate.sampling_gate`; empty where one may.
    """

    base: GaussianImages
    network: EnergyNetwork
    level: Array
    refusal: str = eqx.field(static=True, default="no sampling gate has been passed")

    @property
    def wider(self) -> GaussianImages:
        """The normal distribution of images seen through the noise."""
        return self.base.seen_through(self.level)

    def log_density(self, white: Array) -> Array:
        """Natural logarithm of the density a unit of (n - 1,) white numbers, up to a constant."""
        own = white[: self.network.axes]
        return -0.5 * jnp.sum(white**2) - self.network(own, jnp.log(self.level))

    def at(self, level: Array | float) -> "EnergyImages":
        """The same through another noise, within `LEVELS`."""
        return eqx.tree_at(lambda e: e.level, self, jnp.asarray(level, self.level.dtype))


@final
class EnergyPrior(MorphologyPrior):
    """Images by a learnt energy, see `EnergyImages`. Its gradient is the score: fits and samplers see one density.

    Args:
        images: what was learnt, which all sources that have the prior share.
        level: noise that it is seen through, within `LEVELS`; None for that of `images`.
    """

    constructor_arguments: ClassVar = ("images", "level")
    pytree_data_fields = ("images", "level")

    def __init__(
        self, images: EnergyImages, level: Array | float | None = None, *, validate_args: bool | None = None
    ) -> None:
        self.images = images
        self.level = images.level if level is None else as_float(level)
        super().__init__(event_shape=images.base.shape, validate_args=validate_args)

    @classmethod
    def load(cls, path: str | Path) -> "EnergyPrior":
        """What `scarlet-sed prior train` wrote, or what ships. Sources share it if they are given one object.

        Args:
            path: of a file, or a name among `shipped.SHIPPED`.

        Raises:
            FileFormatError: if it is missing or damaged, or holds a normal distribution only.
        """
        arrays, header = read_prior(path)
        layers = sum(name.startswith("matrix") for name in arrays)
        if not layers:
            raise FileFormatError(f"{str(path)!r} holds no energy", fix="load it as a GaussianImagePrior")
        network = EnergyNetwork(
            tuple(as_float(arrays[f"matrix{number}"]) for number in range(layers)),
            tuple(as_float(arrays[f"bias{number}"]) for number in range(layers)),
        )
        base = GaussianImages.from_arrays(arrays, header)
        return cls(EnergyImages(base, network, as_float(header["level"]), header["refusal"]))

    @property
    def refusal(self) -> str:
        """See `EnergyImages`."""
        return self.images.refusal

    @property
    def coordinates(self) -> NormalNumbers:
        """Standard normal numbers, were it not for the energy."""
        return NormalNumbers(self.seen.wider)

    @property
    def seen(self) -> EnergyImages:
        """What was learnt, through the prior's own noise."""
        return self.images.at(self.level)

    @property
    def easier(self) -> "EnergyPrior | None":
        """The same through noise three times as high, from which details are missing; None from a level of 1 on."""
        return None if self.level >= _EASIEST else EnergyPrior(self.images, _EASIER * self.level)

    def log_density(self, numbers: Array) -> Array:
        """See `MorphologyPrior`."""
        found: Array = jnp.vectorize(self.seen.log_density, signature="(n)->()")(numbers)
        return found

    def tempered(self, numbers: Array, temperature: Array) -> Array:
        """See `MorphologyPrior`: the square root of a temperature is a factor of the noise."""
        level = jnp.minimum(self.level * jnp.sqrt(temperature), LEVELS[1])
        hot = self.images.at(level)
        white = numbers * (self.seen.wider.scales / hot.wider.scales)
        found: Array = jnp.vectorize(hot.log_density, signature="(n)->()")(white)
        return found
