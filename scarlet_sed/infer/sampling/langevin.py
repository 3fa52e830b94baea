"""Draws by annealed Langevin dynamics, which need the slope of a density only, such as a user's own score."""

import time
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.result import FitResult
from scarlet_sed.infer.sampling.chains import PIECE, bar
from scarlet_sed.infer.sampling.draws import Posterior, SampleTiming, draws_by_path
from scarlet_sed.infer.sampling.entry import POLISH, modelled, require_finite, require_whole
from scarlet_sed.infer.sampling.status import APART, HELD, Diagnosis, SampleStatus, diagnose
from scarlet_sed.infer.sampling.target import LONGEST, Coordinates, maximum_at, stretched, target_at
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.score import ScoreOnly
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array, HostArray

_FASTEST = 2.0
"""Largest `step`: at 4 walks in a Gaussian no longer come back."""
_LONGEST = 3.0
"""Of a number's drift, in standard deviations of the noise of a step: a Gaussian's is longer once in 1e9 steps."""
_WIDEST = 100.0
"""Steps along flat directions where only a score is known, in units of what single numbers' curvatures say."""
_POWERS = 24
"""Products with the Hessian to find its largest curvature."""
_FEWEST = 4
"""Draws a chain that diagnostics need."""


class Walked(NamedTuple):
    """Every `thin`-th step of a chain, each with a leading axis.

    Args:
        whitened: (n, size) positions.
        potential: (n,) minus log-density against that at zero.
        held: (n,) share of the steps since the last one that were held back.
    """

    whitened: Any
    potential: Any
    held: Any


class State(NamedTuple):
    """Where a chain is.

    Args:
        tried: (size,) numbers to go to, if the slope there is finite.
        whitened: (size,) numbers that it is at till then.
        slope: (size,) of the potential there.
        noise: (size,) standard normal numbers of the last step.
        key: of the next ones.
    """

    tried: Array
    whitened: Array
    slope: Array
    noise: Array
    key: Array


class Heated(Protocol):
    """What walks need: a potential at any temperature."""

    @property
    def coordinates(self) -> Coordinates:
        """Of the numbers that are walked in."""

    def potential(self, whitened: Array) -> Array:
        """Minus the log-density of (size,) whitened numbers, zero at zero."""

    def tempered(self, whitened: Array, temperature: Array) -> Array:
        """The same at a temperature, up to a constant."""


