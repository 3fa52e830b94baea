"""Moves that propose a galaxy's spectrum anew, from an amortized posterior: across redshift modes, and exactly.

While everything else stays, the images of a scene tell a galaxy's spectrum nothing but one flux a band and its error:
with its shape m and what the others leave of the data r, both in units of the noise, f = m.r / m.m and sigma = 1 /
sqrt(m.m). Neither depends on the spectrum that the galaxy has now. So draws of a network given these fluxes are
independent proposals, which are accepted by the ratio of their weights (Tierney 1994, Annals of Statistics 22, 1701,
section 2.3.3), and their likelihood is that of a handful of fluxes, in place of images. Where images know more than the
network does few of them are taken, and a walk from where the galaxy is goes on (`walk`). Trajectories of the sampler
leave these spectra alone but for how bright they are, which goes with sizes and neighbours, and take a few long steps.
"""

from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.one import OneObject
from scarlet_sed.amortized.posterior import AmortizedPosterior
from scarlet_sed.amortized.walk import MODES, Based, walked, with_last
from scarlet_sed.constraints import base_support
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues, Gather, materialize
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import ObservationProgram, Program
from scarlet_sed.infer.sampling.anchor import times_held
from scarlet_sed.infer.sampling.moves import Move
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.noise import GaussianNoise, band_sum
from scarlet_sed.parameters import free_parameters
from scarlet_sed.paths import replace_slots
from scarlet_sed.typing import Array


