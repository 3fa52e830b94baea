"""Fits: recovery, status, history, uncertainties, compilations."""

import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.optimize import compilations, refined
from tests.infer.scenes import TRUTH, mock, observation, scene


@pytest.fixture(scope="module")
def fitted() -> ss.FitResult:
    obs, frame = mock()
    return ss.fit(scene(frame, free=True), obs, progress=False)


def test_fit_finds_the_truth_within_its_errors(fitted: ss.FitResult) -> None:
    assert fitted.status is ss.FitStatus.CONVERGED and fitted.status.success and fitted.status.advice
    pulls = []
    for name, (position, flux, radius) in TRUTH.items():
        truth = {"position": position, "spectrum.flux": flux, "morphology.radius": radius}
        truth["morphology.ellipticity"] = (0.1, 0.2)
        for slot, value in truth.items():
            path = f"{name}.{slot}"
            pulls.append((np.asarray(fitted.scene.values[path]) - value) / fitted.uncertainties[path])
    pulls = np.concatenate([np.atleast_1d(p) for p in pulls])
    assert np.max(np.abs(pulls)) < 4
    assert 0.5 < np.std(pulls) < 1.6


def test_chi_square_is_that_of_the_noise(fitted: ss.FitResult) -> None:
    for value in fitted.chi2["nircam"].values():
        assert value == pytest.approx(1.0, abs=0.1)


def test_best_iterate_is_by_log_posterior(fitted: ss.FitResult) -> None:
    """The returned density is the best in the history (up to float32 sums), and is that of the returned scene."""
    assert fitted.log_posterior == pytest.approx(-np.min(fitted.loss), abs=0.05)
    again = ss.LogPosterior(fitted.scene, fitted.observations)
    assert float(again.log_prob(again.start)) == pytest.approx(fitted.log_posterior, abs=0.05)
    assert fitted.steps == len(fitted.loss)


def test_prior_counts(fitted: ss.FitResult) -> None:
    """A prior that excludes the truth drags the maximum with it: the best iterate is not chosen by chi-square."""
    obs, frame = mock()
    tight = scene(frame, free=True).free("a.morphology.radius", dist.LogNormal(np.log(0.2), 0.005))
    pulled = ss.fit(tight, obs, progress=False, uncertainties=False)
    radius = float(pulled.scene.values["a.morphology.radius"])
    assert 0.15 < radius < 0.2
    posterior = ss.LogPosterior(tight, obs)
    at_truth = posterior.log_prob(posterior.pack({"a.morphology.radius": 0.1}))
    assert pulled.log_posterior > float(at_truth)


def test_a_second_fit_of_equal_shapes_compiles_nothing(fitted: ss.FitResult) -> None:
    before = compilations()
    obs, _ = mock(seed=5)
    other = observation(np.asarray(obs.data), name="other")
    model = scene(ss.Frame.covering(other), free=True, names=("p", "q", "r"), offset=0.005)
    result = ss.fit(model, other, progress=False, learning_rate=2.0, tolerance=0.4)
    assert result.timing.compilations == 0
    assert compilations() == before


def test_lbfgs_reaches_the_same_maximum(fitted: ss.FitResult) -> None:
    obs, frame = mock()
    result = ss.fit(scene(frame, free=True), obs, method="lbfgs", steps=100, progress=False, uncertainties=False)
    assert result.log_posterior == pytest.approx(fitted.log_posterior, abs=0.5)


def test_source_models_sum_to_the_model(fitted: ss.FitResult) -> None:
    parts = fitted.source_models()
    total = sum(part["nircam"] for part in parts.values())
    np.testing.assert_allclose(total, fitted.models["nircam"], atol=1e-4)


def test_the_last_steps_reach_the_maximum_that_many_more_would(fitted: ss.FitResult) -> None:
    obs, frame = mock()
    begun = scene(frame, free=True)
    rough = ss.fit(begun, obs, steps=25, polish=0, progress=False)
    short = ss.fit(begun, obs, steps=25, polish=20, progress=False)
    assert rough.status is ss.FitStatus.MAX_STEPS and short.status is ss.FitStatus.CONVERGED
    assert rough.log_posterior < fitted.log_posterior - 1 < short.log_posterior
    assert short.steps > 25 and np.all(np.diff(short.loss[25:]) <= 0)
    for path, error in fitted.uncertainties.items():
        off = (np.asarray(short.scene.values[path]) - fitted.scene.values[path]) / error
        assert np.max(np.abs(off)) < 0.5, path


