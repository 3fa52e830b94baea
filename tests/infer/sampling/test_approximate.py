"""Quick draws against posteriors that are known, and what they say of themselves where they miss."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError, ParameterError
from scarlet_sed.infer.sampling import approximate, variational
from scarlet_sed.infer.sampling.status import heaviest, pareto_khat, worth
from scarlet_sed.infer.sampling.summary import summary_table
from scarlet_sed.infer.sampling.target import maximum_at, target_at
from scarlet_sed.report.posterior import PosteriorContent, posterior_figures, render_posterior
from tests.infer.sampling.toys import Density, linear_toy

METHODS = ("laplace", "svi")
RADIUS, SIGMA = 0.02, 0.2


def unresolved(width: float) -> tuple[ss.Scene, ss.Observation]:
    """A galaxy whose size the data limit from above only, so that its logarithm has a long tail.

    Args:
        width: of the prior of the logarithm.
    """
    bands = ("F115W",)
    blank = ss.Observation(np.zeros((1, 16, 16)), bands, ss.PSF.gaussian(2.4), sigma=SIGMA, pixel_scale=0.03, name="o")
    radius = ss.Parameter(RADIUS, dist.LogNormal(np.log(RADIUS), width))
    scene = ss.Scene(
        {"g": ss.Source((0.0, 0.0), ss.FreeSpectrum((5.0,), bands) * ss.Gaussian(radius))}, ss.Frame.covering(blank)
    )
    drawn = np.asarray(ss.render(scene, blank), float)
    return scene, blank.with_data(drawn + SIGMA * np.random.default_rng(1).normal(size=drawn.shape))


MEAN = np.array([1.0, -0.5], np.float32)
SLANT = np.array([[1.5, 0.0], [1.0, 0.6]], np.float32)


def slanted(whitened: jax.Array) -> jax.Array:
    """A Gaussian that is neither centred nor round."""
    away = np.linalg.inv(SLANT) @ (whitened - MEAN)
    return 0.5 * away @ away


def half(whitened: jax.Array) -> jax.Array:
    """A standard normal density of which only the half of negative first numbers is there."""
    return jax.numpy.where(whitened[0] < 0, 0.5 * whitened @ whitened, np.inf)


@pytest.fixture(scope="module")
def quick() -> ss.Posterior:
    toy = linear_toy()
    return ss.approximate(toy.scene, toy.observation, draws=100, chains=2, progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_scene(method):
    toy = linear_toy()
    fitted = ss.fit(toy.scene, toy.observation, uncertainties=False, progress=False)
    result = ss.approximate(fitted, method=method, draws=4000, progress=False)
    assert result.shape == (4, 4000) and result.status is ss.SampleStatus.APPROXIMATE
    assert result.khat is not None and result.khat < 0.7
    flat = np.concatenate([result.draws[p].reshape(16000, -1) for p in toy.paths], axis=-1).astype(float)
    spread = np.sqrt(np.diag(toy.covariance))
    assert np.all(np.abs(flat.mean(axis=0) - toy.mean) < 4 * spread / np.sqrt(len(flat)))
    # 16000 independent draws know a variance to 0.011 of itself
    scale = np.outer(spread, spread)
    np.testing.assert_allclose(np.cov(flat.T) / scale, toy.covariance / scale, atol=0.05)
    assert worth(result.statistics["log_weight"]) > 0.97


def test_the_centre_is_the_maximum_where_the_way_to_it_stopped_short():
    toy = linear_toy()
    posterior = ss.LogPosterior(toy.scene, toy.observation)
    coordinates = maximum_at(posterior, posterior.start, 8).coordinates
    aside = coordinates.unconstrained(np.full(coordinates.size, 0.5, np.float32))[0]
    target = target_at(posterior.program, coordinates._replace(origin=aside))
    there = approximate._centre(target)
    np.testing.assert_allclose(there, approximate._centre(target_at(posterior.program, coordinates)) - 0.5, atol=0.02)
    assert np.linalg.norm(there) > 1.0


def test_tails_that_a_gaussian_misses_are_called_that():
    found = ss.approximate(*unresolved(2.0), progress=False)
    assert found.status is ss.SampleStatus.POOR_APPROXIMATION and not found.status.success
    assert found.khat is not None and found.khat > heaviest(4000) == 0.7
    (row,) = [row for row in ss.check(found, 20).rows if row.name == "Pareto k-hat"]
    assert not row.good and "`sample`" in found.status.advice


def test_variational_inference_finds_the_mean_and_width_that_the_maximum_does_not_tell():
    scene, observation = unresolved(0.7)
    posterior = ss.LogPosterior(scene, observation)
    grid = np.linspace(np.log(RADIUS) - 3.5, np.log(RADIUS) + 3.5, 200)
    at = [float(posterior.log_prob(posterior.pack({"g.morphology.radius": np.exp(x)}))) + x for x in grid]
    density = np.exp(np.array(at) - np.max(at))
    mean = np.average(grid, weights=density)
    spread = np.sqrt(np.average((grid - mean) ** 2, weights=density))
    off, wide, share = {}, {}, {}
    for method in METHODS:
        found = ss.approximate(scene, observation, method=method, progress=False)
        logarithm = np.log(found.draws["g.morphology.radius"].astype(float))
        off[method], wide[method] = (logarithm.mean() - mean) / spread, logarithm.std() / spread
        share[method] = worth(found.statistics["log_weight"])
    assert abs(off["svi"]) < 0.1 and 0.9 < wide["svi"] < 1.05
    assert off["laplace"] > 0.2 and wide["laplace"] < 0.9
    assert share["svi"] > 0.8 > 0.5 > share["laplace"]


def test_variational_inference_fits_a_gaussian_that_is_far_from_round():
    gaussian = variational.variational(Density(2, slanted), 0, 2000, progress=False)
    drawn = gaussian(np.random.default_rng(0).standard_normal((40000, 2)))
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), SLANT @ SLANT.T, atol=0.12)


def test_a_second_scene_of_equal_shapes_compiles_nothing():
    def run(seed: int) -> None:
        toy = linear_toy(seed)
        for method in METHODS:
            ss.approximate(toy.scene, toy.observation, method=method, draws=50, steps=50, progress=False)

    run(1)
    before = variational._advance._cache_size(), approximate._potentials._cache_size(), approximate._slope.count
    run(2)
    assert (
        variational._advance._cache_size(),
        approximate._potentials._cache_size(),
        approximate._slope.count,
    ) == before


def test_draws_where_there_is_no_density_are_drawn_again():
    standard = variational.Gaussian(np.zeros(3), None)
    normal, potential = approximate._drawn(Density(3, half), standard, 500, seed=0)
    assert np.all(normal[:, 0] < 0)
    np.testing.assert_allclose(potential, 0.5 * np.sum(normal**2, axis=1), rtol=1e-5)
    # what is left of the Gaussian is the density, but for a constant
    assert pareto_khat(0.5 * np.sum(normal**2, axis=1) - potential) == 0.0


def test_khat_is_the_power_of_the_tail():
    uniform = np.random.default_rng(0).uniform(size=20000)
    for power in (0.3, 0.9):  # weights u^-k have k for the shape of their tail
        assert pareto_khat(-power * np.log(uniform)) == pytest.approx(power, abs=0.1)
    assert pareto_khat(np.append(uniform, -np.inf)) == np.inf
    assert heaviest(100) == 0.5 and heaviest(10**6) == 0.7


def test_worth_is_the_share_of_draws_that_carry_the_weight():
    assert worth(np.full(10, 3.0)) == 1.0
    assert worth(np.where(np.arange(10) < 2, 0.0, -50.0)) == pytest.approx(0.2)


def test_check_table_and_file_take_them(quick, tmp_path):
    found = ss.check(quick, 20)
    assert [row.name for row in found.rows] == ["draws", "Pareto k-hat", "a draw's worth, by its weight"]
    assert all(row.good for row in found.rows) and found.hardest == ()
    assert str(found).startswith("APPROXIMATE: ") and "p-values, nircam: F115W 0." in str(found)
    table = summary_table(quick)
    assert np.all(np.isnan(table["rhat"])) and np.all(table["sd"] > 0) and table.meta["status"] == "APPROXIMATE"
    with xarray.open_datatree(ss.save_posterior(quick, tmp_path / "quick.nc")) as tree:
        assert tree["posterior"].attrs["khat"] == quick.khat and tree["posterior"].attrs["status"] == "APPROXIMATE"
        np.testing.assert_allclose(tree["sample_stats"]["lp"], quick.log_density)
        np.testing.assert_allclose(tree["sample_stats"]["log_weight"], quick.statistics["log_weight"])
        np.testing.assert_allclose(tree["posterior"]["nircam.sky"], quick.draws["nircam.sky"])


def test_the_report_takes_them(quick):
    content = PosteriorContent("quick", quick, ss.check(quick, 20), summary_table(quick), ["a", "b"])
    names = [name for name, _ in posterior_figures(content)]
    assert names == ["residuals", "chains", "ranks", "corner a", "corner b"]
    page = render_posterior(content, dict.fromkeys(names, ""))
    assert "Pareto k-hat" in page and "approximate" in page


def test_draws_come_as_a_scene(quick):
    scene, (observation,) = quick.at(1, 3)
    np.testing.assert_allclose(scene["a"].light.spectrum.flux.value, quick.draws["a.spectrum.flux"][1, 3], rtol=1e-6)
    np.testing.assert_allclose(observation.sky.value, quick.draws["nircam.sky"][1, 3], rtol=1e-6)
    assert -np.max(quick.log_density) > -0.01


def test_senseless_arguments_are_refused():
    toy = linear_toy()
    for wrong in ({"method": "advi"}, {"draws": 0}, {"chains": 0}, {"steps": 0.5}, {"draws": 6}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            ss.approximate(toy.scene, toy.observation, **wrong)
    with pytest.raises(ParameterError, match=r"approximate\(fit\)"):
        ss.approximate(toy.scene)
    flat = toy.scene.free("a.spectrum.flux", dist.constraints.real)
    with pytest.raises(ImproperPriorError, match=r"a\.spectrum\.flux"):
        ss.approximate(flat, toy.observation)
    with pytest.raises(ParameterError, match="1000 numbers at most, and there are 1001"):
        variational.variational(Density(1001, half), 0, 10, progress=False)