class Still:
    """What of a posterior is no array, so that compiled functions take it as a constant."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def __repr__(self) -> str:
        return "Still"  # checkpoints compare it in another process


class Block(NamedTuple):
    """The spectrum of one galaxy among a scene's parameters.

    Args:
        group: of the program that its component is in.
        row: of the group; this and the rows below may be traced.
        places: path, family and row of each of the spectrum's parameters, and of `redshift` where it is free.
    """

    group: int
    row: Any
    places: tuple[tuple[str, int, Any], ...]


@final
class SpectrumMoves(Move):
    """Independent proposals for the spectra of a scene's galaxies, one galaxy after the other.

    Args (made by `spectrum_moves`):
        arrays, still: the posterior that proposes, in two parts.
        blocks: the galaxies.
        bands: per observation, the place of each of its bands among the posterior's; -1 for those that it lacks.
        tries: proposals of each galaxy in a move, from anywhere.
        rounds: of proposals for each galaxy in a move, around modes or from where it is.
        every: iterations of the sampler between two moves.
        held: see `Move`.
    """

    arrays: Any
    still: Still = eqx.field(static=True)
    blocks: tuple[Block, ...] = eqx.field(static=True)
    bands: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    tries: int = eqx.field(static=True)
    rounds: int = eqx.field(static=True)
    every: int = eqx.field(static=True)
    held: tuple[tuple[int, int], ...] = eqx.field(static=True)

    @property
    def posterior(self) -> AmortizedPosterior:
        """That proposes."""
        whole: AmortizedPosterior = eqx.combine(self.arrays, self.still.tree)
        return whole

    def __call__(self, target: AnyTarget, whitened: Array, key: Array) -> tuple[Array, Array]:
        """See `Move`."""
        program, coordinates = target.program, target.coordinates
        values = coordinates.values(program, whitened).values
        taken = jnp.zeros((), jnp.int32)
        for number, alike in enumerate(_alike(self.blocks)):
            # compiled once for galaxies that differ only in where their parameters are
            rows = jnp.array([[block.row, *(row for *_, row in block.places)] for block in alike])

            def each(
                values: FamilyValues, given: tuple[Array, Array], first: Block = alike[0]
            ) -> tuple[FamilyValues, Array]:
                (row, *others), key = given
                named = zip(first.places, others, strict=True)
                block = Block(first.group, row, tuple((path, family, own) for (path, family, _), own in named))
                return self._proposed(program, values, block, key)

            keys = jax.random.split(jax.random.fold_in(key, number), len(alike))
            values, changed = jax.lax.scan(each, values, (rows, keys))
            taken += jnp.sum(changed)
        return coordinates.whitened(program, values), taken

    def _proposed(self, program: Program, values: FamilyValues, block: Block, key: Array) -> tuple[FamilyValues, Array]:
        """Parameters after some proposals for one galaxy, and whether its spectrum is another one."""
        fluxes, sigmas = self._left(program, values, block)
        measured = self._measured(fluxes, sigmas)
        now = {path: values[family][row] for path, family, row in block.places}
        free = "redshift" in now
        redshift = _redshift(program, values, block)
        draw, choose, walk = jax.random.split(key, 3)
        one = OneObject.of(self.posterior, measured, redshift, free)
        drawn = one.drawn(draw, self.tries)

        def residual(own: dict[str, Array]) -> Array:
            z = own["redshift"] if free else redshift
            each = zip(program.observations, fluxes, sigmas, strict=True)
            return jnp.concatenate([(self._flux(observation, own, z) - f) / s for observation, f, s in each])

        def weight(own: dict[str, Array], log_prob: Array) -> Array:
            changed = _with(values, block, own)
            prior = program.log_prior(changed) + self.posterior.described.log_jacobian(own)
            found = -0.5 * jnp.sum(residual(own) ** 2) + prior - log_prob
            return jnp.where(_supported(program, changed, block) & jnp.isfinite(found), found, -jnp.inf)

        every = with_last(drawn, one.made(now))
        weights = jax.vmap(weight)(every.values, every.log_prob)
        # where the present place has no weight at all, the ratio is not known: it is left as it is
        weights = weights.at[-1].set(jnp.where(jnp.isfinite(weights[-1]), weights[-1], jnp.inf))
        walks = jnp.zeros((), jnp.int32)
        if self.rounds:
            # before a draw is taken: those of which one is the place tell where it is, and must not set its modes
            begin = jax.tree.map(lambda each: each[-1], every)
            good = drawn.place[_good(drawn.place[:, -1], weights[:-1])]
            end = walked(Based(one, weight, residual), begin, weights[-1], good, walk, self.rounds)
            now, walks = end.values, end.moved
            weights = weights.at[-1].set(end.level - one.volume(end.place))
        place = jax.random.categorical(choose, weights)
        chosen = jax.tree.map(lambda each: each[place], with_last(drawn.values, now))
        return _with(values, block, chosen), ((place < self.tries) | (walks > 0)).astype(jnp.int32)

    def _left(
        self, program: Program, values: FamilyValues, block: Block
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Per observation, the (band,) fluxes that everything else leaves to a galaxy, and their errors."""
        unit = program.unit_images(values, block.group, block.row)
        whole = program.images(values)
        now = {path: values[family][row] for path, family, row in block.places}
        z = _redshift(program, values, block)
        fluxes, sigmas = [], []
        for observation, shape, image in zip(program.observations, unit, whole, strict=True):
            own = self._flux(observation, now, z)
            noise = materialize(observation.instrument, values).noise
            left = noise.whiten(observation.data - image, observation.weights)
            seen = noise.whiten(shape, observation.weights)
            power = band_sum(seen * seen)
            known = power > 0
            # the galaxy's own flux comes back exactly: no rounding of images that nearly cancel
            flux = own + jnp.where(known, band_sum(seen * left) / jnp.where(known, power, 1.0), 0.0)
            fluxes.append(flux)
            sigmas.append(jnp.where(known, 1 / jnp.sqrt(jnp.where(known, power, 1.0)), _NEVER))
        return tuple(fluxes), tuple(sigmas)

    def _measured(self, fluxes: tuple[Array, ...], sigmas: tuple[Array, ...]) -> Measured:
        """What the network is told: bands that come twice are averaged, bands that it lacks left out."""
        count = len(self.posterior.filters)
        weight, light = jnp.zeros(count + 1), jnp.zeros(count + 1)
        for places, flux, sigma in zip(self.bands, fluxes, sigmas, strict=True):
            at = np.array([count if place < 0 else place for place in places])
            own = jnp.where(sigma < _NEVER, 1 / sigma**2, 0.0)
            weight, light = weight.at[at].add(own), light.at[at].add(own * flux)
        weight, light = weight[:count], light[:count]
        seen = weight > 0
        safe = jnp.where(seen, weight, 1.0)
        return Measured(jnp.where(seen, light / safe, 0.0), 1 / jnp.sqrt(safe), seen.astype(weight.dtype))

    def _flux(self, observation: ObservationProgram, own: dict[str, Array], z: Array) -> Array:
        """(band,) nJy of the galaxy with these parameters."""
        return self.posterior.described.model.fluxes(own, z, observation.filters)


