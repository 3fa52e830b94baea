"""How to sample a fit, as a command line asks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SampleOptions:
    """How to sample; see `ss.sample`.

    Args:
        sources: names, or one number for so many of the brightest; nothing for all.
        chains, warmup, draws, seed, target_accept, marginalize: of `ss.sample`.
        moves: a file of `posterior train`, or the name of one that ships, for `ss.spectrum_moves`; None for none.
    """

    sources: tuple[str, ...] = ()
    chains: int = 4
    warmup: int = 300
    draws: int = 500
    seed: int = 0
    target_accept: float = 0.8
    marginalize: bool = False
    moves: str | None = None