def test_too_few_steps_is_a_status() -> None:
    obs, frame = mock()
    result = ss.fit(scene(frame, free=True), obs, steps=25, progress=False, uncertainties=False)
    assert result.status is ss.FitStatus.MAX_STEPS and not result.status.success
    assert "steps" in result.status.advice
    assert result.uncertainties is None


def test_a_fit_that_ends_on_a_bound_can_go_on() -> None:
    """Fluxes that want to be far below their lower bound, onto which rounding puts them."""
    obs, frame = mock()
    bound = scene(frame, free=False).free("a.spectrum.flux", constraints.greater_than(-300.0))
    darker = obs.with_data(np.asarray(obs.data) - 50 * ss.render_sources(bound, obs)["a"])
    result = ss.fit(bound, darker, progress=False, uncertainties=False)
    np.testing.assert_allclose(result.scene.values["a.spectrum.flux"], -300.0, atol=1e-3)
    assert refined(result).status is ss.FitStatus.CONVERGED
    ss.LogPosterior(result.scene, darker).unconstrain(result.values)


def test_nothing_free_is_an_error() -> None:
    obs, frame = mock()
    with pytest.raises(ParameterError, match="no free parameters"):
        ss.fit(scene(frame, free=False), obs, progress=False)
    with pytest.raises(ParameterError, match="unknown method"):
        ss.fit(scene(frame, free=True), obs, method="newton", progress=False)


def test_laplace_is_exact_for_a_linear_gaussian_scene() -> None:
    """Free fluxes with Gaussian priors: mean and covariance in closed form."""
    obs, frame = mock()
    model = scene(frame, free=False).free("*.flux", dist.Normal(0, 50))
    result = ss.fit(model, obs, progress=False)
    units = {}
    for name in TRUTH:
        for band in range(3):
            one = {f"{n}.spectrum.flux": np.zeros(3) for n in TRUTH}
            one[f"{name}.spectrum.flux"] = np.eye(3)[band]
            units[name, band] = ss.render(model.set(one), obs).ravel() / 0.05
    design = np.stack(list(units.values()), axis=1).astype(float)
    precision = design.T @ design + np.eye(9) / 50**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ (design.T @ (np.asarray(obs.data, float).ravel() / 0.05))
    found = np.concatenate([result.scene.values[f"{n}.spectrum.flux"] for n in TRUTH])
    errors = np.concatenate([result.uncertainties[f"{n}.spectrum.flux"] for n in TRUTH])
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=0.01)
    assert np.max(np.abs(found - mean) / errors) < 0.1


def test_two_observations_on_two_grids() -> None:
    """A second, coarser observation with other bands shares the scene; the fit uses both."""
    fine, frame = mock()
    bands = ("F277W", "F356W")
    psfs = [ss.PSF.gaussian(fwhm=1.8), ss.PSF.gaussian(fwhm=2.0)]
    blank = ss.Observation(np.zeros((2, 24, 24)), bands, psfs, sigma=0.1, pixel_scale=0.06, name="long")
    frame = ss.Frame.covering([fine, blank])
    every = ("F115W", "F150W", "F200W", *bands)
    truth = ss.Source((0.05, 0.02), ss.FreeSpectrum((10, 20, 30, 40, 50), every) * ss.Gaussian(0.1))
    noise = np.random.default_rng(3)
    observed = []
    for o in (fine, blank):
        sigma = 0.05 if o is fine else 0.1
        image = ss.render(ss.Scene({"g": truth}, frame), o)
        data = image + noise.normal(0, sigma, image.shape)
        observed.append(
            ss.Observation(data, o.filters, o.psfs, sigma=sigma, pixel_scale=o.grid.pixel_scale, name=o.name)
        )
    model = ss.Scene({"g": truth}, frame).free("*.flux", dist.Normal(0, 100)).free("*.radius", dist.LogNormal(-2, 1))
    result = ss.fit(model, observed, progress=False)
    assert set(result.chi2) == {"nircam", "long"}
    pull = (result.scene.values["g.spectrum.flux"] - np.array([10, 20, 30, 40, 50])) / result.uncertainties[
        "g.spectrum.flux"
    ]
    assert np.max(np.abs(pull)) < 4
