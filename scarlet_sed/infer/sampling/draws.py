"""What sampling returns: draws of parameters by path, and how much they can be trusted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.sampling.nuts import Draws
from scarlet_sed.infer.sampling.status import Diagnosis, SampleStatus, diagnose
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray


class SampleTiming(NamedTuple):
    """Seconds for the way to the maximum with the curvature there, and for the chains, compilation included."""

    start: float
    run: float


class Posterior(NamedTuple):
    """Draws from a posterior.

    Args:
        draws: (chain, draw, ...) by path, in each parameter's unit; warm-up left out.
        log_density: (chain, draw) log-density in the unconstrained numbers that were sampled, against that at the
            maximum; fluxes that were integrated out do not count.
        statistics: (chain, draw) of the trajectories: "accept", "leapfrogs", "diverging", "energy", "step_size", and
            "moved", how many moves beside them were taken; of draws of `approximate`: "log_weight"; of draws of
            `annealed_langevin`: "held", the share of steps since the draw before that were held back, "diverging",
            whether that is more than 1 %, "leapfrogs", how many they are, and "energy", the potential.
        warmup_leapfrogs: steps that warming up took.
        status: whether the draws can stand for the posterior, with advice.
        diagnosis: the numbers behind it; None without draws, and for those of `approximate`.
        timing: seconds.
        posterior: the log-posterior that was sampled.
        target: the density as the sampler saw it.
        whitened: (chain, draw, number) draws as the sampler saw them.
        khat: Pareto k-hat of the importance weights of draws of `approximate`; None for others.
    """

    draws: dict[str, HostArray]
    log_density: HostArray
    statistics: dict[str, HostArray]
    warmup_leapfrogs: int
    status: SampleStatus
    diagnosis: Diagnosis | None
    timing: SampleTiming
    posterior: LogPosterior
    target: AnyTarget
    whitened: HostArray
    khat: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains, and of draws of each."""
        chains, count = self.log_density.shape
        return chains, count

    def values(self, chain: int, draw: int) -> FamilyValues:
        """The parameters of one draw, as the log-posterior packs them."""
        return _values(self.target, jnp.asarray(self.whitened[chain, draw]))

    def sample_of(self, count: int, seed: int = 0) -> HostArray:
        """(count, number) draws picked at random from all chains, without repeats as far as there are enough.

        Args:
            count: how many.
            seed: of the choice.
        """
        return self.whitened.reshape(-1, self.whitened.shape[-1])[self.chosen(count, seed)]

    def chosen(self, count: int, seed: int = 0) -> np.ndarray:
        """(count,) places of the same draws, chain by chain."""
        order = np.random.default_rng(seed).permutation(self.shape[0] * self.shape[1])
        return np.resize(order, count)

    def to_arviz(self) -> Any:
        """An xarray DataTree as ArviZ has them, with coordinates and units (see `export.to_datatree`)."""
        from scarlet_sed.infer.sampling.export import to_datatree

        return to_datatree(self)

    def at(self, chain: int, draw: int) -> tuple[Scene, tuple[Observation, ...]]:
        """Scene and observations at one draw."""
        return self.posterior.at(self.values(chain, draw))


@jax.jit
def _values(target: AnyTarget, whitened: jax.Array) -> FamilyValues:
    return target.values(whitened)


@jax.jit
def _many(target: AnyTarget, whitened: jax.Array) -> FamilyValues:
    return jax.lax.map(target.values, whitened)


def draws_by_path(posterior: LogPosterior, target: AnyTarget, whitened: HostArray) -> dict[str, HostArray]:
    """(chain, draw, ...) of each parameter, by path; empty without draws.

    Args:
        posterior: the model.
        target: in whose coordinates draws are.
        whitened: (chain, draw, number) draws.
    """
    chains, count, size = whitened.shape
    if not count:
        return {}
    values = by_chunks(lambda w: _many(target, w), whitened.reshape(-1, size))
    owned = {path: np.asarray(values[place.family][:, place.row]) for path, place in posterior.places.items()}
    return {path: own.reshape(chains, count, *own.shape[1:]) for path, own in owned.items()}


def posterior_of(
    posterior: LogPosterior,
    target: AnyTarget,
    found: Draws,
    warmup: int,
    *,
    interrupted: bool,
    start: float,
    run: float,
) -> Posterior:
    """The result of chains.

    Args:
        posterior: what was sampled.
        target: as the sampler saw it.
        found: (chain, iteration, ...), warm-up included.
        warmup: how many iterations that is.
        interrupted: whether there would have been more.
        start, run: seconds.
    """
    kept = jax.tree.map(lambda x: np.asarray(x)[:, warmup:], found)
    chains, count, _ = kept.whitened.shape
    draws = draws_by_path(posterior, target, kept.whitened)
    names = ("accept", "leapfrogs", "diverging", "energy", "step_size", "moved")
    statistics = {name: np.asarray(getattr(kept, name)) for name in names}
    diagnosis = None
    status = SampleStatus.WARMING_UP
    if count >= _FEWEST:
        diagnosis = diagnose(draws, kept.energy, kept.diverging, kept.leapfrogs)
        status = SampleStatus.INTERRUPTED if interrupted else diagnosis.status(chains * count)
    return Posterior(
        draws,
        -np.asarray(kept.potential),
        statistics,
        int(np.sum(np.asarray(found.leapfrogs)[:, :warmup])),
        status,
        diagnosis,
        SampleTiming(start, run),
        posterior,
        target,
        kept.whitened,
    )


_FEWEST = 4
"""Draws a chain that diagnostics need."""
