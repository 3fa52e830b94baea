"""Every prior on images of the registry obeys every law."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ImproperPriorError
from scarlet_sed.infer.families import build_families
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.parameters import Parameter
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.gate import sampling_gate
from scarlet_sed.priors.score import ScoreOnly
from scarlet_sed.transforms import bijection
from tests import laws
from tests.registry import IMAGE_PRIORS, galaxies

Make = Callable[[], dist.Distribution]
SHAPE = (8, 8)
every_prior = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in IMAGE_PRIORS.items()])
every_density = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in IMAGE_PRIORS.items() if name != "score only"]
)


def of_numbers(prior: dist.Distribution) -> laws.Function:
    """The log-density that samplers see."""
    transform = bijection(prior, SHAPE)

    def density(values: dict[str, jax.Array]) -> jax.Array:
        image = transform(values["numbers"])
        return prior.log_prob(image) + transform.log_abs_det_jacobian(values["numbers"], image)

    return density


def numbers(prior: dist.Distribution, scale: float = 1.0) -> dict[str, jax.Array]:
    drawn = np.random.default_rng(4).normal(size=63) * scale
    return {"numbers": jnp.asarray(drawn, jnp.result_type(float))}


@every_prior
def test_gradient_matches_finite_differences(make: Make, x64: None, rng: np.random.Generator) -> None:
    prior = make()
    laws.check_gradient(of_numbers(prior), numbers(prior), rng, 1e-4)


@every_prior
def test_finite_far_out(make: Make) -> None:
    prior = make()
    laws.check_finite(of_numbers(prior), numbers(prior), [numbers(prior, scale) for scale in (1e-6, 10.0, 100.0)])


@every_prior
def test_a_temperature_of_one_changes_nothing(make: Make) -> None:
    """And the density at a temperature is one of the same numbers, finite far out."""
    prior = make()
    if not isinstance(prior, MorphologyPrior):
        pytest.skip("densities of pixels are divided by the temperature")
    tempered = jax.jit(lambda u, t: jax.value_and_grad(lambda v: prior.tempered(v, t))(u))
    usual, far = (numbers(prior, scale)["numbers"] for scale in (1.0, 100.0))
    value, slope = tempered(usual, 1.0)
    known = jax.jit(jax.value_and_grad(prior.log_density))(usual)
    np.testing.assert_allclose(value, known[0], rtol=1e-4)
    np.testing.assert_allclose(slope, known[1], rtol=1e-3, atol=1e-3 * float(jnp.max(jnp.abs(known[1]))))
    assert all(bool(jnp.all(jnp.isfinite(each))) for each in tempered(far, 30.0))


@every_prior
def test_jit_equals_eager_and_vmap_equals_loop(make: Make) -> None:
    prior = make()
    laws.check_jit_and_vmap(of_numbers(prior), numbers(prior))


@every_prior
def test_images_sum_to_one_and_numbers_come_back(make: Make) -> None:
    prior = make()
    transform = bijection(prior, SHAPE)
    given = numbers(prior)["numbers"]
    image = transform(given)
    assert float(image.sum()) == pytest.approx(1, abs=1e-5)
    assert bool(prior.support(image)) and bool(prior.support(prior.mean))
    np.testing.assert_allclose(transform.inv(image), given, atol=2e-3)


@every_prior
def test_sources_of_one_prior_are_stacked(make: Make) -> None:
    prior = make()
    drawn = [np.asarray(bijection(prior, SHAPE)(n * numbers(prior)["numbers"])) for n in (0.2, 0.5, 1.0)]
    built = build_families({f"source{i}.morphology.image": Parameter(image, prior) for i, image in enumerate(drawn)})
    (family,), (values,) = built.families, built.values
    assert family.valid.shape == (3,)
    each = sum(float(prior.log_prob(jnp.asarray(image))) for image in drawn)
    assert float(family.log_prior(values)) == pytest.approx(each, rel=1e-4)


@every_density
def test_saved_and_loaded_it_is_the_same(make: Make, tmp_path: Path) -> None:
    prior = make()
    image = bijection(prior, SHAPE)(numbers(prior)["numbers"])
    ss.save_scene({"prior": prior}, tmp_path / "prior.zip")
    again = ss.load_scene(tmp_path / "prior.zip")["prior"]
    np.testing.assert_array_equal(again.log_prob(image), prior.log_prob(image))


def scene(prior: dist.Distribution) -> LogPosterior:
    blank = ss.Observation(
        np.zeros((1, 20, 20)), ("hsc_g",), ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    shape = ss.Pixels(Parameter(np.asarray(prior.mean), prior), 0.1)
    made = ss.Scene({"a": ss.Source((0.0, 0.0), ss.FreeSpectrum(400.0, ("hsc_g",)) * shape)}, ss.Frame.covering(blank))
    return LogPosterior(made, blank)


@pytest.mark.optimized
@every_prior
def test_the_gate_of_samplers(make: Make) -> None:
    """What is offered to `sample` mixes from everywhere, with errors as large as it says; all else is refused."""
    prior = make()
    if isinstance(prior, ScoreOnly):
        with pytest.raises(ImproperPriorError, match=r"a\.morphology\.image has a ScoreOnly prior, which is for fits"):
            scene(prior).require_proper_priors()
        return
    scene(prior).require_proper_priors()
    gate = sampling_gate(prior, galaxies(2, seed=9), truths=8, warmup=200, draws=250)
    assert gate.refusal == ""
    assert gate.prior_rhat < 1.05 and gate.rhat < 1.05
    assert 0.9 < gate.score_rms < 1.1
    assert gate.flux < 1e-4
