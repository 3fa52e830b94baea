"""What `scarlet-sed prior train` may be asked for."""

from typing import NamedTuple


class PriorOptions(NamedTuple):
    """What is learnt, and how.

    Args:
        side: pixels of galaxies made up.
        galaxies: how many of these.
        images: a .npy file of (image, side, side) noiseless images to learn from instead.
        kind: "flow", "energy", or "normal" for the distribution that both of them build on.
        axes: of the normal distribution, which a flow or an energy looks at: a power of two.
        steps: of training.
        width: of the network's layers.
        level: noise that a flow or an energy sees all through, in units of the coordinates.
        seed: of the galaxies made up.
    """

    side: int = 32
    galaxies: int = 20_000
    images: str | None = None
    kind: str = "flow"
    axes: int = 512
    steps: int = 20_000
    width: int = 256
    level: float = 0.1
    seed: int = 2
