"""Masses that follow the light: the same posterior in coordinates whose volume is known."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.infer.posterior import constrain
from scarlet_sed.infer.sampling.anchor import Anchor
from scarlet_sed.infer.sampling.target import Coordinates, maximum_at, target_at
from scarlet_sed.parameters import set_values
from scarlet_sed.typing import Array
from tests.sps import small_grid

BANDS = ("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W")


def population(log_mass: object, *, age: float = 0.8) -> ss.StellarPopulation:
    return ss.StellarPopulation(
        log_mass,
        -0.3,
        -2.5,
        history=ss.Constant(ss.Parameter(age, dist.LogNormal(0.0, 0.7))),
        attenuation=ss.Attenuation(ss.Calzetti(), ss.Parameter(0.4, dist.LogNormal(-1.0, 0.7))),
        engine=small_grid.exact(),
    )


def posterior_of(scene_of, noise: float = 0.02) -> ss.LogPosterior:
    blank = ss.Observation(
        np.zeros((len(BANDS), 24, 24)), BANDS, ss.PSF.gaussian(2.6), sigma=noise, pixel_scale=0.05, name="nircam"
    )
    scene = scene_of(ss.Frame.covering(blank))
    return ss.LogPosterior(scene, blank.with_data(np.asarray(ss.render(scene, blank), float)))


def two(frame: ss.Frame) -> ss.Scene:
    """One mass under a bounded prior, one under a normal one, blended."""
    bounded = population(ss.Parameter(8.0, dist.Uniform(5.0, 12.5)))
    normal = population(ss.Parameter(8.2, dist.Normal(8.0, 0.5)), age=0.3)
    return ss.Scene(
        {
            "a": ss.Source((0.0, 0.0), bounded * ss.Gaussian(ss.Parameter(0.1, dist.LogNormal(-2.3, 0.3))), 1.1),
            "b": ss.Source((0.1, 0.1), normal * ss.Gaussian(0.1), 0.7),
        },
        frame,
    )


@pytest.fixture(scope="module")
def precise() -> tuple[ss.LogPosterior, Coordinates]:
    with jax.enable_x64(True):
        posterior = posterior_of(two)
        return posterior, maximum_at(posterior, posterior.start, 1).coordinates


def unconstrained(posterior: ss.LogPosterior, coordinates: Coordinates, whitened: Array) -> Array:
    """(p,) unconstrained numbers, in the order of the steps."""
    values = coordinates.values(posterior.program, whitened).values
    found = jnp.zeros(coordinates.size + 1)
    for family, value, number in zip(posterior.program.families, values, coordinates.number, strict=True):
        found = found.at[number].set(family.unconstrain(value))
    return found[:-1]


def test_the_potential_is_the_density_of_the_sampled_numbers(precise, rng):
    """Minus log-density less the log-determinant of the whole map, which automatic differentiation gives."""
    posterior, coordinates = precise
    with jax.enable_x64(True):
        assert coordinates.anchor.follows
        target = target_at(posterior.program, coordinates)

        @jax.jit
        def density(whitened: Array) -> Array:
            values = coordinates.values(posterior.program, whitened).values
            pairs = zip(posterior.program.families, values, strict=True)
            slope = jax.jacfwd(lambda q: unconstrained(posterior, coordinates, q))(whitened)
            at = tuple(family.unconstrain(v) for family, v in pairs)
            return posterior.log_density(at) + jnp.linalg.slogdet(slope)[1]

        potential = jax.jit(lambda target, whitened: target.potential(whitened))
        at_zero = float(density(jnp.zeros(coordinates.size)))
        for _ in range(3):
            whitened = 0.7 * rng.normal(size=coordinates.size)
            assert float(potential(target, whitened)) == pytest.approx(at_zero - float(density(whitened)), abs=1e-6)


def test_brightness_does_not_change_with_the_spectrum(precise):
    """Age and dust change the light of a solar mass tenfold, and the weighted flux not at all."""
    posterior, coordinates = precise
    with jax.enable_x64(True):
        place = {path: posterior.places[path] for path in posterior.paths if path.startswith("a.spectrum")}
        steps = np.zeros(coordinates.size)
        for path in ("a.spectrum.history.age", "a.spectrum.attenuation.av"):
            steps[int(np.ravel(coordinates.number[place[path].family][place[path].row])[0])] = 0.8
        light = []
        for step in (np.zeros(coordinates.size), steps):
            before = constrain(posterior.program, coordinates.placed(jnp.asarray(step)))
            values, inside = coordinates.anchor(posterior.program, before)
            assert bool(inside)
            parameters = posterior.unpack(values)
            scene = set_values(posterior.scene, {path: parameters[path] for path in place})
            spectrum = next(scene.sources["a"].light.components())[1].spectrum
            light.append(
                (np.asarray(spectrum(posterior.observations[0].filters, 1.1)), float(parameters["a.spectrum.log_mass"]))
            )
        (faint, mass), (bright, heavier) = light
        assert abs(heavier - mass) > 0.1
        share = np.asarray(coordinates.anchor.share[0][0])[0]
        assert np.sum(share * bright) == pytest.approx(np.sum(share * faint), rel=1e-9)
        assert np.max(np.abs(bright / faint - 1)) > 0.1  # colours do change


def test_a_mass_off_its_support_has_no_density(precise):
    posterior, coordinates = precise
    with jax.enable_x64(True):
        far = coordinates._replace(
            anchor=coordinates.anchor._replace(share=jax.tree.map(lambda s: 1e5 * s, coordinates.anchor.share))
        )
        volume = far.values(posterior.program, jnp.zeros(coordinates.size)).volume
        assert float(volume) == -np.inf


def tied(frame: ss.Frame) -> ss.Scene:
    mass = ss.Parameter(8.0, dist.Normal(8.0, 0.5))
    first = population(mass) * ss.Gaussian(0.1)
    second = population(ss.Tied("a.spectrum.log_mass"), age=0.3) * ss.Gaussian(0.1)
    return ss.Scene({"a": ss.Source((0.0, 0.0), first, 1.1), "b": ss.Source((0.1, 0.1), second, 0.7)}, frame)


@pytest.mark.parametrize(
    ("make", "noise"), [(tied, 0.02), (two, 1e3)], ids=["a mass that two components share", "too faint to see"]
)
def test_what_is_left_as_it_is(make, noise):
    posterior = posterior_of(make, noise)
    anchor: Anchor = maximum_at(posterior, posterior.start, 0).coordinates.anchor
    assert not anchor.follows
