"""The density that a sampler sees: round, centred, and precise in float32.

Numbers q are standard normal if the posterior is a Gaussian with the curvature at its maximum: u = u_max + L q, where
L L^T is the inverse of the Gauss-Newton matrix of all parameters that are not images, and images scale number by
number; where there are images, the directions that are still not round are stretched (`stretched`). Differences of
log-likelihood against the maximum are summed pixel by pixel, so that float32 does not lose a difference of one between
two sums of a million.
"""

from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.covariance import Curvature, inverse_root, is_image
from scarlet_sed.infer.curvature import curvature_diagonal
from scarlet_sed.infer.families import FamilyValues, materialize
from scarlet_sed.infer.newton import polish
from scarlet_sed.infer.posterior import LogPosterior, constrain
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.anchor import Anchor, anchored
from scarlet_sed.infer.sampling.bend import FEWEST, Bend, straight
from scarlet_sed.instrument.noise import band_sum
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.typing import Array, HostArray

LONGEST = 4.0
"""Steps along stretched directions: numbers are about as wide as their prior, and what is flatter bends elsewhere."""


class Stretch(NamedTuple):
    """Steps of other lengths along some directions of the whitened numbers, whatever parameters these mix.

    Args:
        directions: (k, size) orthonormal.
        more: (k,) length less one.
    """

    directions: Array
    more: Array

    def __call__(self, whitened: Array) -> Array:
        """(size,) stretched numbers."""
        return self._along(whitened, self.more)

    def undone(self, stretched: Array) -> Array:
        """(size,) numbers before they were stretched."""
        return self._along(stretched, -self.more / (1 + self.more))

    def _along(self, numbers: Array, more: Array) -> Array:
        if not len(more):
            return numbers
        return numbers + (more * (self.directions @ numbers)) @ self.directions


class Coordinates(NamedTuple):
    """How whitened numbers become unconstrained ones.

    Args:
        origin: unconstrained numbers at zero.
        number: per family, which step each of its unconstrained numbers takes; the last one is none.
        root: (p, p) steps of the numbers that are correlated, by whitened number.
        scale: (m,) steps of the numbers of images.
        bend: what the steps of the correlated numbers pass.
        anchor: what amplitudes follow after that.
        stretch: of the whitened numbers, before all that.
    """

    origin: FamilyValues
    number: FamilyValues
    root: Array
    scale: Array
    bend: Bend
    anchor: Anchor
    stretch: Stretch

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.root.shape[0] + self.scale.shape[0])

    def unconstrained(self, whitened: Array) -> tuple[FamilyValues, Array]:
        """Unconstrained numbers from (size,) whitened ones, before amplitudes follow, and the bend's volume."""
        count = self.root.shape[0]
        whitened = self.stretch(whitened)
        bent, volume = self.bend(self.root @ whitened[:count])
        return self.placed(jnp.concatenate([bent, self.scale * whitened[count:]])), volume

    def placed(self, steps: Array) -> FamilyValues:
        """Unconstrained numbers from steps, of which images' may be left out."""
        padded = jnp.append(steps, 0.0)
        pairs = zip(self.origin, self.number, strict=True)
        return tuple(origin + padded[jnp.minimum(number, steps.shape[0])] for origin, number in pairs)

    def values(self, program: Program, whitened: Array) -> "Placed":
        """Parameters from (size,) whitened numbers."""
        unconstrained, volume = self.unconstrained(whitened)
        values, inside = self.anchor(program, constrain(program, unconstrained))
        # a shear: what the amplitudes' transforms did to volumes before they followed is all that happens to them
        volume = volume + program.log_jacobian(unconstrained)
        # amplitudes follow, but images do not
        return Placed(values, jnp.where(inside, volume, -jnp.inf), unconstrained)

    def whitened(self, program: Program, values: FamilyValues) -> Array:
        """(size,) whitened numbers from parameters: the inverse of `values`, to rounding."""
        before = self.anchor.undone(program, values)
        steps = jnp.zeros(self.size + 1)
        for family, value, origin, number in zip(program.families, before, self.origin, self.number, strict=True):
            steps = steps.at[number].set(family.unconstrain(value) - origin)
        count = self.root.shape[0]
        straight = self.bend.undone(steps[:count])
        first = jnp.linalg.solve(self.root, straight)
        # once more for what rounding left
        first = first + jnp.linalg.solve(self.root, straight - self.root @ first)
        return self.stretch.undone(jnp.concatenate([first, steps[count:-1] / self.scale]))


class Placed(NamedTuple):
    """Where whitened numbers lead.

    Args:
        values: the parameters.
        volume: logarithm of the volume that a unit of whitened numbers has there, up to a constant; minus infinity off
            the priors' supports.
        unconstrained: numbers that the parameters came from, before amplitudes followed.
    """

    values: FamilyValues
    volume: Array
    unconstrained: FamilyValues

    def log_prior(self, program: Program) -> Array:
        """Scalar log-prior density a unit of whitened numbers, up to a constant."""
        return program.log_prior(self.values, self.unconstrained) + self.volume


