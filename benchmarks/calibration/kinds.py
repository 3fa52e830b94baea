"""The kinds of scenes whose posteriors are calibrated, two of them with a bias planted on purpose."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import begin
import numpy as np
import numpyro.distributions as dist
import scenes

import scarlet_sed as ss
from scarlet_sed.infer.calibration.trial import Further, Infer
from scarlet_sed.infer.sampling.derived import derived
from scarlet_sed.parameters import resolve

TRIALS = 300
"""How many trials a kind should have."""
MOVED = 200
"""How many those with global moves should have; `benchmarks/amortized/joint.py` compares these."""
PLANTED = 80
"""How many a planted bias should have: fewer are enough to see it."""
COLOUR = ("F150W", "F444W")
"""What colours of galaxies are between."""
WEAK = "near.spectrum.log_ionization"
"""What seven broad bands hardly know: a prior that counts."""


class Kind(NamedTuple):
    """A scene, and how it is sampled.

    Args:
        make: the scene and its observation.
        what: it is, in words.
        infer: what is sampled in place of what was simulated; None where that is sampled, from the truth.
        planted: whether `infer` makes a mistake.
        wanted: how many trials there should be.
        moves: whether spectra are proposed anew by the amortized posterior that ships.
        further: what to rank beside the parameters.
    """

    make: Callable[[], Any]
    what: str
    infer: Infer | None = None
    planted: bool = False
    wanted: int = TRIALS
    moves: bool = False
    further: Further | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Of `sample`."""
        return {"moves": ss.spectrum_moves(shipped(), rounds=32)} if self.moves else {}


@cache
def shipped() -> ss.AmortizedPosterior:
    """The posterior whose draws start and move the chains of free redshifts."""
    return ss.load_amortized("jades_delayed")


def faint():
    """Blends in which redshifts have several modes more often than not."""
    return scenes.redshifts(fainter=0.7, nearest=0.5)


def from_images(made):
    """Spectra and redshifts where the images alone lead to: a chain that stays in the wrong mode of one is seen.

    Places begin at the truth. From those of the prior, a galaxy too faint to be seen may settle on its neighbour.
    """
    scene, _ = faint()
    scene = scene.set({path: value for path, value in made.truth.items() if path.endswith(".position")})
    shapes = begin.free_fluxes(scene, made.observations[0])
    return begin.populations(shapes, scene, shipped()), list(shapes.observations)


def colour(filters, flux):
    """(...,) magnitudes between the bands of `COLOUR`, from (..., band) fluxes."""
    blue, red = (filters.names.index(band) for band in COLOUR)
    return -2.5 * np.log10(flux[..., blue] / flux[..., red])


def colours(result, made):
    """By galaxy, draws and truth of the colour of its model."""
    filters, drawn = made.observations[0].filters, derived(result)
    found = {}
    for name in made.scene.sources:
        true = colour(filters, total(made.scene, name, filters))
        found[f"{name}.{'-'.join(COLOUR)}"] = colour(filters, drawn[f"{name}.flux"].values), float(true)
    return found


def total(scene, name, filters):
    """(band,) nJy of a galaxy as it is."""
    source = resolve(scene).sources[name]
    return np.asarray(source.light.spectrum.fluxes(filters, source.redshift), float)


def twice(made):
    """The likelihood counts twice."""
    return made.scene, [o.with_noise(weights=2 * o.weights) for o in made.observations]


def dropped(made):
    """The prior of a number that the data hardly know is flat."""
    return made.scene.free(WEAK, dist.Uniform(-4.0, -1.0)), made.observations


KINDS = {
    "populations": Kind(scenes.populations, "two blended populations of known redshift with dust inside"),
    "screens": Kind(scenes.screens, "a population behind a screen of dust, blended with one without dust"),
    "redshifts": Kind(
        faint,
        "two populations of free redshift, with global moves, from spectra that the images alone lead to",
        infer=from_images,
        wanted=MOVED,
        moves=True,
        further=colours,
    ),
    "twice": Kind(
        scenes.screens,
        "the scene of screens, sampled with a likelihood that counts twice",
        infer=twice,
        planted=True,
        wanted=PLANTED,
    ),
    "dropped": Kind(
        scenes.screens,
        f"the scene of screens, sampled with a flat prior of {WEAK}",
        infer=dropped,
        planted=True,
        wanted=PLANTED,
    ),
}
