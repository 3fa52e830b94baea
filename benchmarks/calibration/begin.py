"""Where fits and chains of blended populations begin, if nothing but the images is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.amortized.starts import network_starts
from scarlet_sed.infer.result import FitResult
from scarlet_sed.start.populations import with_populations


def free_fluxes(scene: ss.Scene, observation: ss.Observation) -> FitResult:
    """The fit of a scene's shapes and places with a flux for each band in place of its spectra.

    Args:
        scene: where the shapes begin.
        observation: the images.
    """
    bands = observation.bands
    spectrum = ss.FreeSpectrum(ss.Parameter(np.full(len(bands), 10.0), dist.Normal(20.0, 200.0)), bands)
    sources = {
        name: ss.Source(source.position, spectrum * source.light.morphology, box=source.box)
        for name, source in scene.sources.items()
    }
    free = ss.initialize(scene.with_sources(sources), observation)
    return ss.fit(free, observation, uncertainties=False, progress=False)


def populations(shapes: FitResult, scene: ss.Scene, posterior: ss.AmortizedPosterior | None) -> ss.Scene:
    """The scene in those shapes, with spectra that fit their fluxes.

    Args:
        shapes: what `free_fluxes` found.
        scene: of populations with the same shapes, all of one prior of the redshift.
        posterior: whose draws the spectra begin at; None for a library's.
    """
    options = {} if posterior is None else {"begin": partial(network_starts, posterior)}
    prior = next(iter(scene.sources.values())).redshift.prior
    found = with_populations(
        shapes.scene, shapes.observations[0], ss.deep_field_population(), redshift=prior, **options
    )
    values = {path: value for path, value in found.scene.values.items() if path in scene.parameters}
    return scene.set(values)
