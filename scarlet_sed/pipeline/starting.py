"""From observations to a fit, as a configuration asks: noise, sources, models, optimiser."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpyro.distributions as dist
from scipy import ndimage

from scarlet_sed.errors import ConfigError, DataError
from scarlet_sed.infer import FitResult, fit
from scarlet_sed.infer.optimize import refined
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.config import Config
from scarlet_sed.io.flags import ASTRAY_LIMIT
from scarlet_sed.parameters import Parameter
from scarlet_sed.paths import replace_slots
from scarlet_sed.pipeline.listed import catalog_models, catalog_redshifts, from_catalog
from scarlet_sed.scene import Scene
from scarlet_sed.spectrum.priors import deep_field_population
from scarlet_sed.start.auto import choose_models
from scarlet_sed.start.boxes import with_room
from scarlet_sed.start.detect import detect
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.edges import off_the_edge
from scarlet_sed.start.initialize import initial_scene
from scarlet_sed.start.observations import free_sky
from scarlet_sed.start.populations import Begin, Populated, with_populations

_LAGS = 32
"""Pixels over which noise is taken to be correlated: drizzling reaches 3, residuals of flat fields and sky far more."""

_SHAPE_STEPS = 150
"""Of the fit with free fluxes whose shapes and fluxes start the populations."""

_RETURNS = 2
"""How often sources that left their places are sent back to them, and boxes grow."""

_FEW_BANDS = 8
"""With fewer bands than this the report says that priors rule."""

Stage = Callable[[str], AbstractContextManager[None]]


class Started(NamedTuple):
    """A fit, and what was done on the way to it that a reader should know."""

    fit: FitResult
    notes: tuple[str, ...]
    populated: Populated | None = None


def start_and_fit(config: Config, given: list[Observation], stage: Stage, *, progress: bool = True) -> Started:
    """Prepare the observations, find the sources, choose models and fit.

    Args:
        config: what to do.
        given: the observations as they were read.
        stage: times a named block.
        progress: whether to show progress bars.

    Raises:
        DataError: if there is no source.
        SourceError: if a model is asked for a source that does not exist.
    """
    with stage("prepare"):
        observations = prepare(config, given)
        frame = Frame.covering(observations, oversampling=config.frame.oversampling)
    with stage("detect"):
        sources = find_sources(config, observations, frame)
        observations, notes = without_outliers(observations, sources)
    with stage("models"):
        models = asked_models(config, sources)
        scene, observations = choose(config, models, observations, frame, sources, progress=progress)
        scene = Scene(scene.sources, scene.frame, scene.error_budget, config.fit.flux_guard)
    populated, few = None, [name for name, model in models.items() if model == "population"]
    if few:
        with stage("shapes"):
            few_steps = min(config.fit.steps, _SHAPE_STEPS)
            shaped = settled(
                scene,
                observations,
                lambda s: fit(s, observations, steps=few_steps, uncertainties=False, progress=progress),
            )
        with stage("populations"):
            populated = populate(config, shaped, sources, few)
        scene, observations = populated.scene, list(shaped.observations)
        notes = (*notes, *_about(populated))
    with stage("fit"):
        # populations begin from shapes that have been sent back already
        run = partial(_fitted, config, observations, progress)
        result = run(scene) if few else settled(scene, observations, run)
    if config.fit.uncertainties:
        with stage("uncertainties"):
            result = refined(result, config.fit.polish)
    return Started(result, notes, populated)


def _fitted(config: Config, observations: list[Observation], progress: bool, scene: Scene) -> FitResult:
    options = config.fit
    return fit(
        scene,
        observations,
        method="lbfgs" if options.method == "lbfgs" else "adam",
        steps=options.steps,
        learning_rate=options.learning_rate,
        tolerance=options.tolerance,
        uncertainties=False,
        progress=progress,
    )


def settled(scene: Scene, observations: list[Observation], run: Callable[[Scene], FitResult]) -> FitResult:
    """A fit whose sources stayed where their priors put them and fit their boxes, if there is one.

    While a bright source's shape is still wrong, a faint neighbour may serve as a part of it, and stay there. Such a
    source goes back to where it began, beside neighbours that now have their shapes. And a source that turned out
    larger than it looked shines beyond its box, where its neighbours would take that light for theirs: its box grows.
    Then the fit goes on.

    Args:
        scene: to begin with.
        observations: that are fitted.
        run: fits a scene.
    """
    result = run(scene)
    for _ in range(_RETURNS):
        astray = [name for name, source in result.scene.sources.items() if source.position_pull > ASTRAY_LIMIT]
        roomy = with_room(result.scene, observations)
        if not astray and roomy is result.scene:
            break
        back = {name: scene.sources[name].boxed(roomy.sources[name].box) for name in astray}
        result = run(off_the_edge(roomy.with_sources({**roomy.sources, **back})))
    return result


def _about(populated: Populated) -> Iterator[str]:
    """What a reader should know about the populations."""
    bands = len(populated.filters)
    if bands < _FEW_BANDS and populated.starts:
        yield (
            f"{bands} bands say little about redshift, age, dust and metallicity apart: what the spectra say rests on "
            "their priors as well, and a redshift may have other modes than the one that is listed"
        )
    if populated.stars:
        yield f"points that a black body describes better than a galaxy: {', '.join(populated.stars)}"


def asked_models(config: Config, sources: Detections) -> dict[str, str]:
    """The class of model of every source, as the configuration and its catalogue ask."""
    asked = dict(config.model.sources)
    if config.catalog is not None:
        asked = catalog_models(config.catalog, sources) | asked
    return dict.fromkeys(sources.names, config.model.default) | asked


def populate(config: Config, shaped: FitResult, sources: Detections, names: list[str]) -> Populated:
    """The scene with populations for some of its sources, started from the fluxes of a fit of shapes."""
    options = config.population
    known = {} if config.catalog is None else catalog_redshifts(config.catalog, sources)
    return with_populations(
        shaped.scene,
        shaped.observations,
        deep_field_population(options.history),
        names=names,
        redshift=dist.Uniform(options.redshift_min, options.redshift_max),
        known=known,
        floor=options.floor,
        begin=_begin(options.posterior),
        seed=config.seed,
    )


def _begin(posterior: Path | None) -> Begin | None:
    """Where fits of populations begin; None for draws from the priors."""
    if posterior is None:
        return None
    # imported here, for flows take a second, which other fits do without
    starts, file = (import_module(f"scarlet_sed.amortized.{name}") for name in ("starts", "file"))
    ships = posterior.name in file.SHIPPED and not posterior.exists()
    begin: Begin = partial(starts.network_starts, file.load_amortized(posterior.name if ships else posterior))
    return begin


def choose(
    config: Config,
    asked: Mapping[str, str],
    observations: list[Observation],
    frame: Frame,
    sources: Detections,
    *,
    progress: bool,
) -> tuple[Scene, list[Observation]]:
    """The scene to fit, with models as configured or, for "auto", chosen by evidence, and where observations stand.

    Sources of the model "population" get its shape with free fluxes.
    """
    shape = config.population.morphology
    models = {name: shape if model == "population" else model for name, model in asked.items()}
    budget = config.frame.error_budget
    if "auto" not in models.values():
        scene = initial_scene(observations, frame, sources, "sersic", models, error_budget=budget)
        return scene, observations
    if config.catalog is not None:
        raise ConfigError(
            "a source of the [catalog] has the model 'auto', which needs detection",
            fix="set `model.default` (such as 'sersic'), or drop [catalog]",
        )
    held = {name: model for name, model in models.items() if model != "auto"}
    choice = choose_models(observations, frame, sources, held, error_budget=budget, progress=progress)
    return choice.scene, choice.observations


def without_outliers(observations: list[Observation], sources: Detections) -> tuple[list[Observation], tuple[str, ...]]:
    """The observations with pixels masked that no source can make, and a note on how many those are."""
    ready, notes = [], []
    for observation in observations:
        bad = sources.outliers.get(observation.name)
        used = np.asarray(observation.weights) > 0
        count = 0 if bad is None else int(np.sum(bad & used))
        ready.append(observation.with_mask(bad) if count else observation)
        if count:
            notes.append(
                f"{observation.name}: {count} pixels ({count / used.sum():.2%}) are sharper than the PSF allows "
                "(hot pixels, cosmic rays) and were masked"
            )
    return ready, tuple(notes)


def prepare(config: Config, given: list[Observation]) -> list[Observation]:
    """Observations as the fit weighs them: noise, sky and free instrument parameters."""
    ready = [_with_noise(observation, config) for observation in given]
    if config.sky.fit or config.sky.estimate:
        started = free_sky(ready)
        ready = started if config.sky.fit else [o.freeze("sky") for o in started]
    if config.sky.fit and not config.sky.estimate:
        ready = [o.set({"sky": np.zeros(o.shape[0])}) for o in ready]
    # one band must stay as it is, or fluxes and positions have nothing to refer to: the first of the first observation
    if config.fit.fit_calibration:
        ready = [_free(o, "calibration", 1.0, 0.05, first=i == 0) for i, o in enumerate(ready)]
    if config.fit.fit_shift:
        ready = [_free(o, "shift", 0.0, 0.05, first=i == 0) for i, o in enumerate(ready)]
    return ready


def find_sources(config: Config, observations: list[Observation], frame: Frame) -> Detections:
    """Detect sources, or take them from the configured catalogue.

    Raises:
        DataError: if there is none.
    """
    if config.catalog is not None:
        found = from_catalog(config.catalog, observations, frame)
    else:
        options = config.detection
        found = detect(observations, frame, threshold=options.threshold_sigma, contrast=options.deblend_contrast)
    if len(found) == 0:
        raise DataError(
            "no source was found", fix="lower `detection.threshold_sigma`, check the noise, or give a [catalog]"
        )
    return found


def _with_noise(observation: Observation, config: Config) -> Observation:
    """Weights from the scatter of blank sky where asked for, and correlated noise where asked for."""
    correlated = config.data.noise_model == "correlated"
    if config.sky.noise == "given" and not correlated:
        return observation
    used = np.asarray(observation.weights) > 0
    data = np.where(used, np.asarray(observation.data, dtype=float), 0.0)
    given = np.where(used, 1.0 / np.where(used, np.asarray(observation.weights, dtype=float), 1.0), 0.0)
    estimate = estimate_noise(data, ~used, variance=given)
    if config.sky.noise == "estimated":
        light = np.where(used, data - estimate.sky[:, None, None], 0.0)
        smooth = np.stack([ndimage.gaussian_filter(image, 1.0) for image in light])
        observation = observation.with_noise(weights=np.where(used, 1.0 / estimate.variance(smooth), 0.0))
    if correlated:
        weights = np.asarray(observation.weights, dtype=float)
        lags = max(1, min(_LAGS, min(observation.grid.shape) // 4))
        noise = CorrelatedNoise.estimate(data, estimate.blank, weights=weights, lags=lags, fill_steps=1)
        observation = observation.with_noise(noise)
    return observation


def _free(observation: Observation, name: str, value: float, width: float, *, first: bool) -> Observation:
    """Free a parameter of every band, with a prior so narrow that it is fixed for the very first band."""
    shape = observation.values[name].shape
    widths = np.full(shape, width)
    if first:
        widths[0] = 1e-6
    start = np.full(shape, value)
    return replace_slots(observation, {name: Parameter(start, dist.Normal(start, widths))})
