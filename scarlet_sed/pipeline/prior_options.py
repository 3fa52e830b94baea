"""What `scarlet-sed prior train` may be asked for."""

from typing import NamedTuple


class PriorOptions(NamedTuple):
    """What is learnt, and how.

    Args:
        side: pixels of galaxies made up.
        galaxies: how many of these.
        images: a file to learn from instead: .npy of (image, side, side) noiseless images, or .npz of stamps with PSF
            and noise (see `relearning.read_stamps`).
        kind: "flow", "energy", or "normal" for the distribution that both of them build on.
        axes: of the normal distribution, which a flow or an energy looks at: a power of two.
        steps: of training.
        width: of the network's layers.
        level: noise that a flow or an energy sees all through, in units of the coordinates.
        seed: of the galaxies made up, and of draws.
        rounds: of drawing images of stamps, and learning from the draws.
        draws: of each stamp in each round.
        start: the prior that rounds begin with, a file or a name of what ships; None for galaxies made up.
        worth: galaxies that this prior counts for, beside those of the stamps.
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
    rounds: int = 5
    draws: int = 2
    start: str | None = None
    worth: float = 20.0
