"""What `scarlet-sed prior train` may be asked for."""

from typing import NamedTuple


class PriorOptions(NamedTuple):
    """What is learnt, and how.

    Args:
        side: pixels of galaxies made up.
        galaxies: how many of these.
        images: a .npy file of (image, side, side) noiseless images to learn from instead.
        axes: of the normal distribution, and numbers that the energy looks at.
        steps: of training the energy; none for the normal distribution only.
        width: of the energy's layers.
        level: noise of the energy's density, in units of the coordinates.
        seed: of the galaxies made up.
    """

    side: int = 32
    galaxies: int = 20_000
    images: str | None = None
    axes: int = 512
    steps: int = 30_000
    width: int = 512
    level: float = 0.1
    seed: int = 2
