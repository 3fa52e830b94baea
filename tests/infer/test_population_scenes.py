"""Stellar populations in scenes: shared engines, starts from fluxes, files, and errors before a fit."""

from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DomainError, FilterError
from scarlet_sed.infer import fisher
from scarlet_sed.infer.covariance import curvature_at
from scarlet_sed.infer.families import materialize
from scarlet_sed.infer.posterior import LogPosterior, log_prob
from scarlet_sed.io.catalog import build_catalog
from scarlet_sed.io.propagation import Correlations
from scarlet_sed.parameters import resolve
from scarlet_sed.scene import boxes
from scarlet_sed.start.populations import with_populations
from tests.sps import small_grid

BANDS = ("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W")


def blank(bands: tuple[str, ...] = BANDS, sigma: float = 1.0, data: np.ndarray | None = None) -> ss.Observation:
    image = np.zeros((len(bands), 40, 44)) if data is None else data
    return ss.Observation(image, bands, ss.PSF.gaussian(fwhm=2.5), sigma=sigma, pixel_scale=0.04, name="obs")


def population(log_mass: float, age: float, av: float) -> ss.StellarPopulation:
    return ss.StellarPopulation(
        ss.Parameter(log_mass, dist.Uniform(6.0, 12.0)),
        -0.3,
        -2.5,
        history=ss.Constant(ss.Parameter(age, dist.LogNormal(-1.0, 0.8))),
        attenuation=ss.Attenuation(ss.Calzetti(), ss.Parameter(av, dist.LogNormal(-1.0, 0.7)), 1.5),
        engine=small_grid.exact(),
    )


def source(where: tuple[float, float], spectrum: ss.Spectrum, redshift: float) -> ss.Source:
    shape = ss.Exponential(ss.Parameter(0.12, dist.LogNormal(-2.0, 0.5)))
    return ss.Source(where, spectrum * shape, ss.Parameter(redshift, dist.Uniform(0.05, 5.0)))


def scene_of(first: ss.Spectrum, second: ss.Spectrum) -> ss.Scene:
    sources = {"a": source((0.2, 0.1), first, 0.9), "b": source((-0.3, -0.2), second, 2.4)}
    return ss.Scene(sources, ss.Frame.covering(blank()))


def observed(scene: ss.Scene, rng: np.random.Generator) -> ss.Observation:
    image = np.asarray(ss.render(scene, blank()))
    sigma = 0.004 * image.max()
    return blank(sigma=sigma, data=image + rng.normal(0.0, sigma, image.shape))


@pytest.fixture
def truth() -> ss.Scene:
    return scene_of(population(10.0, 0.5, 0.3), population(10.6, 2.0, 0.2))


def test_an_engine_is_held_once_however_many_sources_use_it(truth: ss.Scene, rng: np.random.Generator) -> None:
    posterior = LogPosterior(truth, observed(truth, rng))
    (group,) = posterior.program.groups
    assert group.component.spectrum.engine.old.shape == small_grid.exact().old.shape
    assert group.valid.shape == (2,)
    gradient = jax.grad(lambda values: log_prob(posterior.program, values))(posterior.start)
    assert all(np.all(np.isfinite(part)) for part in gradient)


