"""The kinds of scenes whose posteriors are calibrated, two of them with a bias planted on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpyro.distributions as dist
import scenes

import scarlet_sed as ss
from scarlet_sed.infer.calibration.trial import Infer

TRIALS = 300
"""How many trials a kind should have."""
MOVED = 100
"""How many those with global moves should have."""
PLANTED = 80
"""How many a planted bias should have: fewer are enough to see it."""
WEAK = "near.spectrum.log_ionization"
"""What seven broad bands hardly know: a prior that counts."""


class Kind(NamedTuple):
    """A scene, and the mistake with which it is sampled.

    Args:
        make: the scene and its observation.
        infer: what is sampled in place of what was simulated; None where there is no mistake.
        what: it is, in words.
        moves: whether spectra are proposed anew by the amortized posterior that ships.
    """

    make: Callable[[], Any]
    infer: Infer | None
    what: str
    moves: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Of `sample`."""
        return {"moves": ss.spectrum_moves(ss.load_amortized("jades_delayed"))} if self.moves else {}

    @property
    def planted(self) -> bool:
        """Whether a bias is planted."""
        return self.infer is not None

    @property
    def wanted(self) -> int:
        """How many trials there should be."""
        return PLANTED if self.planted else MOVED if self.moves else TRIALS


def twice(made):
    """The likelihood counts twice."""
    return made.scene, [o.with_noise(weights=2 * o.weights) for o in made.observations]


def dropped(made):
    """The prior of a number that the data hardly know is flat."""
    return made.scene.free(WEAK, dist.Uniform(-4.0, -1.0)), made.observations


KINDS = {
    "populations": Kind(scenes.populations, None, "two blended populations of known redshift with dust inside"),
    "screens": Kind(scenes.screens, None, "a population behind a screen of dust, blended with one without dust"),
    "redshifts": Kind(scenes.redshifts, None, "two populations of free redshift, with global moves", moves=True),
    "twice": Kind(scenes.screens, twice, "the scene of screens, sampled with a likelihood that counts twice"),
    "dropped": Kind(scenes.screens, dropped, f"the scene of screens, sampled with a flat prior of {WEAK}"),
}
