"""Fit a scene: climb the log-posterior in unconstrained numbers, on the device, in chunks of steps."""

import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.compiled import Compiled
from scarlet_sed.infer.covariance import is_image, laplace
from scarlet_sed.infer.curvature import prior_curvature
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.newton import polish as polished
from scarlet_sed.infer.posterior import LogPosterior, constrain_inside
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.result import FitResult, Timing, make_result
from scarlet_sed.infer.status import FitStatus
from scarlet_sed.infer.whitening import Whitened, Whitening, identity, whiten
from scarlet_sed.parameters import as_float, set_values, to_device
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import Array

Method = Literal["adam", "lbfgs"]
CHUNK = 25
_FIT = np.int32(-1)  # in place of a seed: optimiser steps, not probes
_CYCLE = (2, 3, 4, 6)  # chunks between new whitenings: far from the maximum the curvature changes quickly
_RESTART = 0.3  # learning rate of a cycle that checks a converged one
_DECAY = 0.35
_SMALLEST_RATE = 0.04  # of the initial learning rate: a tenth of a standard deviation a step


class _State(NamedTuple):
    """Whitened coordinates, the optimiser's memory, the best point so far, and sums of squared gradients of images.

    Only the gradients of blocks are kept step by step: those of images would fill the memory.
    """

    current: Whitened
    optimizer: Any
    best: Whitened
    best_log_prob: Array
    squares: FamilyValues


class Schedule(NamedTuple):
    """When to stop and how far to step.

    Args:
        steps: largest number of steps.
        learning_rate: first step size, in standard deviations of whitened parameters.
        tolerance: a chunk of 25 steps that gains less log-posterior than this cuts the step size to a third; when it
            is down to a twenty-fifth, the cycle has ended, and a cycle that gains less than twice this ends the fit.
    """

    steps: int = 1000
    learning_rate: float = 5.0
    tolerance: float = 0.5


def fit(
    scene: Scene,
    observations: Any,
    *,
    method: Method = "adam",
    steps: int = 1000,
    learning_rate: float = 5.0,
    tolerance: float = 0.5,
    polish: int = 8,
    uncertainties: bool = True,
    progress: bool = True,
) -> FitResult:
    """Find the maximum of the posterior (in the parameters, not in the unconstrained numbers).

    Images whose prior has an easier one are fitted with that first, and before with an easier one of that, and so on.

    Args:
        scene: the scene to fit; free parameters start at their present values.
        observations: one or more observations.
        method: "adam" (in coordinates whitened source by source, so that each parameter steps in units of its own
            uncertainty) or "lbfgs" in the same coordinates (few parameters, close to the maximum).
        steps: largest number of steps.
        learning_rate: first step in units of the uncertainties.
        tolerance: gain of log-posterior per 25 steps below which the steps shrink, and at last the fit ends.
        polish: largest number of Gauss-Newton steps at the end, with uncertainties only, whose matrix they need.
        uncertainties: whether to add Laplace uncertainties.
        progress: whether to show a progress bar (only on a terminal).

    Returns:
        The best iterate by log-posterior, with its status, history and uncertainties.

    Raises:
        ParameterError: if nothing is free, or for an unknown method.
    """
    if method not in ("adam", "lbfgs"):
        raise ParameterError(f"unknown method {method!r}", fix='choose "adam" or "lbfgs"')
    schedule = Schedule(steps, learning_rate, tolerance)
    first = eased(scene)
    if first is None:
        result = _fitted(scene, observations, schedule, method, progress)
    else:
        settings: Any = {**schedule._asdict(), "method": method, "uncertainties": False, "progress": progress}
        before = fit(first, observations, **settings)
        scene, observations = _values_of(before.scene, scene), before.observations
        if before.status is FitStatus.INTERRUPTED:
            posterior = LogPosterior(scene, observations)
            return make_result(posterior, posterior.start, before.status, before.loss, before.timing)
        result = _fitted(scene, observations, schedule, method, progress)
        result = result._replace(timing=_together(before.timing, result.timing))
    return refined(result, polish) if uncertainties else result