class AnyTarget(Protocol):
    """What a sampler needs: a potential over whitened numbers, and how many there are."""

    @property
    def program(self) -> Program:
        """The model."""

    @property
    def coordinates(self) -> Coordinates:
        """Of the numbers that are sampled."""

    def potential(self, whitened: Array) -> Array:
        """Minus the log-density of (size,) whitened numbers, zero at zero."""

    def values(self, whitened: Array) -> FamilyValues:
        """Parameters from whitened numbers, and from what a draw holds beyond them."""


class Target(eqx.Module):
    """The posterior density in whitened numbers, against that at zero.

    Args:
        program: the model.
        coordinates: how whitened numbers become unconstrained ones.
        reference: per observation, (band, H', W') terms of the log-likelihood at zero.
        prior: log-prior and log-volume there.
    """

    program: Program
    coordinates: Coordinates
    reference: tuple[Array, ...]
    prior: Array

    def potential(self, whitened: Array) -> Array:
        """Minus the log-density of (size,) whitened numbers, zero at zero."""
        placed = self.coordinates.values(self.program, whitened)
        rest = placed.log_prior(self.program) - self.prior
        return against(rest, _terms(self.program, placed.values), self.reference)

    def tempered(self, whitened: Array, temperature: Array) -> Array:
        """Minus the log-density at a temperature, up to a constant; NaN off the priors' supports, as is its slope.

        All of it is divided by the temperature, but for priors that take more noise (see `MorphologyPrior.tempered`).
        """
        placed = self.coordinates.values(self.program, whitened)
        prior = self.program.tempered(placed.values, placed.unconstrained, temperature)
        rest = temperature * prior + placed.volume - self.prior
        found = against(rest, _terms(self.program, placed.values), self.reference) / temperature
        return jnp.where(jnp.isfinite(placed.volume), 1.0, jnp.nan) * found

    def values(self, whitened: Array) -> FamilyValues:
        """Parameters from (size,) whitened numbers."""
        return self.coordinates.values(self.program, whitened).values


def against(rest: Array, terms: tuple[Array, ...], reference: tuple[Array, ...]) -> Array:
    """The potential: minus a difference of log-densities, infinite where it is not defined, for there are no draws.

    Args:
        rest: the difference of everything but the likelihood.
        terms, reference: per observation, the (band, H', W') terms of the log-likelihood here and at zero.
    """
    found = rest + sum(jnp.sum(band_sum(now - then)) for now, then in zip(terms, reference, strict=True))
    return jnp.where(jnp.isfinite(found), -found, jnp.inf)


def _terms(program: Program, values: FamilyValues) -> tuple[Array, ...]:
    return tuple(
        materialize(observation.instrument, values).noise.terms(observation.data - image, observation.weights)
        for observation, image in zip(program.observations, program.images(values), strict=True)
    )


@jax.jit
def target_at(program: Program, coordinates: Coordinates) -> Target:
    """The target of a program in given coordinates."""
    placed = coordinates.values(program, jnp.zeros(coordinates.size))
    return Target(program, coordinates, _terms(program, placed.values), placed.log_prior(program))


class At(NamedTuple):
    """Straight coordinates, and what they were made of.

    Args:
        coordinates: around the maximum.
        curvature: there.
        blocks: (p,) the source whose spectrum each correlated number shapes; negative for none.
    """

    coordinates: Coordinates
    curvature: Curvature
    blocks: HostArray


def maximum_at(posterior: LogPosterior, values: FamilyValues, rounds: int) -> At:
    """The maximum of the density in unconstrained numbers, and coordinates that are round there.

    Args:
        posterior: the model.
        values: parameters to start from, such as those of a fit.
        rounds: most matrices that Gauss-Newton steps from there may use.
    """
    start = posterior.unconstrain(values)
    origin, curvature, *_ = polish(posterior, start, rounds, jacobian=True)
    directions, matrix, prior = curvature
    images = [i for i, family in enumerate(posterior.start) if is_image(family)]
    scale: list[HostArray] = []
    shapes = [u.shape for u in origin]
    numbers = [np.full((s[0], int(np.prod(s[1:]))), -1) for s in shapes]
    for step, direction in enumerate(directions):
        numbers[direction.family][direction.row, direction.element] = step
    if images:
        diagonal = curvature_diagonal(posterior.program, origin, jax.random.key(0))
        taken = len(directions)
        for place in (p for p in posterior.places.values() if p.family in images):
            free = numbers[place.family][place.row] < 0
            own = np.asarray(diagonal[place.family][place.row], float).ravel()[free]
            numbers[place.family][place.row, free] = taken + np.arange(own.size)
            taken += own.size
            scale.append(1 / np.sqrt(np.maximum(own, _FLATTEST)))
    size = len(directions) + sum(s.size for s in scale)
    index = tuple(
        to_device(np.where(n < 0, size, n).reshape(s), np.int32) for n, s in zip(numbers, shapes, strict=True)
    )
    paths = [direction.path for direction in directions]
    blocks = spectral_blocks(posterior, paths)
    of_images = np.array([direction.family in images for direction in directions], bool)
    bendable = blocks if np.any(blocks >= 0) else np.where(of_images, -1, owners(posterior, paths))
    flat = 1 / np.maximum(prior, _FLATTEST)
    images_scale = as_float(np.concatenate(scale) if scale else np.zeros(0))
    root = inverse_root(matrix)
    anchor = anchored(posterior, tuple(origin))
    bend = straight(root @ root.T, flat, bendable)
    none = Stretch(as_float(np.zeros((0, size))), as_float(np.zeros(0)))
    coordinates = Coordinates(tuple(origin), index, as_float(root), images_scale, bend, anchor, none)
    if anchor.follows:
        slope = np.asarray(_slope(posterior.program, coordinates), np.float64)
        root = np.linalg.qr(np.linalg.solve(slope, root).T).R.T
        bend = straight(root @ root.T, flat, bendable)
        coordinates = coordinates._replace(root=as_float(root), bend=bend)
    return At(coordinates, curvature, blocks)


