"""Scenes and fits of scarlet2 0.5.1, as its own guide sets them up, with a log of every optimiser step."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scarlet2 as sc2
from blends import STAMP, Blend, SimulatedBlend
from numpyro.distributions import constraints
from scarlet2 import infer

STAMP_SHAPE = (STAMP, STAMP)
SMALLEST = 1e-6
StepSize = float | Callable[..., Any]

# The step sizes that the scarlet2 guide recommends for 0.5.1; they act on the unconstrained parameters.
SPECTRUM_STEP = partial(sc2.relative_step, factor=0.05)
MORPHOLOGY_STEP = partial(sc2.relative_step, factor=1e-3)
CENTRE_STEP = 0.1
PROFILE_STEP = 0.01


class StepLog:
    """Context manager that times every optimiser step taken by `scarlet2.fit` inside it.

    `scarlet2.fit` calls the compiled `scarlet2.infer._make_step` once an iteration and waits for its result,
    so replacing that one function by a timed call measures what a user runs, without the cost of a callback.

    Attributes:
        begin, end: clock readings (`time.perf_counter`) around each step.
        losses: the loss that each step reports, which is that of the parameters *before* its update.
    """

    def __init__(self) -> None:
        self.begin: list[float] = []
        self.end: list[float] = []
        self.losses: list[float] = []
        self._original: Callable[..., Any] = infer._make_step

    def __enter__(self) -> StepLog:
        infer._make_step = self._timed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        infer._make_step = self._original

    def _timed(self, *arguments: Any) -> Any:
        self.begin.append(time.perf_counter())
        result = jax.block_until_ready(self._original(*arguments))
        self.end.append(time.perf_counter())
        self.losses.append(float(result[1]))
        return result

    @property
    def step_seconds(self) -> list[float]:
        """Duration of each step, the first with its tracing and compilation."""
        return [end - begin for begin, end in zip(self.begin, self.end, strict=True)]

    @property
    def loop_seconds(self) -> list[float]:
        """Time from the end of one step to the end of the next: a step and the Python work between steps."""
        return [after - before for before, after in zip(self.end, self.end[1:], strict=False)]


def observe(blend: Blend, psf: sc2.PSF | None = None) -> tuple[sc2.Observation, sc2.Frame]:
    """Observation and model frame of a blend, matched; the model PSF is scarlet2's default, sigma 0.7 pixels."""
    observation = sc2.Observation(
        blend.images, weights=1 / blend.variance, psf=blend.psfs, channels=list(blend.bands), name=blend.name
    )
    frame = sc2.Frame.from_observations(observation, model_psf=psf)
    observation.match(frame)
    return observation, frame


def start_from_data(
    observation: sc2.Observation,
    frame: sc2.Frame,
    blend: Blend,
    box: int | None = None,
) -> sc2.Scene:
    """Sources at the peaks, started by scarlet2's own helpers as in its guide: known stars are points.

    Args:
        observation, frame: as `observe` made them.
        blend: gives the peaks and which of them are stars.
        box: odd width of the box of every source that is not a star, in pixels. None keeps the boxes that the
            helper chooses, as the guide does; in a blend they are small and cut extended galaxies off.
    """
    with sc2.Scene(frame) as scene:
        for peak, is_star in zip(blend.peaks, blend.is_star, strict=True):
            centre = jnp.asarray(peak)
            if is_star:
                spectrum = sc2.init.pixel_spectrum(observation, centre, correct_psf=True)
                sc2.PointSource(centre, jnp.maximum(spectrum, SMALLEST))
            else:
                spectrum, image = _start_image(observation, centre, box)
                # A spectrum that is not positive violates its constraint: the fit would be NaN, silently.
                sc2.Source(centre, jnp.maximum(spectrum, SMALLEST), image)
    return scene