def eased(scene: Scene) -> Scene | None:
    """The scene with easier priors on images in place of those that have one (`MorphologyPrior.easier`), or None."""
    easier = {
        path: leaf.prior.easier
        for path, leaf in scene.parameters.items()
        if isinstance(leaf.prior, MorphologyPrior) and leaf.prior.easier is not None
    }
    for path, prior in easier.items():
        scene = scene.free(path, prior)
    return scene if easier else None


def _values_of(fitted: Scene, scene: Scene) -> Scene:
    return set_values(scene, {path: value for path, value in fitted.values.items() if path in scene.parameters})


def _together(one: Timing, other: Timing) -> Timing:
    return Timing(
        build=one.build + other.build,
        compile=one.compile + other.compile,
        run=one.run + other.run,
        step=other.step,
        uncertainties=0.0,
        compilations=one.compilations + other.compilations,
    )


def _fitted(scene: Scene, observations: Any, schedule: Schedule, method: Method, progress: bool) -> FitResult:
    started = time.perf_counter()
    posterior = LogPosterior(scene, observations)
    if not posterior.places:
        raise ParameterError("the scene has no free parameters", fix="give priors, or scene.free(path, prior)")
    built = time.perf_counter()
    best, status, history, timing = maximize(posterior, schedule, method, progress)
    timing = timing._replace(build=built - started)
    return make_result(posterior, posterior.constrain(best), status, history, timing)


def refined(result: FitResult, polish: int = 8) -> FitResult:
    """A fit after Gauss-Newton steps from where it ended, with Laplace uncertainties.

    Args:
        result: of `fit(..., uncertainties=False)`.
        polish: largest number of Gauss-Newton steps; none for a fit that was interrupted or failed.
    """
    before, posterior = time.perf_counter(), result.posterior
    best, curvature = posterior.unconstrain(result.values), None
    if result.status in (FitStatus.CONVERGED, FitStatus.MAX_STEPS) and polish > 0:
        best, curvature, losses, settled = polished(posterior, best, polish)
        # what is said about images is what Adam has found
        status = FitStatus.CONVERGED if settled and not any(is_image(u) for u in best) else result.status
        history = np.concatenate([result.loss, np.asarray(losses)])
        result = make_result(posterior, posterior.constrain(best), status, history, result.timing)
    result = result.with_laplace(laplace(posterior, best, curvature))
    return result._replace(timing=result.timing._replace(uncertainties=time.perf_counter() - before))