def _alike(blocks: tuple[Block, ...]) -> list[list[Block]]:
    """Blocks whose parameters are in the same families, together."""
    found: dict[Any, list[Block]] = {}
    for block in blocks:
        kind = (block.group, tuple((path, family) for path, family, _ in block.places))
        found.setdefault(kind, []).append(block)
    return list(found.values())


def _good(across: Array, weights: Array) -> Array:
    """The best of each of several parts of draws, which lie apart in one number."""
    parts = np.array_split(np.arange(weights.size), min(MODES, weights.size))
    order = jnp.argsort(across)
    return jnp.stack([order[part[0] + jnp.argmax(weights[order[part]])] for part in parts])


_NEVER = 1e15
"""nJy: the error of a band in which a galaxy is not seen."""


def _redshift(program: Program, values: FamilyValues, block: Block) -> Array:
    found: Array = materialize(program.groups[block.group].redshift, values)[block.row]
    return found


def _with(values: FamilyValues, block: Block, own: dict[str, Array]) -> FamilyValues:
    found = list(values)
    for path, family, row in block.places:
        found[family] = found[family].at[row].set(own[path])
    return tuple(found)


def _supported(program: Program, values: FamilyValues, block: Block) -> Array:
    """Whether a galaxy's parameters lie where their priors do: NumPyro's densities go on beyond."""
    inside = jnp.ones((), bool)
    for _, family, row in block.places:
        prior = jax.tree.map(lambda leaf, r=row: leaf[r], program.families[family].prior)
        inside = inside & jnp.all(base_support(prior)(values[family][row]))
    return inside


def spectrum_moves(
    posterior: AmortizedPosterior,
    *,
    tries: int = 32,
    rounds: int = 16,
    every: int = 1,
    hold: bool = True,
    sources: tuple[str, ...] | None = None,
) -> Any:
    """What `sample(moves=...)` takes: moves for the galaxies of a scene whose spectra the posterior describes.

    They are galaxies of one component, without screens, whose spectrum has the same free parameters as the posterior's
    and shares none with others, in observations with Gaussian noise. Other sources are left to the sampler.

    Args:
        posterior: with free redshift, if that of a galaxy is free.
        tries: proposals of each galaxy in a move, drawn from the posterior for what the others leave of the images;
            they cross between modes, and each costs about one spectrum.
        rounds: of 16 proposals around modes and from where the galaxy is, for images that know it better than the
            posterior does; bright galaxies, of a signal-to-noise beyond 100, want 32.
        every: iterations of the sampler between two moves.
        hold: whether trajectories leave these spectra alone, but for how bright they are: then they are short.
        sources: names; None for all that are such galaxies.

    Raises (most once it is called):
        ParameterError: if a named source is no such galaxy, or there is none, or the posterior knows only redshifts.
        FilterError: if the posterior knows fewer than three bands of the observations.
    """
    posterior.require_numbers()
    # once, so that scenes of equal shapes are compiled once
    arrays, rest = eqx.partition(posterior, eqx.is_array)
    if tries < 1 or every < 1 or rounds < 0:
        raise ParameterError(
            f"tries={tries}, every={every}, rounds={rounds}", fix="give positive whole numbers; rounds may be zero"
        )
    return partial(_moves, arrays, Still(rest), (tries, rounds, every), hold, sources)


