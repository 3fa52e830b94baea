"""Training of amortized posteriors: spectra from a library, masses, errors and missing bands drawn anew each time."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.context_range import ContextRange
from scarlet_sed.amortized.expected import ExpectedFluxes
from scarlet_sed.amortized.model import AMPLITUDE, Described, Library
from scarlet_sed.amortized.networks import PARTS, Networks, Sizes
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import as_float
from scarlet_sed.resume import train_on
from scarlet_sed.typing import Array

VALIDATION = 20_000
"""Spectra held back."""
_CHUNK = 250
_USUAL = 200_000
"""Spectra from which it is learnt what is usual."""
_SKIPPED = 100
"""Steps in a row that may be skipped; then the training ends with an error."""
_STRANGE = 0.01
"""Share of objects without a density that is none any more."""
_PAD = 0.5
"""Share of the least signal from which most masses are drawn."""
NOISE = 1_000_003
"""Folded into the key that spectra were drawn with, it gives one for their errors: they must not go together."""
WIDE = 0.4
"""Share of masses that are drawn from the whole prior: noise lifts some of the faintest above the least signal. These
weigh about four times as much as the others; drawn more seldom, a batch has too few for their weight."""


@dataclass(frozen=True)
class Recipe:
    """How networks are trained.

    Args:
        sizes: of the networks.
        steps: of Adam; the learning rate falls along a cosine to zero at the last.
        batch: objects a step.
        learning_rate: after a short warm-up.
        library: spectra drawn.
        memory: of the mean of weights over late steps, in steps.
        free: whether redshifts are described too.
        parts: of `PARTS`, what is trained; the other stays as it begins.
        seed: of everything random.
    """

    sizes: Sizes = field(default_factory=Sizes)
    steps: int = 200_000
    batch: int = 256
    learning_rate: float = 1e-3
    library: int = 1_000_000
    memory: int = 1000
    free: bool = True
    parts: tuple[str, ...] = PARTS
    seed: int = 0


class State(NamedTuple):
    """Everything that training goes on from; of networks only what is trained."""

    networks: Networks
    mean: Networks
    optimizer: Any
    step: Array


class Objects(NamedTuple):
    """Simulated objects, a row each.

    Args:
        numbers: (object, n) as the flow has them.
        redshift: (object,).
        measured: their fluxes.
        weight: (object,) that makes masses uniform; 0 for what no survey would find.
        mass: (object,) the amplitude.
        normal: (object, n - 1) numbers.
        signal: (object,) mean signal-to-noise of what detects, all bands there.
    """

    numbers: Array
    redshift: Array
    measured: Measured
    weight: Array
    mass: Array
    normal: Array
    signal: Array


def observe(described: Described, survey: Survey, spectra: Library, key: Array) -> Objects:
    """Objects with the given spectra: mass, errors and missing bands drawn. Traced.

    Masses too low to be found are drawn less often; weights make up for it, so that they stay uniform under the prior.
    What is found is decided by the observed fluxes alone, before any band is taken away, so that it tells nothing more
    about an object than they do.
    """

    def one(normal: Array, redshift: Array, unit: Array, key: Array) -> Objects:
        depth, wide, heavy, noise, bands = jax.random.split(key, 5)
        background = survey.background(depth)
        unit_signal = survey.signal(unit, background)
        low, high = described.ends
        faintest = AMPLITUDE + jnp.log10(_PAD * survey.least / jnp.maximum(unit_signal, 1e-30))
        lowest = jnp.clip(faintest, low, high)
        bottom = jnp.where(jax.random.uniform(wide) < WIDE, low, lowest)
        mass = jax.random.uniform(heavy, (), minval=bottom, maxval=high)
        upper = (1 - WIDE) * (high - low) / jnp.maximum(high - lowest, 1e-6)
        weight = 1 / (WIDE + jnp.where(mass >= lowest, upper, 0.0))
        seen, sigma = survey.observed(noise, unit * 10.0 ** (mass - AMPLITUDE), background)
        signal = survey.signal(seen, sigma)
        measured = Measured(seen, sigma, survey.present(bands))
        found = (signal >= survey.least).astype(seen.dtype)
        numbers = described.described(normal, mass, measured, redshift)
        return Objects(numbers, redshift, measured, found * weight, mass, normal, signal)

    keys = jax.random.split(key, spectra.redshift.shape[0])
    return jax.vmap(one)(spectra.normal, spectra.redshift, spectra.flux, keys)


def losses(networks: Networks, objects: Objects) -> dict[str, Array]:
    """(object,) negative log-densities of the numbers, and of the redshift where it is described."""
    summary = jax.vmap(networks.summary)(objects.measured, objects.redshift)
    found = {"numbers": -networks.flow.log_prob(objects.numbers, summary)}
    if networks.redshift is not None:
        density = networks.redshift
        found["redshift"] = -jax.vmap(lambda m, z: density(m).log_prob(z))(objects.measured, objects.redshift)
    return found


def _trained(networks: Networks, parts: tuple[str, ...]) -> Any:
    """Which leaves are trained, as a tree of booleans."""
    none = jax.tree.map(lambda _: False, networks)
    for of, part in (("embedding", "numbers"), ("flow", "numbers"), ("redshift", "redshift")):
        if part in parts and getattr(networks, of) is not None:
            own = jax.tree.map(eqx.is_inexact_array, getattr(networks, of))
            if of == "redshift":
                own = eqx.tree_at(lambda d: d.profile, own, jax.tree.map(lambda _: False, own.profile))
            none = eqx.tree_at(lambda n, of=of: getattr(n, of), none, own, is_leaf=lambda x: x is None)
    return none


def _weighted(each: Array, weight: Array) -> Array:
    # a single strange object must not decide a step; where they are many, there is no number to be had
    strange = ~jnp.isfinite(each)
    mean = jnp.mean(jnp.where(weight > 0, jnp.where(strange | (each > 50.0), 50.0, each), 0.0) * weight)
    return jnp.where(jnp.mean(strange) > _STRANGE, jnp.nan, mean)


def begin(
    described: Described, survey: Survey, spectra: Library, ends: tuple[float, float], recipe: Recipe
) -> tuple[Described, Networks]:
    """The spectrum with its first number standardised, and random networks.

    Args:
        described: the spectrum.
        survey: errors and missing bands.
        spectra: the library.
        ends: of the redshift.
        recipe: of the training.
    """
    key = jax.random.key(recipe.seed)
    some = jax.tree.map(lambda a: a[:VALIDATION], spectra)
    objects = eqx.filter_jit(observe)(described, survey, some, jax.random.fold_in(key, NOISE))
    kept = np.asarray(objects.weight) > 0
    ratio = np.asarray(objects.numbers)[kept, 0]
    standard = eqx.tree_at(lambda d: d.ratio, described, as_float([ratio.mean(), ratio.std()]))
    measured, redshifts = jax.tree.map(lambda a: a[kept], (objects.measured, objects.redshift))
    expected = ExpectedFluxes.of(spectra, survey.depth, ends, recipe.sizes.expected)
    clouds = ExpectedFluxes.of(spectra, survey.depth, ends, recipe.sizes.cells) if recipe.free else None
    networks = Networks.initial(
        jax.random.fold_in(key, 1), recipe.sizes, described.numbers, expected, measured, redshifts, clouds
    )
    return standard, networks


def usual_of(
    described: Described, survey: Survey, spectra: Library, networks: Networks, recipe: Recipe
) -> ContextRange:
    """Where objects lie as they are trained on.

    Args:
        described, networks: trained.
        survey, spectra, recipe: of the training.
    """
    some = jax.tree.map(lambda a: a[-_USUAL:], spectra)
    objects = eqx.filter_jit(observe)(described, survey, some, jax.random.key(recipe.seed + 2))
    # in their weights' proportion, as they are counted in training
    weight = np.asarray(objects.weight, np.float64)
    kept = np.flatnonzero(np.random.default_rng(recipe.seed).random(len(weight)) < weight / weight.max())
    measured, redshift = jax.tree.map(lambda a: a[kept], (objects.measured, objects.redshift))
    return ContextRange.of(networks, measured, redshift)


def train(
    described: Described,
    survey: Survey,
    spectra: Library,
    networks: Networks,
    recipe: Recipe,
    checkpoint: Path,
    *,
    seconds: float = float("inf"),
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Networks, list[dict[str, float]], bool]:
    """Train, or go on from the checkpoint, for at most some seconds.

    Args:
        described, networks: what `begin` returned.
        survey: errors and missing bands.
        spectra: the library; its first rows are held back.
        recipe: how.
        checkpoint: a file to go on from, and to leave the state in.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the networks with the mean of their weights over late steps, the record (step, seconds, mean negative
        log-density of the numbers and of redshift for held-back spectra), and whether the last step was reached.

    Raises:
        ParameterError: if the recipe trains nothing, or parts that there are not.
        FileFormatError: if the checkpoint belongs to another recipe.
    """
    there = {"numbers"} | ({"redshift"} if networks.redshift is not None else set())
    if not (there & set(recipe.parts) and set(recipe.parts) <= set(PARTS)):
        raise ParameterError(f"the parts {recipe.parts} leave nothing to train", fix=f"name some of {sorted(there)}")
    held = min(VALIDATION, spectra.redshift.shape[0] // 10)
    rows = spectra.redshift.shape[0]
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, min(500, recipe.steps // 10), recipe.steps)
    # one object in millions has a gradient that is not a number: that step is not taken
    optimizer = optax.apply_if_finite(optax.chain(optax.clip_by_global_norm(20.0), optax.adam(schedule)), _SKIPPED)
    trained, fixed = eqx.partition(networks, _trained(networks, recipe.parts))
    state = State(trained, trained, optimizer.init(trained), jnp.asarray(0, jnp.int32))
    memory = 1 - 1 / recipe.memory

    def loss(trained: Networks, fixed: Networks, objects: Objects) -> Array:
        each = losses(eqx.combine(trained, fixed), objects)
        return _weighted(sum((v for part, v in each.items() if part in recipe.parts), jnp.zeros(())), objects.weight)

    @eqx.filter_jit
    def advance(
        state: State, fixed: Networks, described: Described, survey: Survey, spectra: Library, usual: Array
    ) -> State:
        def step(now: State, _: None) -> tuple[State, None]:
            key = jax.random.fold_in(jax.random.key(recipe.seed + 1), now.step)
            pick, draw = jax.random.split(key)
            chosen = jax.random.randint(pick, (recipe.batch,), held, rows)
            objects = observe(described, survey, jax.tree.map(lambda a: a[chosen], spectra), draw)
            # not by the weights of this batch, or what weighs much would always count for less
            gradient = jax.grad(loss)(now.networks, fixed, objects._replace(weight=objects.weight / usual))
            updates, inner = optimizer.update(gradient, now.optimizer)
            networks = eqx.apply_updates(now.networks, updates)
            mean = jax.tree.map(lambda m, n: memory * m + (1 - memory) * n, now.mean, networks)
            return State(networks, mean, inner, now.step + 1), None

        return jax.lax.scan(step, state, None, length=_CHUNK)[0]

    kept = jax.tree.map(lambda a: a[:held], spectra)
    aside = eqx.filter_jit(observe)(described, survey, kept, jax.random.fold_in(jax.random.key(recipe.seed), NOISE))
    usual = jnp.mean(aside.weight)
    aside = aside._replace(weight=aside.weight / usual)

    @eqx.filter_jit
    def held_back(networks: Networks, objects: Objects) -> dict[str, Array]:
        return {part: _weighted(each, objects.weight) for part, each in losses(networks, objects).items()}

    def told(state: State) -> dict[str, float]:
        now = held_back(eqx.combine(state.mean, fixed), aside)
        return {part: float(each) for part, each in now.items()}

    state, record, finished = train_on(
        state,
        lambda now: advance(now, fixed, described, survey, spectra, usual),
        told,
        asdict(recipe),
        checkpoint,
        every=8 * _CHUNK,
        seconds=seconds,
        progress=progress,
    )
    return eqx.combine(state.mean, fixed), record, finished
