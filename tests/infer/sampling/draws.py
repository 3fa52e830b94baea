"""Posteriors without sampling, for what only looks at draws."""

import equinox as eqx
import jax
import numpy as np

import scarlet_sed as ss
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.draws import SampleTiming
from scarlet_sed.infer.sampling.status import diagnose
from tests.infer.sampling.toys import Toy


def made_up(
    scene: ss.Scene,
    observations: object,
    chains: int = 3,
    count: int = 100,
    *,
    diagnosed: bool = True,
    spread: float = 0.05,
) -> ss.Posterior:
    """Independent draws about a scene's values, as good as any for tables and pictures."""
    model = ss.LogPosterior(scene, observations)
    rng = np.random.default_rng(0)
    draws = {
        path: np.asarray(leaf.value) + spread * rng.normal(size=(chains, count, *leaf.value.shape))
        for path, leaf in model.parameters.items()
    }
    draws = {path: draws[path] for path in model.places}
    ones = np.ones((chains, count))
    statistics = {
        "accept": 0.9 * ones,
        "leapfrogs": 7 * ones,
        "diverging": 0 * ones,
        "energy": rng.normal(size=ones.shape),
    }
    diagnosis = diagnose(draws, statistics["energy"], 0 * ones, 7 * ones) if diagnosed else None
    status = ss.SampleStatus.WARMING_UP if diagnosis is None else diagnosis.status(chains * count)
    whitened = np.zeros((chains, count, 1))
    return ss.Posterior(draws, -ones, statistics, 0, status, diagnosis, SampleTiming(0.0, 0.0), model, None, whitened)


class Values(eqx.Module):
    """A target whose numbers are the values of the only family."""

    program: Program

    def values(self, whitened: jax.Array) -> FamilyValues:
        return (whitened.reshape(self.program.families[0].valid.shape[0], *self.program.families[0].shape),)


def exact(toy: Toy, chains: int = 2, count: int = 100) -> ss.Posterior:
    """Independent draws from the posterior of a linear scene."""
    model = ss.LogPosterior(toy.scene, toy.observation)
    z = np.random.default_rng(1).normal(size=(chains, count, toy.mean.size))
    numbers = (toy.mean + z @ np.linalg.cholesky(toy.covariance).T).astype(np.float32)
    each = numbers.reshape(chains, count, len(toy.paths), -1)
    assert [model.places[path].row for path in toy.paths] == list(range(len(toy.paths)))
    base = made_up(toy.scene, toy.observation, chains, count)
    draws = {path: each[:, :, row] for row, path in enumerate(toy.paths)}
    statistics = base.statistics
    diagnosis = diagnose(draws, statistics["energy"], statistics["diverging"], statistics["leapfrogs"])
    status = diagnosis.status(chains * count)
    return base._replace(
        draws=draws, diagnosis=diagnosis, status=status, posterior=model, target=Values(model.program), whitened=numbers
    )
