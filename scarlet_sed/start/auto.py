"""Which model each source needs: start from Sersic, try less or more where the data ask for it, keep what pays.

All sources are fitted together in every round, so blends are judged with their neighbours in place, and one program
serves all trials of a round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from scarlet_sed.errors import SourceError
from scarlet_sed.infer import FitResult, fit
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.start.combine import stack
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.edges import off_the_edge
from scarlet_sed.start.evidence import Footprints, Goodness, better, footprints, goodness, parameter_count
from scarlet_sed.start.fluxes import initialize
from scarlet_sed.start.initialize import initial_scene, make_source, picture, seed_of
from scarlet_sed.start.models import Seed, added_part, blend_of, light_of
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.start.sky import observed_sky
from scarlet_sed.typing import HostArray

_EXCESS = 5.0
"""Standard deviations of a footprint's chi-square above which a source is tried with a richer model."""

_STRUCTURED = 1.5
"""Chi-square per independent pixel above which no smooth model is tried first: arms, rings, knots."""

_COMPACT = 0.5
"""Fitted half-light radius over the PSF's FWHM below which a source is tried as a point."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Models chosen for all sources.

    Args:
        scene: with the chosen models, started from the last fit: ready for a final fit.
        observations: with sky, shift and calibration where the last fit left them.
        models: class by source's name.
        goodness: chi-square of each source's footprint under the last fit of the chosen models.
        fits: one for each round.
    """

    scene: Scene
    observations: list[Observation]
    models: dict[str, str]
    goodness: Goodness
    fits: list[FitResult]


def choose_models(
    observations: Observations,
    frame: Frame,
    detections: Detections,
    models: Mapping[str, str] | None = None,
    *,
    steps: int = 100,
    error_budget: float = 1e-3,
    progress: bool = False,
) -> Choice:
    """Choose a model for each source by the Bayesian information criterion over its footprint.

    Every source starts as a Sersic profile. A compact one is tried as a point; one whose footprint has more
    chi-square than noise explains is tried as two Sersic profiles, and with a free image added where those are not
    enough. The noise is that of the blank sky plus the sources' own, not what the weights say.

    Args:
        observations: one or several, as they will be fitted.
        frame: the model grid.
        detections: from `detect`; a catalogue has no footprints.
        models: classes of sources by name that are not to be chosen.
        steps: of the fit of each round.
        error_budget: see `Scene`.
        progress: whether fits show progress bars.

    Raises:
        SourceError: for detections without images.
    """
    if detections.labels is None:
        raise SourceError(
            "a catalogue has no footprints to choose models by", fix="run detect, or name a model (such as sersic)"
        )
    several, held = as_list(observations), dict(models or {})
    prints = footprints(detections, several, {o.name: observed_sky(o) for o in several})
    chosen = {name: held.get(name, "sersic") for name in detections.names}
    scene = initial_scene(several, frame, detections, "sersic", held, error_budget=error_budget)
    trial = _Trial(detections, several, prints, steps, progress)
    state = trial.run(scene, several)
    fits = [state.fit]
    for _ in range(2):
        wanted = {n: m for n, m in _proposals(state, detections, chosen).items() if n not in held}
        if not wanted:
            break
        tried = trial.run(trial.changed(state, wanted), list(state.fit.observations))
        fits.append(tried.fit)
        kept = {name: model for name, model in wanted.items() if _pays(state, tried, detections, name)}
        rejected = [name for name in wanted if name not in kept]
        chosen |= kept
        # what did not pay goes back to where it was, and is not tried again
        held |= {name: chosen[name] for name in rejected}
        state = _with_sources(tried, {name: state.scene.sources[name] for name in rejected})
    ready = list(state.fit.observations)
    return Choice(off_the_edge(initialize(state.scene, ready)), ready, chosen, state.good, fits)


@dataclass(frozen=True, eq=False)
class _State:
    """A fitted scene and how well it describes each footprint."""

    scene: Scene
    fit: FitResult
    good: Goodness