def stretched(target: Target, seed: int = 0, longest: float = LONGEST) -> Coordinates:
    """Coordinates of a target that are round along the directions in which its curvature at zero is furthest from one.

    What the data say of a free image is said of few mixtures of very many numbers: single numbers cannot be scaled for
    it. The directions are found by subspace iteration from random ones (Halko, Martinsson & Tropp
    2011, SIAM Rev. 53, 217).

    Args:
        target: whose coordinates are not stretched.
        seed: of the random directions.
        longest: steps along flat ones.
    """
    size = target.coordinates.size
    random = np.random.default_rng([7, seed]).normal(size=(min(_STRETCHED, size), size))
    found = np.linalg.qr(random.T)[0].T
    for _ in range(_PASSES):
        found = np.linalg.qr(np.asarray(_curved(target, as_float(found)), np.float64).T - found.T)[0].T
    curved = np.asarray(_curved(target, as_float(found)), np.float64)
    curvature, mixed = np.linalg.eigh(0.5 * (found @ curved.T + curved @ found.T))
    more = 1 / np.sqrt(np.maximum(curvature, longest**-2.0)) - 1
    return target.coordinates._replace(stretch=Stretch(as_float(mixed.T @ found), as_float(more)))


@jax.jit
def _curved(target: Target, directions: Array) -> Array:
    """(k, size) the Hessian of the potential at zero times (k, size) directions."""
    gradient = jax.grad(target.potential)
    origin = jnp.zeros(directions.shape[1], directions.dtype)
    return jax.lax.map(lambda way: jax.jvp(gradient, (origin,), (way,))[1], directions, batch_size=_TOGETHER)


@jax.jit
def _slope(program: Program, coordinates: Coordinates) -> Array:
    """(p, p) derivatives at the origin of unconstrained numbers by the same before amplitudes follow."""
    size = coordinates.root.shape[0]

    def along(direction: Array) -> Array:
        def numbers(steps: Array) -> FamilyValues:
            values, _ = coordinates.anchor(program, constrain(program, coordinates.placed(steps)))
            return tuple(f.unconstrain(v) for f, v in zip(program.families, values, strict=True))

        moved = jax.jvp(numbers, (jnp.zeros(size),), (direction,))[1]
        found = jnp.zeros(coordinates.size + 1)
        for change, number in zip(moved, coordinates.number, strict=True):
            found = found.at[number].set(change)
        return found[:size]

    return jax.lax.map(along, jnp.eye(size)).T


def owners(posterior: LogPosterior, paths: list[str]) -> HostArray:
    """(p,) place in the scene of the source that each number belongs to; negative for those of observations.

    Args:
        posterior: the model.
        paths: (p,) of the parameter that each number belongs to.
    """
    places = {name: index for index, name in enumerate(posterior.scene.sources)}
    return np.array([places.get(path.split(".")[0], -1) for path in paths], int)


def spectral_blocks(posterior: LogPosterior, paths: list[str]) -> HostArray:
    """(p,) the same for numbers that shape spectra, negative for others, and all of them where none has three such.

    Args:
        posterior: the model.
        paths: (p,) of the parameter that each number belongs to.
    """
    parts = [path.split(".") for path in paths]
    spectral = np.array([("spectrum" in p and p[-1] != "flux") or p[1:] == ["redshift"] for p in parts], bool)
    blocks = np.where(spectral, owners(posterior, paths), -1)
    several = [np.sum(blocks == index) >= FEWEST for index in range(len(posterior.scene.sources))]
    return blocks if any(several) else np.full(len(paths), -1)


_STRETCHED, _PASSES, _TOGETHER = 384, 2, 4
"""Directions, products with the Hessian of each before the last, and how many at once."""
_FLATTEST = 1e-2
"""Curvature below which a number counts as free: a unit step in a logarithm is already ten times its size."""
