"""Gradients of the log-posterior in float64 against finite differences, through every rendering path."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.wcs import WCS
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints

import scarlet_sed as ss

BANDS = ("F115W", "F150W")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def wcs(scale: float, shape: tuple[int, int], angle: float = 0.0, parity: int = 1) -> WCS:
    found = WCS(naxis=2)
    found.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    found.wcs.crval = [150.0, 2.0]
    found.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    c, s = np.cos(angle), np.sin(angle)
    found.wcs.cd = scale / 3600 * np.array([[-parity * c, s], [parity * s, c]])
    return found


def observation(name: str, scale: float, shape: tuple[int, int], **place: float) -> ss.Observation:
    data = np.random.default_rng(1).normal(0, 1.0, (2, *shape))
    psfs = [ss.PSF.gaussian(fwhm=2.4), ss.PSF.moffat(2.8)]
    return ss.Observation(data, BANDS, psfs, sigma=1.0, wcs=wcs(scale, shape, **place), name=name)


def fine() -> ss.Observation:
    return observation("fine", 0.03, (24, 22))


def blob(side: int) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return np.exp(-np.hypot(x, y) / 2) / np.exp(-np.hypot(x, y) / 2).sum()


def sources() -> dict[str, ss.Source]:
    near = dist.Normal(np.zeros(2), 0.1)
    round_ = ss.Parameter((0.1, -0.05), ss.EllipticityPrior(0.3))
    flux = ss.Parameter(np.array([30.0, 50.0]), constraints.positive)
    profile = ss.Sersic(dist.LogNormal(-2.5, 0.5), dist.Uniform(0.5, 6.0), round_)
    image = ss.Pixels(ss.Parameter(blob(7), ss.image_simplex), 0.03)
    return {
        "galaxy": ss.Source(
            ss.Parameter((0.08, -0.06), near),
            {"inner": ss.FreeSpectrum(flux, BANDS) * profile, "outer": ss.FreeSpectrum(flux, BANDS) * image},
        ),
        "star": ss.Source(
            ss.Parameter((-0.11, 0.09), near),
            ss.BlackBody(dist.LogNormal(8.5, 0.3), dist.LogNormal(3.0, 1.0)) * ss.Point(),
        ),
    }


def free_instrument(o: ss.Observation) -> ss.Observation:
    o = o.free("sky", dist.Normal(0.0, 1.0)).free("calibration", dist.LogNormal(0.0, 0.1))
    return o.free("shift", dist.Normal(0.0, 0.02))


PATHS: dict[str, Callable[[], list[ss.Observation]]] = {
    "same grid": lambda: [fine()],
    "sky, calibration, shift": lambda: [free_instrument(fine())],
    "rotated and coarser": lambda: [fine(), observation("coarse", 0.055, (14, 14), angle=0.4)],
    "integer ratio, flipped": lambda: [fine(), observation("coarse", 0.06, (12, 12), parity=-1)],
    "Student-t": lambda: [fine().with_noise(ss.StudentT()).free("noise.dof", dist.LogNormal(1.5, 0.3))],
}


@pytest.mark.parametrize("path", PATHS)
def test_gradient_is_the_finite_difference(path: str) -> None:
    observations = PATHS[path]()
    scene = ss.Scene(sources(), ss.Frame.covering(observations))
    posterior = ss.LogPosterior(scene, observations)
    start, unravel = ravel_pytree(posterior.unconstrain(posterior.start))
    assert start.dtype == jnp.float64

    def density(flat: jax.Array) -> jax.Array:
        return posterior.log_density(unravel(flat))

    gradient = jax.jit(jax.grad(density))(start)
    assert np.all(np.isfinite(gradient))
    rng, step = np.random.default_rng(2), 1e-5
    for _ in range(3):  # random directions see every parameter at once, in units of each one's gradient
        direction = jnp.asarray(rng.normal(size=start.size) / np.maximum(np.abs(gradient), 1.0))
        both = [density(start + sign * step * direction) for sign in (2, 1, -1, -2)]
        difference = (-both[0] + 8 * both[1] - 8 * both[2] + both[3]) / (12 * step)
        exact = gradient @ direction
        assert abs(difference - exact) < 1e-6 * max(1.0, float(jnp.sum(jnp.abs(gradient * direction))))


def test_zero_flux_zero_weight_and_a_centred_point_have_finite_gradients() -> None:
    o = fine()
    weights = np.ones(o.shape)
    weights[:, :5] = 0.0
    o = ss.Observation(np.asarray(o.data), BANDS, o.psfs, weights=weights, grid=o.grid, name="masked")
    flux = ss.Parameter(np.zeros(2), constraints.real)
    thin = ss.Parameter((0.97, 0.0), ss.EllipticityPrior(0.5))
    found = {
        "nothing": ss.Source(
            ss.Parameter((0.0, 0.0), dist.Normal(np.zeros(2), 0.1)),
            ss.FreeSpectrum(flux, BANDS) * ss.Sersic(dist.LogNormal(-2, 1), 4.0, thin),
        )
    }
    posterior = ss.LogPosterior(ss.Scene(found, ss.Frame.covering(o)), o)
    value, gradient = jax.value_and_grad(posterior.log_density)(posterior.unconstrain(posterior.start))
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in gradient)