def maximize(
    posterior: LogPosterior, schedule: Schedule, method: Method, progress: bool
) -> tuple[FamilyValues, FitStatus, np.ndarray, Timing]:
    """Run the optimiser from the posterior's starting values, in cycles.

    A cycle whitens at the best point so far and steps until the steps are small and gain nothing, or for a few chunks
    (more as the fit goes on). The fit has converged when a cycle that ended by itself has gained next to nothing on
    the cycle before: a new whitening and larger steps found nothing that the old ones had missed.

    Returns:
        the best unconstrained numbers, the status, the history of minus log-posterior per step, and timings.
    """
    program = posterior.program
    compiled_before = compilations()
    best = posterior.unconstrain(posterior.start)
    best_log_prob = -np.inf
    history: list[np.ndarray] = []
    durations: list[float] = []
    status = FitStatus.MAX_STEPS
    chunks = max(1, -(-schedule.steps // CHUNK))
    rate, cycle, ended = schedule.learning_rate, 0, False
    with tqdm(total=chunks * CHUNK, desc="fit", unit="step", disable=None if progress else True) as bar:
        try:
            while len(history) < chunks and status is FitStatus.MAX_STEPS:
                whitening = _whitened_at(posterior, best, cycle)
                state = _prepare(whitening, method)
                before_cycle, ended = best_log_prob, False
                for _ in range(min(_CYCLE[min(cycle, len(_CYCLE) - 1)], chunks - len(history))):
                    started, last = time.perf_counter(), float(state.best_log_prob)
                    state, (losses, _) = _run_chunk(program, state, whitening, as_float(rate), _FIT, method)
                    history.append(np.asarray(losses))
                    durations.append(time.perf_counter() - started)
                    bar.update(CHUNK)
                    bar.set_postfix(log_posterior=f"{float(state.best_log_prob):.1f}", step=f"{rate:.2g}")
                    if not np.all(np.isfinite(history[-1])):
                        status = FitStatus.NOT_FINITE
                        break
                    if float(state.best_log_prob) - last < schedule.tolerance:
                        rate *= _DECAY
                        state = state._replace(current=state.best)
                        if rate < _SMALLEST_RATE * schedule.learning_rate or method == "lbfgs":
                            ended = True
                            break
                if float(state.best_log_prob) > best_log_prob:
                    best, best_log_prob = _unwhitened(program, whitening, state.best), float(state.best_log_prob)
                if ended:
                    if best_log_prob - before_cycle < 2 * schedule.tolerance:
                        status = FitStatus.CONVERGED
                    rate = _RESTART * schedule.learning_rate
                cycle += 1
        except KeyboardInterrupt:
            status = FitStatus.INTERRUPTED
    timing = Timing(
        build=0.0,
        compile=max(0.0, durations[0] - float(np.median(durations[1:]))) if len(durations) > 1 else 0.0,
        run=float(np.sum(durations)),
        step=float(np.median(durations[1:] or durations)) / CHUNK if durations else 0.0,
        uncertainties=0.0,
        compilations=compilations() - compiled_before,
    )
    return best, status, np.concatenate(history) if history else np.zeros(0), timing


def _whitened_at(posterior: LogPosterior, unconstrained: FamilyValues, seed: int) -> Whitening:
    """Whitening at a point, from one chunk of probes: the program that steps also probes, so it is compiled once."""
    program = posterior.program
    plain = identity(posterior.places, unconstrained)
    state = _prepare(plain, "adam")
    state, (chi2, gradients) = _run_chunk(program, state, plain, as_float(0.0), np.int32(seed), "adam")
    used = sum(int(np.sum(np.asarray(o.weights) > 0)) for o in posterior.observations)
    # the scale of a free image's pixels comes from the data and the trust region
    curved = [i for i, f in enumerate(program.families) if not (f.flat or is_image(unconstrained[i]))]
    prior: list[Any] = [np.zeros(u.shape) for u in unconstrained]
    if curved:
        found = prior_curvature([program.families[i] for i in curved], [unconstrained[i] for i in curved])
        for i, curvature in zip(curved, found, strict=True):
            prior[i] = curvature
    return whiten(program, plain, gradients, state.squares, tuple(prior), float(np.asarray(chi2)[0]) / used)


def compilations() -> int:
    """How many programs the optimiser has compiled so far in this process."""
    transform: Any = constrain_inside
    return _compiled_chunk.count + prior_curvature.count + int(transform._cache_size())


def _inside(program: Program, unconstrained: FamilyValues) -> FamilyValues:
    return tuple(f.keep_inside(u) for f, u in zip(program.families, unconstrained, strict=True))


def _in_unconstrained(program: Program, whitening: Whitening, whitened: Whitened) -> FamilyValues:
    return _inside(program, whitening(whitened))


_unwhitened = Compiled(_in_unconstrained, level=0)


def _optimizer(method: Method) -> optax.GradientTransformation:
    if method == "adam":
        return optax.scale_by_adam(b1=0.9, b2=0.98)
    return optax.lbfgs()


def _prepare(whitening: Whitening, method: Method) -> _State:
    """The state at the centre of a whitening; Adam's two moments start at zero, as the coordinates do."""
    origin = whitening.origin
    adam = optax.ScaleByAdamState(to_device(np.zeros(()), np.int32), origin, origin)
    optimizer = adam if method == "adam" else _optimizer(method).init(origin)
    return _State(origin, optimizer, origin, as_float(-np.inf), origin.images)


def _chunk(
    program: Program, state: _State, whitening: Whitening, rate: Array, seed: Array, method: Method
) -> tuple[_State, tuple[Array, Array]]:
    """`CHUNK` optimiser steps, or as many probes of the curvature at one point.

    Args:
        program: the model.
        state: where to start.
        whitening: coordinates.
        rate: step size; zero while probing.
        seed: of the probes; `_FIT` for optimiser steps.
        method: which optimiser.

    Returns:
        the new state; and (step,) minus log-posterior at each visited point with the gradients of the blocks there,
        or chi-square with the probes J^T z.
    """

    def draw(whitened: Whitened) -> tuple[tuple[Array, ...], FamilyValues, FamilyValues]:
        unconstrained = _inside(program, whitening(whitened))
        values = program.constrain(unconstrained)
        return program.images(values), values, unconstrained

    def keep_best(state: _State, value: Array) -> _State:
        better = (-value > state.best_log_prob) & (seed == _FIT)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.current, state.best)
        return state._replace(best=best, best_log_prob=jnp.where(better, -value, state.best_log_prob))

    def slope(
        images: tuple[Array, ...], values: FamilyValues, unconstrained: FamilyValues, _: Array
    ) -> tuple[Array, Any]:
        return jax.value_and_grad(program.negative_log_prob, argnums=(0, 1, 2))(images, values, unconstrained)

    def probe(
        images: tuple[Array, ...], values: FamilyValues, unconstrained: FamilyValues, number: Array
    ) -> tuple[Array, Any]:
        chi2, cotangent = program.probe(images, values, seed, number)
        return chi2, (cotangent, *jax.tree.map(jnp.zeros_like, (values, unconstrained)))

    def adam(state: _State, number: Array) -> tuple[_State, tuple[Array, Array]]:
        drawn, pullback = jax.vjp(draw, state.current)
        value, cotangent = jax.lax.cond(seed == _FIT, slope, probe, *drawn, number)
        (gradient,) = pullback(cotangent)
        state = keep_best(state, value)
        updates, optimizer = _optimizer("adam").update(gradient, state.optimizer)
        current = jax.tree.map(lambda w, d: w - rate * d, state.current, updates)
        squares = jax.tree.map(lambda s, g: s + jnp.square(g), state.squares, gradient.images)
        return state._replace(current=current, optimizer=optimizer, squares=squares), (value, gradient.blocks)

    def objective(whitened: Whitened) -> Array:
        return program.negative_log_prob(*draw(whitened))

    def lbfgs(state: _State, _: Array) -> tuple[_State, tuple[Array, Array]]:
        value, gradient = optax.value_and_grad_from_state(objective)(state.current, state=state.optimizer)
        state = keep_best(state, value)
        updates, optimizer = _optimizer("lbfgs").update(
            gradient, state.optimizer, state.current, value=value, grad=gradient, value_fn=objective
        )
        current = jax.tree.map(jnp.add, state.current, updates)
        return state._replace(current=current, optimizer=optimizer), (value, gradient.blocks)

    return jax.lax.scan(adam if method == "adam" else lbfgs, state, jnp.arange(CHUNK))


_compiled_chunk = Compiled(_chunk, level=1, static=("method",))


def _run_chunk(
    program: Program, state: _State, whitening: Whitening, rate: Array, seed: np.int32, method: Method
) -> tuple[_State, tuple[Array, Array]]:
    """`_chunk`, compiled."""
    result: tuple[_State, tuple[Array, Array]] = _compiled_chunk(program, state, whitening, rate, seed, method)
    return result
