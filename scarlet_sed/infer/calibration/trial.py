"""One trial: a truth from the prior, images of it, draws from their posterior, and where the truth lies among them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.export import log_likelihoods
from scarlet_sed.infer.sampling.sample import sample
from scarlet_sed.infer.sampling.scalars import scalars
from scarlet_sed.infer.simulate import Simulated, simulate
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray

LIKELIHOOD = "log-likelihood"
"""The name of its row among those of the parameters."""

Infer = Callable[[Simulated], tuple[Scene, Sequence[Observation]]]
"""The scene and observations that are sampled, with values to start from; another model is a mistake on purpose."""

Further = Callable[[Posterior, Simulated], dict[str, tuple[HostArray, float]]]
"""By name, (chain, draw) draws and the truth of what follows from the parameters."""


@dataclass(frozen=True)
class Trial:
    """Where a truth lies among draws from its posterior.

    Args:
        seed: of the trial.
        names: of the parameters' numbers as `scalars` has them, of what follows from them, of the log-likelihood.
        ranks: by name, how many of the draws lie below the truth.
        truth, mean, deviation: by name, of the posterior.
        draws: how many the truth is ranked among, evenly picked from all chains.
        nearer: share of the draws that lie nearer to a random place than the truth does (TARP), by a distance in which
            every parameter counts by its own deviation.
        status: of the sampling.
        rhat, effective: the worst of all parameters.
        divergences: of all chains.
        leapfrogs: of all chains, warm-up included.
        seconds: of simulation and sampling.
    """

    seed: int
    names: list[str]
    ranks: list[int]
    truth: list[float]
    mean: list[float]
    deviation: list[float]
    draws: int
    nearer: float
    status: str
    rhat: float
    effective: float
    divergences: int
    leapfrogs: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        return asdict(self)


def trial(
    scene: Scene,
    observations: Any,
    seed: int,
    *,
    infer: Infer | None = None,
    further: Further | None = None,
    chains: int = 2,
    warmup: int = 100,
    draws: int = 125,
    keep: int = 63,
    **options: Any,
) -> Trial:
    """Simulate and sample a scene.

    Unless `infer` starts elsewhere, chains begin around the maximum nearest to the truth: what is calibrated is the
    density and its sampler then, not the way to a start.

    Args:
        scene: with proper priors, which the truth is drawn from.
        observations: one or several, with the weights of the data to be drawn.
        seed: of everything random.
        infer: what is sampled, where it is not what was simulated, at the truth.
        further: what to rank beside the parameters.
        chains, warmup, draws: of `sample`, and its other `options`.
        keep: how many draws to rank the truth among; as many as are about independent.

    Raises:
        ParameterError: if a truth lies outside of the priors that are sampled, or draws are fewer than `keep`.
    """
    if chains * draws < keep:
        raise ParameterError(f"{chains * draws} draws are fewer than the {keep} to keep", fix="draw more, or keep less")
    begun = time.perf_counter()
    made = simulate(scene, observations, seed)
    searched, seen = (made.scene, made.observations) if infer is None else infer(made)
    result = sample(
        searched, list(seen), chains=chains, warmup=warmup, draws=draws, seed=seed, progress=False, **options
    )
    names, found, true = _table(result, made, keep, {} if further is None else further(result, made))
    mean, deviation = np.mean(found, axis=0), np.std(found, axis=0)
    diagnosis = result.diagnosis
    assert diagnosis is not None  # there are draws
    return Trial(
        seed,
        names,
        [int(rank) for rank in np.sum(found < true, axis=0)],
        true.tolist(),
        mean.tolist(),
        deviation.tolist(),
        keep,
        _nearer(found[:, :-1], true[:-1], seed),
        result.status.name,
        diagnosis.worst_rhat,
        min(diagnosis.least_bulk, diagnosis.least_tail),
        diagnosis.divergences,
        diagnosis.leapfrogs + result.warmup_leapfrogs,
        time.perf_counter() - begun,
    )


def _table(
    result: Posterior, made: Simulated, keep: int, further: dict[str, tuple[HostArray, float]]
) -> tuple[list[str], HostArray, HostArray]:
    """Names of the numbers, (draw, number) kept draws, and (number,) truth, the log-likelihood last."""
    chains, count = result.shape
    kept = np.linspace(0, chains * count - 1, keep).round().astype(int)
    numbers = scalars(result)
    truth = [made.truth[number.path][number.place] for number in numbers] + [true for _, true in further.values()]
    likelihood = np.sum(list(log_likelihoods(result).values()), axis=0)
    drawn = [*(number.draws for number in numbers), *(draws for draws, _ in further.values()), likelihood]
    table = np.stack([each.ravel()[kept] for each in drawn], axis=1)
    names = [*(number.name for number in numbers), *further, LIKELIHOOD]
    return names, table.astype(float), np.array([*truth, _likelihood_at(result.posterior, made)], float)


def _likelihood_at(posterior: LogPosterior, made: Simulated) -> float:
    """The log-likelihood of the truth, as the model that was sampled has it."""
    values = posterior.pack({path: jnp.asarray(value) for path, value in made.truth.items()})
    return float(posterior.log_likelihood(values))


def _nearer(found: HostArray, true: HostArray, seed: int) -> float:
    """Lemos et al. 2023, arXiv:2302.03026; places may depend on draws and truth, which they must not tell apart."""
    every = np.vstack([found, true])
    mean, deviation = np.mean(every, axis=0), np.std(every, axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    rng = np.random.default_rng([seed, 1])
    place = mean + 2 * scale * rng.standard_normal(len(mean))
    distances = np.sum(np.square((found - place) / scale), axis=1)
    rank = np.sum(distances < np.sum(np.square((true - place) / scale)))
    return float((rank + rng.uniform(1e-6, 1 - 1e-6)) / (len(found) + 1))