def _start_image(
    observation: sc2.Observation,
    centre: jax.Array,
    box: int | None,
) -> tuple[jax.Array, jax.Array]:
    try:
        spectrum, image = sc2.init.from_gaussian_moments(observation, centre)
    except ValueError:  # no positive second moments: the guide's own way out
        spectrum, image = sc2.init.pixel_spectrum(observation, centre), sc2.init.compact_morphology()
    if box is None:
        return spectrum, image
    gaussian = sc2.GaussianMorphology.from_image(image)
    wider = sc2.GaussianMorphology(gaussian.size, gaussian.ellipticity, shape=(box, box))()
    wider = jnp.clip(wider, SMALLEST, 1 - SMALLEST)
    return spectrum * image.sum() / wider.sum(), wider


def free_scene(frame: sc2.Frame, blend: SimulatedBlend) -> sc2.Scene:
    """Sources with a free spectrum and a free 41x41 image, started near the blend's own values."""
    rows, columns = np.indices(STAMP_SHAPE) - STAMP_SHAPE[0] // 2
    with sc2.Scene(frame) as scene:
        for peak, radius, flux in zip(blend.peaks, blend.radii, blend.fluxes, strict=True):
            image = np.clip(np.exp(-(rows**2 + columns**2) / (2 * radius**2)), SMALLEST, 1 - SMALLEST)
            sc2.Source(jnp.asarray(peak), jnp.asarray(flux / image.sum()), jnp.asarray(image))
    return scene


def sersic_scene(frame: sc2.Frame, blend: SimulatedBlend) -> sc2.Scene:
    """Sources with a free spectrum and a Sersic profile in a 41x41 box, started near the blend's values."""
    with sc2.Scene(frame) as scene:
        for peak, radius, flux in zip(blend.peaks, blend.radii, blend.fluxes, strict=True):
            profile = sc2.SersicMorphology(
                jnp.asarray(1.0),
                jnp.asarray(1.2 * radius),
                ellipticity=jnp.asarray([0.05, -0.05]),
                shape=STAMP_SHAPE,
            )
            # scarlet2's profile is 1 at the effective radius: over the plane, 12 Re^2 for an index of 1.
            sc2.Source(jnp.asarray(peak), jnp.asarray(flux / (12 * (1.2 * radius) ** 2)), profile)
    return scene


def free_parameters(scene: sc2.Scene, morphology_step: StepSize = MORPHOLOGY_STEP) -> None:
    """Free every spectrum, the centre of every point source, and every pixel of the other sources' images."""
    with sc2.Parameters(scene):
        for index, source in enumerate(scene.sources):
            _free_spectrum(index, source)
            if isinstance(source, sc2.PointSource):
                sc2.Parameter(source.center, name=f"center:{index}", stepsize=CENTRE_STEP)
            else:
                sc2.Parameter(
                    source.morphology,
                    name=f"morphology:{index}",
                    constraint=constraints.unit_interval,
                    stepsize=morphology_step,
                )


def sersic_parameters(scene: sc2.Scene) -> None:
    """Free every spectrum, centre, radius, index and ellipticity."""
    with sc2.Parameters(scene):
        for index, source in enumerate(scene.sources):
            _free_spectrum(index, source)
            profile = source.morphology
            sc2.Parameter(source.center, name=f"center:{index}", stepsize=CENTRE_STEP)
            for name, node, constraint in (
                ("size", profile.size, constraints.positive),
                ("n", profile.n, constraints.interval(0.5, 6.0)),
                ("ellipticity", profile.ellipticity, sc2.constraint.unit_disk),
            ):
                sc2.Parameter(node, name=f"{name}:{index}", constraint=constraint, stepsize=PROFILE_STEP)


def _free_spectrum(index: int, source: sc2.Source) -> None:
    sc2.Parameter(
        source.spectrum,
        name=f"spectrum:{index}",
        constraint=constraints.positive,
        stepsize=SPECTRUM_STEP,
    )


def renderer_names(observation: sc2.Observation) -> list[str]:
    """Class names of the steps from the model frame to the observation, to prove which path was timed."""
    renderer = observation.renderer
    steps = getattr(renderer, "layers", (renderer,))
    return [type(step).__name__ for step in steps]
