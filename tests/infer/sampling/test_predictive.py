"""Images that priors and posteriors expect, and draws as ArviZ has them."""

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError, ParameterError
from tests.infer.sampling.toys import BANDS, SIDE, SIGMA, WIDTH, linear_toy


@pytest.fixture(scope="module")
def drawn() -> ss.Posterior:
    toy = linear_toy()
    return ss.sample(toy.scene, toy.observation, warmup=100, draws=200, progress=False)


def test_the_posterior_predicts_the_data_it_comes_from(drawn):
    toy = linear_toy()
    found = ss.posterior_predictive(drawn, 200, seed=1)
    images = found.images["nircam"]
    assert images.shape == (200, len(BANDS), SIDE, SIDE)
    pull = (np.asarray(toy.observation.data) - images.mean(0)) / images.std(0)
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert np.std(images - found.models["nircam"]) == pytest.approx(SIGMA, rel=0.02)
    assert np.all((found.p_values()["nircam"] > 0.01) & (found.p_values()["nircam"] < 0.99))


def _against(drawn: ss.Posterior, data: np.ndarray) -> np.ndarray:
    """(band,) p-values of other data under the same draws."""
    toy = linear_toy()
    given = toy.observation
    observation = ss.Observation(
        data, BANDS, list(given.psfs), sigma=SIGMA, pixel_scale=0.03, name="nircam", sky=given.sky
    )
    other = eqx.tree_at(lambda t: t.program, drawn.target, ss.LogPosterior(toy.scene, observation).program)
    return ss.posterior_predictive(drawn._replace(target=other), 60).p_values()["nircam"]


def test_data_that_the_model_cannot_make_have_a_p_value_of_nothing(drawn):
    data = np.array(drawn.posterior.observations[0].data)
    data[0, 4:7, 4:7] += 10 * SIGMA
    p = _against(drawn, data)
    assert p[0] < 0.02 < p[1]


def test_noise_that_is_smaller_than_it_is_said_to_be_has_a_p_value_of_one(drawn):
    model = ss.posterior_predictive(drawn, 50).models["nircam"].mean(0)
    assert np.all(_against(drawn, 0.5 * np.array(drawn.posterior.observations[0].data) + 0.5 * model) > 0.98)


def test_the_prior_predicts_as_wide_as_it_is():
    toy = linear_toy()
    found = ss.prior_predictive(toy.scene, toy.observation, 300, seed=2)
    total = found.models["nircam"].sum((-2, -1))
    # two galaxies with fluxes of that width, and a sky of 0.02 in 400 pixels
    expected = np.sqrt(2 * WIDTH**2 + (0.02 * SIDE**2) ** 2)
    assert np.std(total) == pytest.approx(expected, rel=0.12)
    assert abs(np.mean(total)) < 4 * expected / np.sqrt(600)
    with pytest.raises(ImproperPriorError):
        ss.prior_predictive(toy.scene.free("a.spectrum.flux", dist.constraints.real), toy.observation)


@pytest.mark.parametrize(
    ("noise", "variance", "neighbour"),
    [
        (ss.GaussianNoise(), 1.0, 0.0),
        (ss.StudentT(10.0), 10 / 8, 0.0),
        (ss.CorrelatedNoise(np.exp(-0.5 * np.hypot(*np.mgrid[-3:4, -3:4]) ** 2)[None], (40, 40)), 1.0, np.exp(-0.5)),
    ],
    ids=["gaussian", "student", "correlated"],
)
def test_drawn_noise_has_the_variance_and_the_correlation_of_its_model(noise, variance, neighbour):
    weights = np.full((1, 40, 40), 4.0, np.float32)
    weights[0, :3] = 0.0
    drawn = np.asarray(jax.vmap(lambda key: noise.sample(key, weights))(jax.random.split(jax.random.key(0), 200)))
    assert np.all(drawn[:, 0, :3] == 0)
    seen = 2.0 * drawn[:, 0, 3:]
    assert np.var(seen) == pytest.approx(variance, rel=0.02)
    assert np.mean(seen[..., 1:] * seen[..., :-1]) == pytest.approx(neighbour, abs=0.02)


def test_draws_come_as_an_arviz_tree_with_coordinates_and_units(drawn, tmp_path):
    path = ss.save_posterior(drawn, tmp_path / "posterior.nc")
    tree = xarray.open_datatree(path, engine="h5netcdf")
    flux = tree["posterior"]["a.spectrum.flux"]
    np.testing.assert_array_equal(flux, drawn.draws["a.spectrum.flux"])
    assert list(flux.coords["a.spectrum.flux_band"].values) == list(BANDS)
    assert flux.attrs["unit"] == "nJy" and tree["posterior"].attrs["status"] == drawn.status.name
    assert set(tree["sample_stats"].data_vars) >= {"lp", "acceptance_rate", "n_steps", "diverging", "energy"}
    expected = float(drawn.posterior.log_likelihood(drawn.values(2, 7)))
    assert float(tree["log_likelihood"]["nircam"][2, 7]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(tree["observed_data"]["nircam"], drawn.posterior.observations[0].data)
    assert isinstance(drawn.to_arviz(), xarray.DataTree)
    tree.close()


def test_nothing_comes_from_no_draws(drawn):
    empty = drawn._replace(log_density=drawn.log_density[:, :0], whitened=drawn.whitened[:, :0])
    with pytest.raises(ParameterError, match="no draws"):
        ss.posterior_predictive(empty)
