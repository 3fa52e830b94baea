"""An energy of images: noise that is taken for a temperature, and fits that begin with much of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.infer import optimize
from scarlet_sed.parameters import as_float, set_values
from scarlet_sed.priors.energy import EnergyImages, EnergyPrior
from scarlet_sed.priors.gaussian import GaussianImages
from scarlet_sed.shared import shared_ids
from tests.registry import energy_images, galaxies

PATHS = [f"{name}.morphology.image" for name in "ab"]


def levels(prior: EnergyPrior | None) -> list[float]:
    return [] if prior is None else [float(prior.level), *levels(prior.easier)]


def test_easier_ones_have_more_noise_and_share_the_network():
    prior = EnergyPrior(energy_images(), 0.1)
    np.testing.assert_allclose(levels(prior), [0.1, 0.3, 0.9, 2.7], rtol=1e-5)
    assert prior.easier is not None
    assert shared_ids(prior) == shared_ids(prior.easier)
    assert jax.tree.structure(prior) == jax.tree.structure(prior.easier)


def test_a_temperature_is_noise_of_the_same_images():
    prior = EnergyPrior(energy_images(), 0.3)
    hot = EnergyPrior(prior.images, 0.9)
    numbers = jnp.asarray(np.random.default_rng(0).normal(size=(2, 63)), jnp.float32)
    seen = hot.coordinates.inv(prior.coordinates(numbers))
    one, other = (
        float(f[1] - f[0]) for f in (hot.log_density(seen), jax.vmap(prior.tempered, (0, None))(numbers, 9.0))
    )
    assert other == pytest.approx(one, abs=0.02)
    assert abs(other - float(jnp.diff(prior.log_density(numbers))[0])) > 1


class TwoKinds(eqx.Module):
    """An energy that knows two kinds of galaxies, by their first number, and what noise makes of them."""

    deviation: jax.Array
    axes = 1

    def __call__(self, white: jax.Array, log_level: jax.Array) -> jax.Array:
        number = white[0] * jnp.sqrt(self.deviation**2 + jnp.exp(2 * log_level))
        precision = 1 / (WIDTH**2 + jnp.exp(2 * log_level))
        each = [-0.5 * precision * (number - kind) ** 2 for kind in (-APART, APART)]
        return -jnp.logaddexp(*each) - 0.5 * white[0] ** 2


WIDTH, APART = 0.3, 5.0


@pytest.fixture(scope="module")
def two_kinds() -> EnergyImages:
    base = GaussianImages.of(galaxies(60, 12), rank=20)
    return EnergyImages(base, TwoKinds(base.deviations[0]), as_float(0.1), refusal="")


def blend(images: EnergyImages, seed: int) -> tuple[ss.Scene, ss.Observation]:
    """Two galaxies that begin as what they are not."""
    prior = EnergyPrior(images)

    def of_kind(sign: int) -> np.ndarray:
        number = sign * APART / float(images.wider.deviations[0])
        return np.asarray(prior.coordinates(jnp.zeros(143).at[0].set(number)))

    blank = ss.Observation(
        np.zeros((1, 28, 28)), ("hsc_g",), ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    frame = ss.Frame.covering(blank)

    def scene(shapes, flux) -> ss.Scene:
        sources = {
            name: ss.Source((0.3 * sign, 0.0), ss.FreeSpectrum(flux, ("hsc_g",)) * ss.Pixels(shape, 0.1))
            for name, sign, shape in zip("ab", (-1, 1), shapes, strict=True)
        }
        return ss.Scene(sources, frame)

    clean = ss.render(scene([of_kind(-1), of_kind(1)], 300.0), blank)
    seen = blank.with_data(clean + np.random.default_rng(seed).normal(size=clean.shape))
    begun = [ss.Parameter(of_kind(sign), prior) for sign in (1, -1)]
    return scene(begun, ss.Parameter(np.array([250.0]), dist.HalfNormal(1000.0))), seen


def test_values_that_are_set_leave_what_is_shared(two_kinds):
    scene, _ = blend(two_kinds, 11)
    again = set_values(scene, {path: scene.values[path] for path in PATHS})
    assert len({shared_ids(each.parameters[path].prior) for each in (scene, again) for path in PATHS}) == 1


def test_fits_climb_from_much_noise_to_little_and_compile_once(two_kinds, monkeypatch):
    fitted = {}
    with monkeypatch.context() as patch:
        patch.setattr(EnergyPrior, "easier", None)
        for seed in (11, 12):
            fitted[seed] = ss.fit(*blend(two_kinds, seed), progress=False, uncertainties=False)
    before, run, seen = optimize.compilations(), optimize._fitted, []

    def noted(scene, *rest):
        seen.append(float(scene.parameters[PATHS[0]].prior.level))
        return run(scene, *rest)

    monkeypatch.setattr(optimize, "_fitted", noted)
    gains = []
    for seed, plain in fitted.items():
        annealed = ss.fit(*blend(two_kinds, seed), progress=False, uncertainties=False)
        assert float(annealed.scene.parameters[PATHS[0]].prior.level) == pytest.approx(0.1)
        gains.append(annealed.log_posterior - plain.log_posterior)
    np.testing.assert_allclose(seen, 2 * [2.7, 0.9, 0.3, 0.1], rtol=1e-5)
    assert optimize.compilations() == before
    assert min(gains) > -0.1 and max(gains) > 10
