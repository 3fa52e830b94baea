"""First models of a source by class: light with weakly informative priors around what detection measured.

The priors are families of one kind for all sources, so that sources of a class share one compiled program.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist

from scarlet_sed.distributions import EllipticityPrior, SmoothImage
from scarlet_sed.errors import ConfigError
from scarlet_sed.light import Blend, Component, Light
from scarlet_sed.morphology.base import Morphology
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.point import Point
from scarlet_sed.morphology.sersic import Exponential, Sersic
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameter
from scarlet_sed.priors.gaussian import GaussianImagePrior
from scarlet_sed.priors.procedural import GALAXIES
from scarlet_sed.priors.shipped import SHIPPED
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.typing import HostArray

LATTICES = (9, 13, 17, 23, 31, 41, 55, 73, 97, 129)
"""Widths of free images: few, so that sources share programs; odd, so that one pixel lies on the centre."""


_FLAT = 30.0
"""Width of the priors of fluxes in units of what was measured."""

_SMOOTH = 0.5
"""Typical difference of the logarithms of neighbouring pixels of a free image."""


_WING = 0.02
"""Share of its light with which a free image starts beyond its own territory."""


class Seed(NamedTuple):
    """What is known of one source before the fit.

    Args:
        radius: circularised half-light radius in arcsec.
        ellipticity: (2,) on the sky.
        flux: nJy, of the order of its flux in a band; positive.
        noise: nJy, standard deviation of that flux.
        picture: (n, n) brightness around the source on the native pixels along the frame's axes, n odd, others' light
            left out; None where there is no image.
        pixel_scale: arcsec, of the picture.
    """

    radius: float
    ellipticity: HostArray
    flux: float
    noise: float
    picture: HostArray | None
    pixel_scale: float


def flux_prior(seed: Seed, bands: tuple[str, ...]) -> Parameter:
    """Flux in each band, flat on the scale of the source: N(0, (30 flux)^2), cut five of its errors below zero.

    So wide because bands pull together: a source ten times brighter than it was measured would shrink under nine
    priors of ten times that flux, weak as each of them is.

    Noise may make a flux negative; a neighbour whose light it could take away again may not.
    """
    flux = max(seed.flux, 1e-6)
    low, scale = np.full(len(bands), -5.0 * max(seed.noise, 1e-3 * flux)), np.full(len(bands), _FLAT * flux)
    return Parameter(np.full(len(bands), seed.flux), dist.TruncatedNormal(np.zeros(len(bands)), scale, low=low))


def positive_flux_prior(seed: Seed, bands: tuple[str, ...]) -> Parameter:
    """For one of several components of a source, which could otherwise cancel: a half-normal of the same width."""
    return Parameter(np.full(len(bands), seed.flux), dist.HalfNormal(np.full(len(bands), _FLAT * max(seed.flux, 1e-6))))


def radius_prior(radius: float) -> Any:
    """Log-normal around the measured radius, a factor of 2.2 wide."""
    return Parameter(radius, dist.LogNormal(np.log(radius), 0.8))


def index_prior(index: float) -> Any:
    """Sersic index, centred on discs and open to 8: most galaxies have 0.5 to 4 (e.g. van der Wel et al. 2012)."""
    return Parameter(index, dist.TruncatedNormal(1.5, 1.5, low=0.3, high=8.0))


def ellipticity_prior(start: HostArray) -> Any:
    """Gaussian of 0.35 in each component, inside the unit circle."""
    return Parameter(np.asarray(start, dtype=float), EllipticityPrior(0.35))


def _point(seed: Seed) -> Morphology:
    return Point()


def _gaussian(seed: Seed) -> Morphology:
    return Gaussian(radius_prior(seed.radius), ellipticity_prior(seed.ellipticity))


def _exponential(seed: Seed) -> Morphology:
    return Exponential(radius_prior(seed.radius), ellipticity_prior(seed.ellipticity))


def _sersic(seed: Seed) -> Morphology:
    return Sersic(radius_prior(seed.radius), index_prior(1.5), ellipticity_prior(seed.ellipticity))


def _inner(seed: Seed) -> Morphology:
    return Sersic(radius_prior(0.4 * seed.radius), index_prior(2.0), ellipticity_prior(0.5 * seed.ellipticity))


def _outer(seed: Seed) -> Morphology:
    return Sersic(radius_prior(1.5 * seed.radius), index_prior(1.0), ellipticity_prior(seed.ellipticity))


def _disk(seed: Seed) -> Morphology:
    return Exponential(radius_prior(1.3 * seed.radius), ellipticity_prior(seed.ellipticity))


def _bulge(seed: Seed) -> Morphology:
    index: Any = Parameter(3.0, dist.TruncatedNormal(3.0, 1.0, low=0.3, high=8.0))
    return Sersic(radius_prior(0.4 * seed.radius), index, ellipticity_prior(0.5 * seed.ellipticity))


def _pixels(seed: Seed) -> Morphology:
    image = _picture(seed)
    return Pixels.from_image(image, seed.pixel_scale, SmoothImage(image.shape, _SMOOTH), floor=1e-3)


def _learnt(seed: Seed) -> Morphology:
    """In the smallest box that ships and holds it; in pixels of a few native ones where the largest does not."""
    pixels = seed.radius / seed.pixel_scale
    for name in SHIPPED:
        prior = _galaxies(name)
        if pixels <= _largest(prior):
            break
    scale = seed.pixel_scale * max(1, math.ceil(pixels / _largest(prior)))
    return Pixels(Parameter(np.asarray(prior.mean), prior), scale)


def _largest(prior: GaussianImagePrior) -> float:
    """Pixels of half-light radius of the largest galaxies that it was learnt from."""
    return GALAXIES.largest * prior.event_shape[0]


@cache
def _galaxies(name: str) -> GaussianImagePrior:
    """The prior that all sources share."""
    return GaussianImagePrior.load(name)


def _starlet(seed: Seed) -> Morphology:
    return Starlet.from_image(_picture(seed), seed.pixel_scale)


def _picture(seed: Seed) -> HostArray:
    """The light around the source where it is positive, with a faint Gaussian wing where others' territories begin.

    Without an image, a Gaussian of the source's size.
    """
    picture = None if seed.picture is None else np.maximum(seed.picture, 0.0)
    if picture is None or not np.any(picture > 0):
        size = next((n for n in LATTICES if n >= 6 * seed.radius / seed.pixel_scale), LATTICES[-1])
        return _gaussian_image(size, seed.radius, seed.pixel_scale)
    wing = _gaussian_image(picture.shape[0], 2.0 * seed.radius, seed.pixel_scale)
    return picture + _WING * picture.sum() * wing


def _gaussian_image(size: int, radius: float, pixel_scale: float) -> HostArray:
    """(size, size) round Gaussian of this half-light radius in arcsec, its sum one."""
    r = (np.arange(size) - size // 2) * pixel_scale
    width = max(radius, pixel_scale) / 1.1774  # half-light radius of a Gaussian over its dispersion
    image = np.exp(-0.5 * (r[:, None] ** 2 + r[None, :] ** 2) / width**2)
    return image / image.sum()


_PARTS: dict[str, dict[str, Callable[[Seed], Morphology]]] = {
    "point": {"point": _point},
    "gaussian": {"gaussian": _gaussian},
    "exponential": {"exponential": _exponential},
    "sersic": {"sersic": _sersic},
    "pixels": {"pixels": _pixels},
    "starlet": {"starlet": _starlet},
    "learnt": {"learnt": _learnt},
    "bulge+disk": {"bulge": _bulge, "disk": _disk},
    "sersic+sersic": {"inner": _inner, "outer": _outer},
    "sersic+pixels": {"sersic": _sersic, "pixels": _pixels},
    "sersic+sersic+pixels": {"inner": _inner, "outer": _outer, "pixels": _pixels},
    "sersic+point": {"sersic": _sersic, "point": _point},
}

MODELS = tuple(_PARTS)
"""Classes of models that `initial_scene` can build."""


def light_of(model: str, seed: Seed, bands: tuple[str, ...]) -> Light:
    """The light of a source.

    Args:
        model: one of `MODELS`.
        seed: what is known of it.
        bands: of all observations.

    Raises:
        ConfigError: for an unknown model.
    """
    if model not in _PARTS:
        raise ConfigError(f"unknown model {model!r}", fix=f"choose among {', '.join(MODELS)}, or auto")
    parts = _PARTS[model]
    if len(parts) == 1:
        (morphology,) = parts.values()
        return Component(FreeSpectrum(flux_prior(seed, bands), bands), morphology(seed))
    return blend_of({name: make(seed) for name, make in parts.items()}, seed, bands)


def blend_of(parts: Mapping[str, Morphology], seed: Seed, bands: tuple[str, ...]) -> Blend:
    """A sum of shapes, each with its own flux in each band, which cannot be negative."""
    share = seed._replace(flux=seed.flux / len(parts))
    return Blend(
        {name: FreeSpectrum(positive_flux_prior(share, bands), bands) * shape for name, shape in parts.items()}
    )


class Part(NamedTuple):
    """A component to add to a source: its name and its shape."""

    name: str
    morphology: Morphology


def added_part(model: str, seed: Seed) -> Part:
    """The last component of a sum, to be added to what a simpler model has found."""
    if model.endswith("pixels"):
        return Part("pixels", _pixels(seed))
    return Part("outer", Sersic(radius_prior(2.5 * seed.radius), index_prior(1.0), ellipticity_prior(seed.ellipticity)))