@dataclass(frozen=True, eq=False)
class _Trial:
    """What does not change from round to round."""

    detections: Detections
    given: list[Observation]
    prints: Footprints
    steps: int
    progress: bool

    def run(self, scene: Scene, observations: list[Observation]) -> _State:
        result = fit(off_the_edge(scene), observations, steps=self.steps, uncertainties=False, progress=self.progress)
        good = goodness(self.prints, result.models, len(self.detections))
        return _State(result.scene, result, good)

    def changed(self, state: _State, wanted: Mapping[str, str]) -> Scene:
        """The fitted scene with some sources given other models, started from what the fit knows."""
        assert self.detections.combined is not None
        # all of the source's light, not what its smooth model leaves: a profile that tried to follow a ring is too
        # bright inside it, and a free image cannot take light away
        light = {
            o.name: np.asarray(o.data, dtype=np.float64) - np.asarray(o.values["sky"])[:, None, None]
            for o in state.fit.observations
        }
        image = stack(self.detections.combined, state.fit.observations, light)
        bands = tuple(dict.fromkeys(band for o in self.given for band in o.bands))
        sources = dict(state.scene.sources)
        for name, model in wanted.items():
            index = self.detections.names.index(name)
            sources[name] = self._source(sources[name], index, model, bands, image)
        return initialize(state.scene.with_sources(sources), list(state.fit.observations))

    def _source(self, old: Source, index: int, model: str, bands: tuple[str, ...], image: HostArray) -> Source:
        seed = _fitted_seed(seed_of(self.detections, index), old)
        fresh = make_source(self.detections, index, model, bands, self.detections.frame)
        position = fresh.set({"position": old.values["position"]}).position
        if model == "point":
            return Source(position, light_of(model, seed, bands), old.redshift)
        # what was fitted stays, so that the richer model starts from no worse a place
        seed = seed._replace(picture=picture(self.detections, index, image))
        added = added_part(model, seed)
        before = [component.morphology for _, component in old.components()]
        names = ["sersic"] if len(before) == 1 and added.name == "pixels" else ["inner", "outer"][: len(before)]
        return Source(
            position,
            blend_of({**dict(zip(names, before, strict=True)), added.name: added.morphology}, seed, bands),
            old.redshift,
            old.box or fresh.box,
        )


def _fitted_seed(seed: Seed, old: Source) -> Seed:
    values = old.values
    flux = np.concatenate([np.ravel(v) for path, v in values.items() if path.endswith("spectrum.flux")])
    radius = values.get("morphology.radius")
    shape = values.get("morphology.ellipticity")
    return seed._replace(
        flux=float(max(np.max(flux), 1e-6)),
        radius=seed.radius if radius is None else float(radius),
        ellipticity=seed.ellipticity if shape is None else np.clip(np.asarray(shape), -0.65, 0.65),
    )


def _proposals(state: _State, detections: Detections, chosen: Mapping[str, str]) -> dict[str, str]:
    """What to try for each source, given how the present models do."""
    assert detections.combined is not None
    fwhm = detections.combined.fwhm * detections.combined.grid.pixel_scale
    wanted = {}
    for index, name in enumerate(detections.names):
        model = chosen[name]
        excess, reduced = state.good.excess[index], state.good.reduced[index]
        radius = state.scene.sources[name].values.get("morphology.radius")
        if excess > _EXCESS and model == "sersic":
            wanted[name] = "sersic+pixels" if reduced > _STRUCTURED else "sersic+sersic"
        elif excess > _EXCESS and model == "sersic+sersic":
            wanted[name] = "sersic+sersic+pixels"
        elif model == "sersic" and radius is not None and float(radius) < _COMPACT * fwhm:
            wanted[name] = "point"
    return _without_parts(wanted, detections)


def _without_parts(wanted: dict[str, str], detections: Detections) -> dict[str, str]:
    """Leave out free images of faint sources inside the free image of a far brighter one: it may explain them."""
    kept: dict[str, str] = {}
    for name, model in wanted.items():  # the most significant come first
        index = detections.names.index(name)
        hosts = [detections.names.index(other) for other, its in kept.items() if its.endswith("pixels")]
        inside = any(
            np.hypot(*(detections.position[index] - detections.position[host])) < 0.5 * detections.extent[host]
            and detections.snr[index] < 0.3 * detections.snr[host]
            for host in hosts
        )
        if not (inside and model.endswith("pixels")):
            kept[name] = model
    return kept


def _pays(before: _State, after: _State, detections: Detections, name: str) -> bool:
    index = detections.names.index(name)
    assert detections.combined is not None
    sigma = detections.combined.fwhm * detections.combined.grid.pixel_scale / 2.354820045
    old, new = (parameter_count(state.scene.sources[name], 4 * np.pi * sigma**2) for state in (before, after))
    return better(before.good, after.good, index, new - old)


def _with_sources(state: _State, sources: Mapping[str, Source]) -> _State:
    return replace(state, scene=state.scene.with_sources({**state.scene.sources, **sources})) if sources else state