def annealed_langevin(
    fitted: FitResult | Scene,
    observations: Any = None,
    *,
    chains: int = 4,
    draws: int = 250,
    thin: int = 10,
    levels: int = 5,
    hottest: float = 9.0,
    step: float = 0.5,
    seed: int = 0,
    progress: bool = True,
) -> Posterior:
    """Approximate draws by annealed Langevin dynamics, for which a prior on images need have a score only.

    Chains begin as wide as the square root of the highest temperature around the maximum, and walk down a slope with
    noise while the temperature falls to one (Song & Ermon 2019, arXiv:1907.05600; for images seen through an
    instrument, Jalal et al. 2021, arXiv:2108.01368). A temperature divides the log-density; priors that know images
    through noise (`EnergyPrior`) take more noise instead, its square root as a factor.

    Numbers q are walked in that are round at the maximum, as in `sample`: q - e/2 dU/dq + sqrt(e) (n + n')/2, with n
    and n' the normal noise of this and the last step (Leimkuhler & Matthews 2013, AMRX 2013, 34). At each temperature
    e is `step` over the largest curvature at the maximum. No step is rejected, so that draws are biased by its size:
    in a Gaussian not at all, elsewhere by something like `step` squared (with the steps of Song & Ermon's walk,
    standard deviations would be an eighth of `step` too large even in a Gaussian). Of two blended images with
    `GaussianImagePrior`, deviations were within 3 % of those of `sample`, with steps from 0.25 to 1. Chains forget in
    some 2 / e steps.

    A drift of more than three deviations of the noise is cut to that, number by number, and a step to where there is
    no finite slope is not taken. How often is told, as the share of steps that were held back.

    Args:
        fitted: what `fit` returned; or a scene close to its maximum, with `observations`.
        observations: one or several, with a scene.
        chains: how many, at least two, walked together.
        draws: that each chain keeps, rounded up to 25.
        thin: steps from one to the next.
        levels: temperatures, of equal ratios, the last one 1; each before it takes 25 times `thin` steps.
        hottest: the first of them.
        step: the largest curvature times e; at most 2.
        seed: of everything random.
        progress: whether to show a progress bar (only on a terminal).

    Returns:
        Draws with the status UNADJUSTED or UNSTEADY, whose `at` gives scenes to start `fit` or `sample` from;
        `statistics` has "held", the share of steps since the draw before that were held back. Where only a score is
        known, `log_density` is the integral along a straight line (`ScoreOnly`).

    Raises:
        ParameterError: for arguments that make no sense.
        ImproperPriorError: if a prior other than one on images is not a density.
    """
    require_whole(chains=(chains, 2), draws=(draws, 1), thin=(thin, 1), levels=(levels, 1))
    if not 0 < step <= _FASTEST:
        raise ParameterError(f"step is {step!r}", fix=f"give a number above 0, of at most {_FASTEST:g}")
    if not 1 <= hottest < np.inf:
        raise ParameterError(f"hottest is {hottest!r}", fix="give a finite temperature of 1 or more")
    posterior, values = modelled(fitted, observations, "annealed_langevin", slopes=True)
    started = time.perf_counter()
    coordinates = maximum_at(posterior, values, POLISH).coordinates
    require_finite(partial(target_at, posterior.program), coordinates)
    if coordinates.scale.size:
        # of a score alone nobody knows how wide its numbers are but from the curvature
        scores = any(isinstance(family.prior, ScoreOnly) for family in posterior.program.families)
        coordinates = stretched(target_at(posterior.program, coordinates), seed, _WIDEST if scores else LONGEST)
    target = target_at(posterior.program, coordinates)
    ready = time.perf_counter()
    temperatures = np.geomspace(hottest, 1.0, levels) if levels > 1 else np.ones(1)
    keys = jax.random.split(jax.random.key(seed), chains)
    found, interrupted = walk(target, temperatures, keys, draws, thin, step, progress=progress)
    drawn = draws_by_path(posterior, target, found.whitened)
    diagnosis, status = _judged(found, drawn, thin, interrupted=interrupted)
    return Posterior(
        drawn,
        -found.potential,
        _statistics(found, thin),
        (levels - 1) * PIECE * thin * chains,
        status,
        diagnosis,
        SampleTiming(ready - started, time.perf_counter() - ready),
        posterior,
        target,
        found.whitened,
    )


def walk(
    target: Heated, temperatures: HostArray, keys: Array, draws: int, thin: int, step: float, *, progress: bool
) -> tuple[Walked, bool]:
    """(chain, draw, ...) of walks at the last temperature, and whether they were interrupted.

    Args:
        target: the density.
        temperatures: (level,) falling to one.
        keys: (chain,) random keys.
        draws: at the last temperature, rounded up to pieces of 25.
        thin: steps from one draw to the next.
        step: see `annealed_langevin`.
        progress: whether to show a progress bar (only on a terminal).
    """
    curvatures = np.asarray(_stiffest(target, as_float(temperatures)), float)
    pieces = -(-draws // PIECE)
    wanted = [*range(len(temperatures) - 1), *[len(temperatures) - 1] * pieces]
    found: list[Walked] = []
    interrupted = False
    state = _begin(target.coordinates.size, float(temperatures[0]), keys)
    with bar(len(keys), len(wanted) * PIECE, 0, show=progress, what="langevin") as shown:
        try:
            for level in wanted:
                length = step / max(float(curvatures[level]), 1 / float(temperatures[level]))
                heat = as_float(temperatures[level])
                state, piece = _advance(target, state, heat, as_float(length), np.int32(thin))
                found.append(jax.tree.map(np.asarray, piece))
                shown.update(len(keys) * PIECE)
        except KeyboardInterrupt:
            interrupted = True
    kept = found[len(temperatures) - 1 :]
    none = np.zeros((len(keys), 0))
    empty = Walked(np.zeros((len(keys), 0, target.coordinates.size)), none, none)
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), empty, *kept), interrupted


