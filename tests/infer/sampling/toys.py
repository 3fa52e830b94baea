"""Posteriors that are known: functions of their numbers; scenes of given shapes and places, fluxes and sky Gaussian."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss

BANDS = ("F115W", "F150W")
SIDE = 20
SIGMA = 0.1
WIDTH = 12.0
SKY_WIDTH = 0.02
PLACES = {"a": (0.0, 0.0), "b": (0.06, 0.015)}
FLUXES = {"a": (10.0, 20.0), "b": (5.0, 3.0)}


class Density(eqx.Module):
    """A target that is a function of its numbers."""

    size: int = eqx.field(static=True)
    potential: Callable[[jax.Array], jax.Array] = eqx.field(static=True)

    @property
    def coordinates(self) -> "Density":
        return self

    def tempered(self, whitened: jax.Array, temperature: jax.Array) -> jax.Array:
        return self.potential(whitened) / temperature


class Toy(NamedTuple):
    """A linear-Gaussian scene and its posterior.

    Args:
        scene, observation: with free fluxes and sky.
        paths: in the order of mean and covariance.
        mean: (p,) of the posterior.
        covariance: (p, p).
    """

    scene: ss.Scene
    observation: ss.Observation
    paths: list[str]
    mean: np.ndarray
    covariance: np.ndarray


def linear_toy(seed: int = 0) -> Toy:
    """Two overlapping galaxies and a sky in two bands."""
    psfs = [ss.PSF.gaussian(fwhm=2.0 + 0.5 * i) for i in range(len(BANDS))]

    def observation(data: np.ndarray, sky: object = 0.0) -> ss.Observation:
        return ss.Observation(data, BANDS, psfs, sigma=SIGMA, pixel_scale=0.03, name="nircam", sky=sky)

    def galaxy(place: tuple[float, float], flux: object) -> ss.Source:
        return ss.Source(place, ss.FreeSpectrum(flux, BANDS) * ss.Gaussian(0.06, (0.1, 0.0)))

    blank = observation(np.zeros((len(BANDS), SIDE, SIDE)))
    frame = ss.Frame.covering(blank)
    true = ss.Scene({name: galaxy(place, FLUXES[name]) for name, place in PLACES.items()}, frame)
    drawn = np.asarray(ss.render(true, blank), float)
    data = drawn + SIGMA * np.random.default_rng(seed).normal(size=drawn.shape)
    normal = dist.Normal(np.zeros(len(BANDS)), WIDTH)
    free = {n: galaxy(p, ss.Parameter(np.asarray(FLUXES[n]), normal)) for n, p in PLACES.items()}
    sky = ss.Parameter(np.zeros(len(BANDS)), dist.Normal(np.zeros(len(BANDS)), SKY_WIDTH))

    # each band is a linear model of its own: unit images of the galaxies, and ones
    unit = ss.Scene({name: galaxy(place, (1.0, 1.0)) for name, place in PLACES.items()}, frame)
    images = {name: np.asarray(image, float) for name, image in ss.render_sources(unit, blank).items()}
    count = len(PLACES) + 1
    mean, covariance = np.zeros((count, len(BANDS))), np.zeros((count, len(BANDS), count, len(BANDS)))
    for band in range(len(BANDS)):
        design = np.stack([*(images[name][band].ravel() for name in PLACES), np.ones(SIDE**2)])
        precision = design @ design.T / SIGMA**2 + np.diag([WIDTH**-2] * len(PLACES) + [SKY_WIDTH**-2])
        own = np.linalg.inv(precision)
        mean[:, band] = own @ design @ data[band].ravel() / SIGMA**2
        covariance[:, band, :, band] = own
    paths = [f"{name}.spectrum.flux" for name in PLACES] + ["nircam.sky"]
    size = mean.size
    scene = ss.Scene(free, frame)
    return Toy(scene, observation(data, sky), paths, mean.ravel(), covariance.reshape(size, size))