def test_spectra_are_computed_together_whatever_their_boxes(
    truth: ss.Scene, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boxes make two groups, but one vectorised spectrum; another engine makes another."""
    monkeypatch.setattr(boxes, "_FREE_WASTE", 0)
    calls = []
    plain = ss.StellarPopulation.fluxes
    monkeypatch.setattr(ss.StellarPopulation, "fluxes", lambda *given: calls.append(1) or plain(*given))
    wide, other = truth.sources["b"], ss.ExactSynthesis(small_grid.small_grid())
    narrow = ss.Source((0.2, 0.1), truth.sources["a"].light, truth.sources["a"].redshift, box=0.5)
    apart = narrow.light.spectrum.replace(engine=other) * narrow.light.morphology
    for first, spectra in ((narrow, 1), (ss.Source((0.2, 0.1), apart, narrow.redshift, box=0.5), 2)):
        scene = truth.with_sources({"a": first, "b": wide})
        posterior = LogPosterior(scene, observed(scene, rng))
        program, values = posterior.program, posterior.start
        filters = program.observations[0].filters
        assert len(program.groups) == 2
        light = [materialize(group.light, values) for group in program.groups]
        calls.clear()
        found = program.fluxes(light, filters)
        assert len(calls) == spectra
        for name, fluxes in zip("ab", found, strict=True):
            one = scene.sources[name]
            alone = resolve(one.light.spectrum).fluxes(filters, one.redshift.value)
            np.testing.assert_allclose(fluxes[0], alone, rtol=1e-5)


def test_derivatives_that_only_change_fluxes_are_not_drawn(
    truth: ss.Scene, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two components share a redshift: its image is a sum of two multiples; the matrix is that of drawing them all."""
    light = {"core": population(9.8, 2.0, 0.2) * ss.Point(), "disk": truth.sources["a"].components()[0][1]}
    both = ss.Source((0.2, 0.1), light, ss.Parameter(0.9, dist.Uniform(0.05, 5.0)))
    scene = truth.with_sources({**truth.sources, "a": both})
    posterior = LogPosterior(scene, observed(scene, rng))
    unconstrained = posterior.unconstrain(posterior.start)
    quick = curvature_at(posterior, unconstrained)
    blocks = fisher._blocks(posterior, unconstrained, quick.directions)
    spared = fisher._spared(posterior, unconstrained, quick.directions, blocks)
    paths = {quick.directions[i].path for i in spared}
    assert paths >= {"a.redshift", "b.redshift", "a.core.spectrum.attenuation.av", "a.disk.spectrum.history.age"}
    monkeypatch.setattr(fisher, "_spared", lambda *_: {})
    whole = curvature_at(posterior, unconstrained).matrix
    scale = 1 / np.sqrt(np.diag(whole))
    np.testing.assert_allclose(quick.matrix * np.outer(scale, scale), whole * np.outer(scale, scale), atol=3e-4)


def test_fluxes_start_populations_and_the_fit_finds_them(truth: ss.Scene, rng: np.random.Generator) -> None:
    observation = observed(truth, rng)
    free = [ss.FreeSpectrum(ss.Parameter(np.ones(7), dist.HalfNormal(np.full(7, 1e4))), BANDS) for _ in range(2)]
    plain, known = population(9.0, 0.3, 0.3), {"a": 0.9, "b": 2.4}
    made = with_populations(scene_of(*free), observation, plain, known=known, library=1024, starts=4, steps=20)
    fit = ss.fit(made.scene, observation, steps=60, progress=False)
    assert fit.chi2["obs"]["F200W"] == pytest.approx(1.0, abs=0.15)
    for name in known:
        path = f"{name}.spectrum.log_mass"
        off = float(fit.scene.values[path] - truth.values[path])
        assert abs(off) < 4 * float(fit.uncertainties[path]) + 0.01, name
    together = Correlations(fit.laplace.order, fit.laplace.covariance)
    table = build_catalog(fit.scene, fit.observations, uncertainties=fit.uncertainties, correlations=together)
    assert np.all(np.isfinite(table["log_mass_error"])) and np.all(np.asarray(table["log_sfr"]) > -1)
    np.testing.assert_allclose(table["log_mass"], [10.0, 10.6], atol=0.2)
    assert {"av", "mean_age", "log_surviving_mass", "redshift_error"} <= set(table.colnames)
    assert np.all(np.isnan(table["redshift_error"]))  # they were given
    # the Gaussian of the fit, carried through nothing, gives the fit's own errors; through the light, those of fluxes
    paths = [path for path in fit.scene.parameters if path.startswith("a.spectrum.")]
    gaussian = fit.gaussian([*paths, "a.unknown"])
    assert gaussian is not None and set(gaussian.priors) == set(paths)
    for path, spread in gaussian.spread(lambda values: values).items():
        np.testing.assert_allclose(spread, fit.uncertainties[path], rtol=0.02)
        np.testing.assert_allclose(gaussian.values()[path], fit.scene.values[path], rtol=1e-5)
    short = gaussian.renamed({path: path.removeprefix("a.spectrum.") for path in paths})
    light = fit.scene.sources["a"].light.spectrum

    def fluxes(values: dict[str, jax.Array]) -> jax.Array:
        return light.set(values)(ss.Filters.load(BANDS), 0.9)

    listed = [table[f"flux_error_{band}"].value[0] for band in BANDS]
    np.testing.assert_allclose(short.spread(fluxes), listed, rtol=0.02)
    assert fit._replace(laplace=None).gaussian(paths) is None


def test_a_point_that_a_black_body_describes_is_a_star(rng: np.random.Generator) -> None:
    frame = ss.Frame.covering(blank())
    cool, young = ss.BlackBody(4200.0, 400.0), population(9.6, 0.3, 0.3)
    lights = {"star": cool * ss.Point(), "galaxy": young * ss.Point()}
    places = {"star": (0.3, 0.2), "galaxy": (-0.3, -0.2)}
    drawn = ss.Scene(
        {n: ss.Source(places[n], light, 1.3 if n == "galaxy" else 0.0) for n, light in lights.items()}, frame
    )
    observation = observed(drawn, rng)
    free = ss.FreeSpectrum(ss.Parameter(np.ones(7), dist.HalfNormal(np.full(7, 1e4))), BANDS)
    begun = ss.Scene({n: ss.Source(where, free * ss.Point()) for n, where in places.items()}, frame)
    options = {"library": 512, "starts": 4, "steps": 20, "redshift": dist.Uniform(0.05, 6.0)}
    made = with_populations(begun, observation, population(9.0, 0.3, 0.3), **options)
    assert made.stars == ("star",) and set(made.starts) == {"galaxy"}
    assert isinstance(made.scene.sources["star"].light.spectrum, ss.BlackBody)
    assert float(made.scene.values["star.spectrum.temperature"]) == pytest.approx(4200, rel=0.1)
    # a redshift that is known says that it is a galaxy
    known = with_populations(begun, observation, population(9.0, 0.3, 0.3), **options, known={"star": 1.0})
    assert known.stars == ()


def test_scenes_with_populations_are_saved_with_one_engine(truth: ss.Scene, tmp_path: Path) -> None:
    ss.save_scene(truth, tmp_path / "scene")
    again = ss.load_scene(tmp_path / "scene")
    engines = [source.light.spectrum.engine for source in again.sources.values()]
    assert engines[0] is engines[1]
    np.testing.assert_allclose(ss.render(again, blank()), ss.render(truth, blank()), rtol=1e-5, atol=1e-6)


def test_what_a_population_cannot_serve_is_said_before_the_fit(truth: ss.Scene) -> None:
    with pytest.raises(FilterError, match=r"^a: at redshift 0.05 the filter F770W"):
        LogPosterior(truth, blank(("F770W",)))
    still = ss.Scene({"a": ss.Source((0.0, 0.0), population(9.0, 1.0, 0.1) * ss.Point())}, truth.frame)
    with pytest.raises(DomainError, match=r"^a: the redshift 0"):
        LogPosterior(still, blank(("F200W",)))