def _judged(
    found: Walked, drawn: dict[str, HostArray], thin: int, *, interrupted: bool
) -> tuple[Diagnosis | None, SampleStatus]:
    if found.potential.shape[1] < _FEWEST:
        return None, SampleStatus.WARMING_UP
    statistics = _statistics(found, thin)
    diagnosis = diagnose(drawn, *(statistics[name] for name in ("energy", "diverging", "leapfrogs")))
    steady = diagnosis.worst_rhat <= APART and float(np.mean(found.held)) <= HELD
    if interrupted:
        return diagnosis, SampleStatus.INTERRUPTED
    return diagnosis, SampleStatus.UNADJUSTED if steady else SampleStatus.UNSTEADY


def _statistics(found: Walked, thin: int) -> dict[str, HostArray]:
    return {
        "held": np.asarray(found.held),
        "leapfrogs": np.full(found.held.shape, thin),
        "diverging": np.asarray(found.held) > HELD,
        "energy": np.asarray(found.potential),
    }


def _largest_curvatures(target: Heated, temperatures: Array) -> Array:
    """(level,) largest curvature at zero, by power iteration from random numbers."""
    size = target.coordinates.size
    origin = jnp.zeros(size)

    def at(temperature: Array) -> Array:
        slope = jax.grad(lambda q: target.tempered(q, temperature))

        def product(_: int, way: Array) -> Array:
            found = jax.jvp(slope, (origin,), (way / jnp.linalg.norm(way),))[1]
            return jnp.where(jnp.isfinite(found), found, 0.0)

        return jnp.linalg.norm(jax.lax.fori_loop(0, _POWERS, product, jax.random.normal(jax.random.key(0), (size,))))

    return jax.lax.map(at, temperatures)


_stiffest = Compiled(_largest_curvatures, level=0)


def _begin(size: int, temperature: float, keys: Array) -> State:
    """Chains on their way from the maximum to draws from a Gaussian of that temperature."""
    own, of_place, of_noise = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
    normal = jax.vmap(lambda key: jax.random.normal(key, (size,)))
    place = normal(of_place)
    return State(place * np.sqrt(temperature), jnp.zeros_like(place), jnp.zeros_like(place), normal(of_noise), own)


def _walked(target: Heated, state: State, temperature: Array, length: Array, thin: Array) -> tuple[State, Walked]:
    """Stacked chains, a piece of draws of `thin` steps each on."""
    slope = jax.grad(lambda q: target.tempered(q, temperature))
    root = jnp.sqrt(length)

    def stepped(_: int, now: tuple[State, Array]) -> tuple[State, Array]:
        state, held = now
        there = slope(state.tried)
        good = jnp.all(jnp.isfinite(there))
        place, there = jnp.where(good, state.tried, state.whitened), jnp.where(good, there, state.slope)
        drift = -0.5 * length * there
        cut = jnp.clip(drift, -_LONGEST * root, _LONGEST * root)
        key, own = jax.random.split(state.key)
        noise = jax.random.normal(own, place.shape, place.dtype)
        tried = place + cut + 0.5 * root * (state.noise + noise)
        return State(tried, place, there, noise, key), held + (~good | jnp.any(cut != drift))

    def draw(state: State, _: None) -> tuple[State, Walked]:
        state, held = jax.lax.fori_loop(0, thin, stepped, (state, jnp.zeros(())))
        return state, Walked(state.whitened, target.potential(state.whitened), held / thin)

    return jax.vmap(lambda s: jax.lax.scan(draw, s, None, length=PIECE))(state)


_advance = Compiled(_walked, level=1)
