"""What `ss.check` says of posteriors that are sound, short, and of models that do not fit."""

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy import stats

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.residuals import block_side, residuals
from tests.infer.sampling.draws import exact
from tests.infer.sampling.toys import BANDS, SIDE, SIGMA, linear_toy


@pytest.fixture(scope="module")
def drawn() -> ss.Posterior:
    return exact(linear_toy())


def with_other_data(drawn: ss.Posterior, data: np.ndarray) -> ss.Posterior:
    """The same draws against other data."""
    toy = linear_toy()
    model = ss.LogPosterior(toy.scene, toy.observation.with_data(data))
    return drawn._replace(posterior=model, target=eqx.tree_at(lambda t: t.program, drawn.target, model.program))


def test_band_p_values_are_those_of_the_predictive_images(drawn):
    found = ss.check(drawn, 40, seed=3)
    expected = ss.posterior_predictive(drawn, 40, seed=3).p_values()["nircam"]
    np.testing.assert_array_equal(list(found.p_values["nircam"].values()), expected)
    assert list(found.p_values["nircam"]) == list(BANDS)


def test_a_model_that_fits_leaves_noise(drawn):
    own = residuals(drawn, 60).observed["nircam"]
    assert own.residual.shape == (len(BANDS), SIDE, SIDE) and own.side == block_side(drawn.posterior.observations[0])
    assert np.std(own.residual) == pytest.approx(1.0, abs=0.08)
    # seven by seven blocks of three pixels; the corner of the last ones holds four of nine
    assert own.excess.shape == (len(BANDS), 7, 7) and np.isnan(own.excess[:, -1, -1]).all()
    known = own.excess[np.isfinite(own.excess)]
    assert abs(known.mean()) < 0.3 and known.std() == pytest.approx(1.0, abs=0.2)


def test_the_sigma_of_a_block_is_that_of_its_chi_square(drawn):
    """Noise is Gaussian, so that the gamma distribution is that of chi-square of nine pixels."""
    observation = drawn.posterior.observations[0]
    own = residuals(drawn, 60).observed["nircam"]
    mean = ss.posterior_predictive(drawn, 60).models["nircam"].mean(axis=0)
    chi2 = ((np.asarray(observation.data) - mean) ** 2 * np.asarray(observation.weights))[:, :18, :18]
    chi2 = chi2.reshape(2, 6, 3, 6, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(own.excess[:, :6, :6], stats.norm.isf(stats.chi2.sf(chi2, 9)), atol=0.25)


def test_blocks_of_correlated_noise_are_as_improbable_as_they_are_said_to_be(drawn):
    """Noise drawn from its own model, masks included, leaves standard normal sigmas in every block."""
    toy = linear_toy()
    correlation = np.exp(-0.5 * np.hypot(*np.mgrid[-3:4, -3:4]) ** 2)[None].repeat(len(BANDS), 0)
    mask = np.zeros(toy.observation.shape, bool)
    mask[:, 8:10, 3:9] = True
    observation = toy.observation.with_mask(mask).with_noise(ss.CorrelatedNoise(correlation, (SIDE, SIDE)))
    model = np.asarray(ss.render(toy.scene, toy.observation))
    found = []
    for seed in range(2):
        noise = np.asarray(observation.noise.sample(jax.random.key(seed), observation.weights))
        posterior = ss.LogPosterior(toy.scene, observation.with_data(model + noise))
        true = np.tile(np.ravel(posterior.start[0]), (*drawn.shape, 1))
        target = eqx.tree_at(lambda t: t.program, drawn.target, posterior.program)
        own = drawn._replace(posterior=posterior, target=target, whitened=true)
        found.append(residuals(own, 20).observed["nircam"].excess)
    known = np.array(found)[np.isfinite(found)]
    assert abs(known.mean()) < 0.25 and known.std() == pytest.approx(1.0, abs=0.2) and known.size > 170


def test_light_that_the_model_lacks_is_found_and_placed(drawn):
    data = np.array(drawn.posterior.observations[0].data)
    data[1, 3:6, 12:15] += 4 * SIGMA
    found = ss.check(with_other_data(drawn, data), 60)
    assert found.residuals is not None
    (block,) = found.residuals.outstanding()
    assert (block.band, block.x, block.y) == (BANDS[1], 13.0, 4.0) and block.sigma > 5
    assert any("pixel (13, 4) of nircam" in doubt and "arcsec from a" in doubt for doubt in found.doubts)
    assert not found.success


def test_noise_that_is_too_large_is_doubted(drawn):
    model = ss.posterior_predictive(drawn, 40).models["nircam"].mean(0)
    data = 0.4 * np.array(drawn.posterior.observations[0].data) + 0.6 * model
    found = ss.check(with_other_data(drawn, data), 60)
    assert sum("smaller than the noise" in doubt for doubt in found.doubts) == len(BANDS)


def test_it_reads_well(drawn):
    text = str(ss.check(drawn, 20))
    assert text.startswith(f"{drawn.status.name}: {drawn.status.advice}")
    for said in ("largest R-hat", "400 or more  !", "p-values, nircam: F115W 0.", "fewest effective draws: "):
        assert said in text


def test_without_draws_there_is_the_status_only(drawn):
    empty = drawn._replace(
        log_density=drawn.log_density[:, :0],
        whitened=drawn.whitened[:, :0],
        diagnosis=None,
        status=ss.SampleStatus.WARMING_UP,
    )
    found = ss.check(empty)
    assert not found.rows and not found.p_values and found.residuals is None and not found.success
    assert str(found) == f"WARMING_UP: {ss.SampleStatus.WARMING_UP.advice}"
    with pytest.raises(ParameterError, match="no draws"):
        residuals(empty)
