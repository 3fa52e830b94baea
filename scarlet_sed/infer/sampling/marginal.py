"""Fluxes and sky levels integrated out in closed form, and drawn back.

Given all other parameters, images are linear in the fluxes of `FreeSpectrum` and in the sky. With normal priors and
Gaussian noise their posterior is then normal: A = X^T C^-1 X + P, with columns X of unit images, noise covariance C and
prior precision P. What is left to sample is the density of the others,

    log p(others) = max over fluxes of log p(everything) - 1/2 log det A + constant,

without the narrow valleys along which close sources trade light for position (e.g. Lindley & Smith 1972, JRSS B 34, 1).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.families import FamilyValues, Gather, materialize
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.bands import flux_bands
from scarlet_sed.infer.sampling.bend import straight
from scarlet_sed.infer.sampling.target import Coordinates, Placed, against
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.noise import GaussianNoise
from scarlet_sed.parameters import Tied, as_float, tie_target, to_device
from scarlet_sed.paths import slots
from scarlet_sed.photometry.filters import canonical_name
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.typing import Array


class Linear(eqx.Module):
    """Which parameters are integrated out.

    Columns are those of light, then those of skies. Each number of a column shows in bands of its own.

    Args:
        columns: per family, (column of light, row, *shape) ones where the numbers of a column lie.
        number: per family, (row, *shape) place of each number among all that are integrated out; the last is none.
        shown: per observation, (band, column) which number of a column shows in a band; the last is none.
        mean, precision: (number,) of the normal priors.
        shining: per group, (n,) one for components whose fluxes are integrated out.
        skies: how many columns are skies.
    """

    columns: FamilyValues
    number: FamilyValues
    shown: tuple[Array, ...]
    mean: Array
    precision: Array
    shining: tuple[Array, ...]
    skies: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        """How many numbers are integrated out."""
        return int(self.mean.shape[0])

    def put(self, values: FamilyValues, own: Array) -> FamilyValues:
        """The parameters with these (number,) in place of those that are integrated out."""
        whole = jnp.concatenate([own, jnp.zeros(1, own.dtype)])
        pairs = zip(values, self.number, strict=True)
        return tuple(jnp.where(number < self.size, whole[number], v) for v, number in pairs)


class _Solved(NamedTuple):
    """The normal posterior of the linear numbers, given the others.

    Args:
        mean: (number,).
        root: (number, number) lower triangular, of the precision matrix that is scaled to a unit diagonal.
        scale: (number,) root of the precision's diagonal.
        half_log_determinant: of the precision matrix.
        residuals: per observation, (band, H', W') whitened residuals at the mean.
    """

    mean: Array
    root: Array
    scale: Array
    half_log_determinant: Array
    residuals: tuple[Array, ...]


class MarginalTarget(eqx.Module):
    """The density of everything but the linear numbers, against that at zero; the interface of `Target`.

    Args:
        program: the model.
        coordinates: of the others; linear numbers stay at the origin's.
        linear: what is integrated out.
        reference: per observation, (band, H', W') terms of the log-likelihood at zero.
        prior: log-prior and log-volume there, less half the log-determinant.
    """

    program: Program
    coordinates: Coordinates
    linear: Linear
    reference: tuple[Array, ...]
    prior: Array

    def potential(self, whitened: Array) -> Array:
        """Minus the log-density of (size,) whitened numbers, zero at zero."""
        placed = self.coordinates.values(self.program, whitened)
        solved = _solved(self.program, self.linear, placed.values)
        found = _rest(self.program, self.linear, placed, solved) - self.prior
        return against(found, _terms(solved), self.reference)

    def values(self, whitened: Array) -> FamilyValues:
        """Parameters from whitened numbers and standard normal ones for what was integrated out, (size + number,)."""
        size = self.coordinates.size
        others = self.coordinates.values(self.program, whitened[:size]).values
        solved = _solved(self.program, self.linear, others)
        spread = jax.scipy.linalg.solve_triangular(solved.root.T, whitened[size:], lower=False) / solved.scale
        return self.linear.put(others, solved.mean + spread)


def _solved(program: Program, linear: Linear, values: FamilyValues) -> _Solved:
    """The posterior of the linear numbers, given the others.

    To be differentiated once, in reverse: the mean maximises the density, so that derivatives may hold it fixed; and
    the log-determinant is written so that only its columns have derivatives, d(log det A) / 2 = <C^-1 X A^-1, dX>.

    Args:
        program: the model.
        linear: which numbers.
        values: of all parameters; what is integrated out does not count.
    """
    # the image without the linear numbers, and unit images of each column alone: differences of whole images would
    # carry the rounding of all other light
    size = linear.size
    nothing = linear.put(values, jnp.zeros(size))
    image = program.images(nothing)
    each = tuple(v + c for v, c in zip(nothing, linear.columns, strict=True))
    units = jax.vmap(lambda *column: program.images_of(column, linear.shining))(*each)
    matrix, right = jnp.zeros((size + 1, size + 1)), jnp.zeros(size + 1)
    white: list[tuple[Array, Array]] = []
    for observation, drawn, unit, shown in zip(program.observations, image, units, linear.shown, strict=True):
        noise, weights = materialize(observation.instrument, values).noise, observation.weights
        residual = noise.whiten(observation.data - drawn, weights)
        skies = jnp.ones((linear.skies, *drawn.shape), drawn.dtype)
        whole = jnp.concatenate([unit, skies])
        columns = jax.vmap(lambda u, n=noise, w=weights: n.whiten(u, w))(whole)
        white.append((residual, columns))
        matrix, right = _added(matrix, right, *jax.lax.stop_gradient((columns, residual)), shown)
    precision = matrix[:size, :size] + jnp.diag(linear.precision)
    scale = jnp.sqrt(jnp.diagonal(precision))
    root = jnp.linalg.cholesky(precision / (scale[:, None] * scale[None, :]))
    mean = jax.scipy.linalg.cho_solve((root, True), (right[:size] + linear.precision * linear.mean) / scale) / scale
    inverse = jax.scipy.linalg.cho_solve((root, True), jnp.diag(1 / scale)) / scale[:, None]
    half = jnp.sum(jnp.log(jnp.diagonal(root))) + jnp.sum(jnp.log(scale))
    residuals = []
    for (residual, columns), shown in zip(white, linear.shown, strict=True):
        # (band, column, column): where a column shows nothing in a band, the last row and column are zeros
        own = jnp.pad(inverse, (0, 1))[shown[:, :, None], shown[:, None, :]]
        slope = jax.lax.stop_gradient(_combined(own, columns))
        change = jnp.sum(slope * (columns - jax.lax.stop_gradient(columns)))
        half = half + change
        residuals.append(residual - _combined(jnp.pad(mean, (0, 1))[shown][:, None], columns)[0])
    return _Solved(mean, root, scale, half, tuple(residuals))


def _added(matrix: Array, right: Array, columns: Array, residual: Array, shown: Array) -> tuple[Array, Array]:
    """Normal equations with what one observation adds: (column, band, h, w) columns, and a residual."""
    band = columns.shape[1]
    flat = columns.reshape(len(columns), band, -1).transpose(1, 0, 2)
    both = jnp.concatenate([flat, residual.reshape(band, 1, -1)], axis=1)
    products = jnp.matmul(flat, both.transpose(0, 2, 1), precision="highest")
    matrix = matrix.at[shown[:, :, None], shown[:, None, :]].add(products[..., :-1])
    return matrix, right.at[shown].add(products[..., -1])


def _combined(weights: Array, columns: Array) -> Array:
    """(new, band, h, w) sums of (column, band, h, w) images with (band, new, column) weights."""
    total = jnp.zeros((weights.shape[1], *columns.shape[1:]), columns.dtype)
    for column in range(columns.shape[0]):
        total = total + weights[:, :, column].T[:, :, None, None] * columns[column][None]
    return total


def _terms(solved: _Solved) -> tuple[Array, ...]:
    """What each pixel adds to the log-likelihood at the mean of the linear numbers."""
    return tuple(-0.5 * jnp.square(residual) for residual in solved.residuals)


def _rest(program: Program, linear: Linear, placed: Placed, solved: _Solved) -> Array:
    """Log-prior and log-volume at the mean of the linear numbers, less half the log-determinant."""
    # the support of a normal prior is all numbers, so that these have no Jacobian
    mean = placed._replace(values=linear.put(placed.values, jax.lax.stop_gradient(solved.mean)))
    return mean.log_prior(program) - solved.half_log_determinant


@jax.jit
def marginal_target_at(program: Program, coordinates: Coordinates, linear: Linear) -> MarginalTarget:
    """The marginal target of a program in given coordinates."""
    placed = coordinates.values(program, jnp.zeros(coordinates.size))
    solved = _solved(program, linear, placed.values)
    rest = _rest(program, linear, placed, solved)
    return MarginalTarget(program, coordinates, linear, _terms(solved), rest)


def without_linear(coordinates: Coordinates, linear: Linear) -> Coordinates:
    """Coordinates of the others, as round as the whole was.

    Args:
        coordinates: of everything.
        linear: what is integrated out.

    Raises:
        ParameterError: if nothing is left.
    """
    root = np.asarray(coordinates.root, np.float64)
    count, images = len(root), int(coordinates.scale.shape[0])
    gone = np.zeros(count + images + 1, bool)
    for number, place in zip(coordinates.number, linear.number, strict=True):
        inside = np.asarray(place) < linear.size
        gone[np.asarray(number)[inside & (np.asarray(number) < count + images)]] = True
    kept = np.flatnonzero(~gone[:count])
    if not len(kept) + images:
        raise ParameterError(
            "nothing is left to sample: every free parameter can be integrated out",
            fix="use marginalize=False; the Laplace approximation of the fit is exact here",
        )
    renamed = np.full(count + images + 1, len(kept) + images)
    renamed[kept] = np.arange(len(kept))
    renamed[count : count + images] = len(kept) + np.arange(images)
    # U^T U is the covariance of what is kept: rows of the root times themselves
    own = np.linalg.qr(root[kept].T).R.T
    numbers = tuple(to_device(renamed[np.asarray(n)], np.int32) for n in coordinates.number)
    blocks, prior = np.asarray(coordinates.bend.block)[kept], np.asarray(coordinates.bend.prior, float)[kept]
    bend = straight(own @ own.T, prior, blocks)
    return coordinates._replace(number=numbers, root=as_float(own), bend=bend)


def linear_of(posterior: LogPosterior) -> Linear:
    """The fluxes and sky levels of a posterior that can be integrated out.

    Raises:
        ParameterError: if there are none, or the noise is not Gaussian.
    """
    for observation in posterior.observations:
        if not isinstance(observation.noise, (GaussianNoise, CorrelatedNoise)):
            raise ParameterError(
                f"{observation.name}: fluxes cannot be integrated out under {type(observation.noise).__name__}",
                fix="use GaussianNoise or CorrelatedNoise, or marginalize=False",
            )
    bands = _bands(posterior)
    if not bands:
        raise ParameterError(
            "there is no flux of a FreeSpectrum, and no sky, that is free with a normal prior",
            fix="give them dist.Normal priors, or marginalize=False",
        )
    size = sum(len(own) for own in bands.values())
    skies = sum(path in {f"{o.name}.sky" for o in posterior.observations} for path in bands)
    columns = [np.zeros((len(bands) - skies, *v.shape)) for v in posterior.start]
    number = [np.full(v.shape, size) for v in posterior.start]
    shown = [np.full((o.shape[0], len(bands)), size) for o in posterior.observations]
    mean, precision = [], []
    first = 0
    for column, (path, own) in enumerate(bands.items()):
        family, row = posterior.places[path]
        if column < len(bands) - skies:
            columns[family][column, row] = 1.0
        number[family][row] = first + np.arange(len(own))
        places = {(where, canonical_name(band)): first + element for element, (where, band) in enumerate(own)}
        for o, observation in enumerate(posterior.observations):
            for b, band in enumerate(map(canonical_name, observation.filters.names)):
                shown[o][b, column] = places.get(("", band), places.get((observation.name, band), size))
        prior = posterior.parameters[path].prior
        mean.append(np.broadcast_to(np.asarray(prior.loc, float), len(own)))
        precision.append(np.broadcast_to(np.asarray(prior.scale, float) ** -2.0, len(own)))
        first += len(own)
    return Linear(
        tuple(as_float(c) for c in columns),
        tuple(to_device(n, np.int32) for n in number),
        tuple(to_device(s, np.int32) for s in shown),
        as_float(np.concatenate(mean)),
        as_float(np.concatenate(precision)),
        _shining(posterior, set(bands)),
        skies,
    )


def _shining(posterior: LogPosterior, paths: set[str]) -> tuple[Array, ...]:
    """Per group, one for components whose fluxes are among these paths."""
    rows = {(place.family, place.row) for path, place in posterior.places.items() if path in paths}
    found = []
    for group in posterior.program.groups:
        spectrum = group.component.spectrum
        flux = spectrum.flux if isinstance(spectrum, FreeSpectrum) else None
        own = np.asarray(flux.rows) if isinstance(flux, Gather) else np.full(group.valid.shape, -1)
        family = flux.family if isinstance(flux, Gather) else -1
        found.append(as_float(np.array([(family, int(row)) in rows for row in own], float)))
    return tuple(found)


def _bands(posterior: LogPosterior) -> dict[str, list[tuple[str, str]]]:
    """By path, for each number the observation (all of them: "") and the band in which it shows."""
    found = {path: [("", band) for band in bands] for path, bands in flux_bands(posterior.scene).items()}
    for observation in posterior.observations:
        found[f"{observation.name}.sky"] = [(observation.name, band) for band in observation.filters.names]
    # what others are tied to shows in more places than its own: it is sampled
    every = {s.path: s.leaf for s in slots({**posterior.scene.sources, **{o.name: o for o in posterior.observations}})}
    shared = {tie_target(every, path) for path, leaf in every.items() if isinstance(leaf, Tied)}
    return {
        path: bands
        for path, bands in found.items()
        if path in posterior.places and path not in shared and isinstance(posterior.parameters[path].prior, dist.Normal)
    }
