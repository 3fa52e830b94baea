"""Images that a prior or a posterior expects: draws of parameters, rendered, with noise."""

from typing import Any, NamedTuple

import jax
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues, materialize
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.infer.simulate import drawn_noise, prior_draw
from scarlet_sed.instrument.noise import band_sum
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array, HostArray


class Predictive(NamedTuple):
    """Predicted images, by observation.

    Args:
        models: (draw, band, height, width) nJy, sky included, without noise.
        images: the same with noise drawn from the noise model.
        discrepancy: (draw, band) minus twice the log-likelihood's terms (chi-square, for Gaussian noise) of the data
            against each draw.
        replicated: the same of each draw's own image.
    """

    models: dict[str, HostArray]
    images: dict[str, HostArray]
    discrepancy: dict[str, HostArray]
    replicated: dict[str, HostArray]

    def p_values(self) -> dict[str, HostArray]:
        """(band,) share of draws whose own image fits them worse than the data do (Gelman, Meng & Stern 1996).

        Near zero: the data hold what the model cannot make. Near one: the noise is smaller than it is said to be.
        """
        return {name: np.mean(self.replicated[name] >= self.discrepancy[name], axis=0) for name in self.discrepancy}


def posterior_predictive(posterior: Posterior, count: int = 100, seed: int = 0) -> Predictive:
    """Images that the posterior expects.

    Args:
        posterior: draws.
        count: how many of them.
        seed: of which ones, and of the noise.

    Raises:
        ParameterError: if there are no draws.
    """
    if posterior.shape[1] == 0:
        raise ParameterError("there are no draws to predict from", fix="sample longer")
    whitened = posterior.sample_of(count, seed)
    names = [o.name for o in posterior.posterior.observations]
    found = [
        _seen(posterior.target, draw, key)
        for draw, key in zip(whitened, jax.random.split(jax.random.key(seed), count), strict=True)
    ]
    return _gathered(names, found)


def prior_predictive(scene: Scene, observations: Any, count: int = 20, seed: int = 0) -> Predictive:
    """Images that the priors of a scene expect, as its observations would see them.

    Args:
        scene: with proper priors.
        observations: one or several; their data count for the discrepancy only.
        count: how many.
        seed: of the draws and of the noise.

    Raises:
        ImproperPriorError: if a prior is not a density.
    """
    posterior = LogPosterior(scene, observations)
    posterior.require_proper_priors()
    found = [_drawn(posterior.program, key) for key in jax.random.split(jax.random.key(seed), count)]
    return _gathered([o.name for o in posterior.observations], found)


@jax.jit
def _seen(target: AnyTarget, whitened: Array, key: Array) -> list[tuple[Array, ...]]:
    return _looked_at(target.program, target.values(whitened), key)


@jax.jit
def _drawn(program: Program, key: Array) -> list[tuple[Array, ...]]:
    own, noise = jax.random.split(key)
    return _looked_at(program, prior_draw(program, own), noise)


def _looked_at(program: Program, values: FamilyValues, key: Array) -> list[tuple[Array, ...]]:
    """Per observation: model, image, and the discrepancy of data and image."""
    found = []
    models = program.images(values)
    noises = drawn_noise(program, values, key)
    for observation, model, drawn in zip(program.observations, models, noises, strict=True):
        noise = materialize(observation.instrument, values).noise
        worse = [-2 * band_sum(noise.terms(r, observation.weights)) for r in (observation.data - model, drawn)]
        found.append((model, model + drawn, *worse))
    return found


def _gathered(names: list[str], found: list[list[tuple[Array, ...]]]) -> Predictive:
    parts = [
        {name: np.stack([np.asarray(each[o][part]) for each in found]) for o, name in enumerate(names)}
        for part in range(4)
    ]
    return Predictive(*parts)
