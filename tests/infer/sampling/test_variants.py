"""Ways to sample that are not the usual one: learned masses, several devices, light behind dust."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.infer.sampling import nuts
from scarlet_sed.infer.sampling.chains import PIECE, pieces
from scarlet_sed.infer.sampling.target import maximum_at, target_at
from tests.infer.sampling.toys import linear_toy

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mass", ["diagonal", "dense"])
def test_a_mass_that_is_learned_leaves_the_posterior_as_it_is(mass):
    toy = linear_toy()
    result = ss.sample(toy.scene, toy.observation, warmup=150, draws=400, mass=mass, progress=False)
    assert result.status is ss.SampleStatus.CONVERGED
    assert result.diagnosis is not None
    flat = np.concatenate([result.draws[path].reshape(1600, -1) for path in toy.paths], axis=-1).astype(float)
    spread = np.sqrt(np.diag(toy.covariance))
    effective = np.concatenate([np.ravel(result.diagnosis.bulk[path]) for path in toy.paths])
    assert np.all(np.abs(flat.mean(axis=0) - toy.mean) < 4 * spread / np.sqrt(effective))
    # 1600 nearly independent draws know a standard deviation to 1.8 %
    np.testing.assert_allclose(flat.std(axis=0), spread, rtol=0.07)


def _on_four_devices_and_on_one() -> None:
    """Runs in a process of its own, for devices are counted when JAX starts."""
    assert jax.local_device_count() == 4
    toy = linear_toy()
    posterior = ss.LogPosterior(toy.scene, toy.observation)
    target = target_at(posterior.program, maximum_at(posterior, posterior.start, 0).coordinates)
    settings, keys = nuts.Settings(warmup=10), jax.random.split(jax.random.PRNGKey(3), 4)
    several = next(pieces(target, settings, keys, None, "together"))
    one = nuts.advance_together(target, settings, nuts.begin_together(target, settings, keys), PIECE)[1]
    assert several.draws.whitened.shape == (4, PIECE, len(toy.mean))
    # trajectories that differ by rounding drift apart, and stay within a hundredth of a standard deviation here
    np.testing.assert_allclose(several.draws.whitened, one.whitened, atol=1e-2)
    np.testing.assert_array_equal(several.draws.leapfrogs, one.leapfrogs)


def test_chains_over_several_devices_are_those_of_one():
    code = "from tests.infer.sampling.test_variants import _on_four_devices_and_on_one as run; run()"
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "XLA_FLAGS": flags}, check=True)


def test_the_depth_of_a_dust_screen_is_sampled():
    """One band sees a galaxy of known flux behind dust: the posterior of A_V on a fine grid, by hand."""
    bands = ("F115W",)
    blank = ss.Observation(np.zeros((1, 16, 16)), bands, ss.PSF.gaussian(2.4), sigma=0.2, pixel_scale=0.03, name="o")
    prior = dist.LogNormal(np.log(0.5), 0.7)
    screen = ss.DustScreen(ss.Calzetti(), ss.Gaussian(0.1), ss.Parameter(0.5, prior))
    light = ss.FreeSpectrum((20.0,), bands) * ss.Gaussian(0.06)
    scene = ss.Scene({"g": ss.Source((0.0, 0.0), light.behind(screen), 1.0)}, ss.Frame.covering(blank))
    drawn = np.asarray(ss.render(scene, blank), float)
    observation = blank.with_data(drawn + 0.2 * np.random.default_rng(1).normal(size=drawn.shape))
    posterior = ss.LogPosterior(scene, observation)
    grid = np.linspace(0.01, 1.6, 100)
    log_density = np.array([float(posterior.log_prob(posterior.pack({"g.screen.av": av}))) for av in grid])
    density = np.exp(log_density - log_density.max())
    mean = np.average(grid, weights=density)
    spread = np.sqrt(np.average((grid - mean) ** 2, weights=density))
    result = ss.sample(scene, observation, warmup=200, draws=800, progress=False)
    assert result.status is ss.SampleStatus.CONVERGED and result.diagnosis is not None
    found = result.draws["g.screen.av"].astype(float)
    error = spread / np.sqrt(float(result.diagnosis.bulk["g.screen.av"]))
    assert abs(found.mean() - mean) < 4 * error
    assert found.std() == pytest.approx(spread, rel=0.1)