def _moves(
    arrays: Any,
    still: Still,
    counts: tuple[int, int, int],
    hold: bool,
    sources: tuple[str, ...] | None,
    model: LogPosterior,
) -> SpectrumMoves:
    posterior: AmortizedPosterior = eqx.combine(arrays, still.tree)
    wanted = tuple(model.scene.sources) if sources is None else sources
    found, reasons = [], {}
    for name in wanted:
        block = _block(posterior, model, name)
        if isinstance(block, Block):
            found.append(block)
        else:
            reasons[name] = block
    if reasons and (sources is not None or not found):
        told = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:8])
        raise ParameterError(
            f"spectra cannot be proposed ({told})", fix="name other sources, or use a posterior for such spectra"
        )
    bands = tuple(o.filters.places_in(posterior.filters) for o in model.observations)
    known = {place for places in bands for place in places if place >= 0}
    posterior.require_bands(len(known), (name for o in model.observations for name in o.bands))
    tries, rounds, every = counts
    return SpectrumMoves(
        arrays=arrays,
        still=still,
        blocks=tuple(found),
        bands=bands,
        tries=tries,
        rounds=rounds,
        every=every,
        held=tuple(
            (family, row)
            for block in found
            for path, family, row in block.places
            if hold and path != posterior.described.path
        ),
    )


def _block(posterior: AmortizedPosterior, model: LogPosterior, name: str) -> Block | str:
    """The block of a source, or why there is none."""
    if name not in model.scene.sources:
        return "there is no such source"
    source = model.scene.sources[name]
    if len(source.components()) != 1 or any(source.screens()):
        return "it has several components, or screens"
    if not all(isinstance(o.noise, (GaussianNoise, CorrelatedNoise)) for o in model.observations):
        return "the noise is not Gaussian"
    prefix = f"{name}.spectrum."
    paths = {path.removeprefix(prefix): path for path in model.paths if path.startswith(prefix)}
    if set(paths) != set(posterior.paths):
        return f"its free parameters and the posterior's differ in {sorted(set(paths) ^ set(posterior.paths))}"
    if (far := f"{name}.redshift") in model.paths:
        if not posterior.knows_redshift:
            return "its redshift is free, and the posterior knows none"
        paths["redshift"] = far
    places = {path: model.places[whole] for path, whole in paths.items()}
    held = times_held(model.program)
    if shared := [path for path, place in places.items() if held[place] != 1]:
        return f"it shares {', '.join(shared)} with others"
    for number, group in enumerate(model.program.groups):
        slot = getattr(group.component.spectrum, posterior.described.path, None)
        if isinstance(slot, Gather) and slot.family == places[posterior.described.path].family:
            rows = np.flatnonzero(
                (np.broadcast_to(np.asarray(slot.rows), group.valid.shape) == places[posterior.described.path].row)
                & (np.asarray(group.valid) > 0)
            )
            if len(rows) == 1:
                fixed = _differs(posterior, model, name)
                if fixed:
                    return fixed
                return Block(number, int(rows[0]), tuple((path, *places[path]) for path in sorted(places)))
    return "it shares its mass with others"


def _differs(posterior: AmortizedPosterior, model: LogPosterior, name: str) -> str:
    """How the constants of a source's spectrum differ from the posterior's; empty if they do not."""
    _, component = model.scene.sources[name].components()[0]
    own = {path: leaf.value for path, leaf in free_parameters(component.spectrum).items()}
    template = replace_slots(posterior.described.model.spectrum, own)
    here = replace_slots(component.spectrum, own)
    same = eqx.tree_equal(jax.tree.map(np.asarray, template), jax.tree.map(np.asarray, here))
    return "" if bool(same) else "what is fixed in it (engine, curves, cosmology, ...) is not as in the posterior"
