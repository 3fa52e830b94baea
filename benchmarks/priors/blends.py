"""Blends of two galaxies of the recipe, with truth: what priors on images are compared on."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.ndimage import gaussian_filter
from shapes import distance, similarity

import scarlet_sed as ss
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.parameters import resolve
from scarlet_sed.priors.procedural import GALAXIES, Recipe, stamp

BANDS = tuple(f"jwst_{name}" for name in ("f115w", "f150w", "f200w", "f277w", "f444w"))
FWHM = (2.4, 2.5, 2.7, 3.4, 5.0)
"""Pixels: NIRCam's at 0.03 arcsec, the two bluest a little wider, so that the frame's pixels resolve them."""
SCALE = 0.03
SIGMA = 1.0
"""nJy of noise a pixel, in every band."""
SIDE = 56
STAMP = 32
SIGNALS = (20, 50, 100)
"""Signal-to-noise of each galaxy's own light, mean over the bands."""
APART = (3.0, 6.0, 10.0)
"""Pixels between the centres."""
COLOURS = ("similar", "different")
_WIDTHS = np.array(FWHM) / np.sqrt(8 * np.log(2))
_REST = float(np.sqrt(_WIDTHS[0] ** 2 - 0.7**2))
"""Pixels of dispersion between the model's PSF and the narrowest."""


class Blend(NamedTuple):
    """One blend.

    Args:
        data: with noise.
        images: (2, y, x) light fractions.
        fluxes: (2, band) nJy.
        places: (2, 2) arcsec.
        signal, apart, colours: which of `SIGNALS`, `APART`, `COLOURS` it has.
    """

    data: ss.Observation
    images: np.ndarray
    fluxes: np.ndarray
    places: np.ndarray
    signal: float
    apart: float
    colours: str


def cells() -> list[tuple[float, float, str]]:
    """All signals, distances and colours."""
    return [(signal, apart, colours) for signal in SIGNALS for apart in APART for colours in COLOURS]


@cache
def blank() -> ss.Observation:
    """Five bands without light."""
    psfs = [ss.PSF.gaussian(fwhm=fwhm) for fwhm in FWHM]
    return ss.Observation(np.zeros((len(BANDS), SIDE, SIDE)), BANDS, psfs, sigma=SIGMA, pixel_scale=SCALE, name="five")


def blend(seed: int, recipe: Recipe = GALAXIES, images: np.ndarray | None = None) -> Blend:
    """Number `seed` of the blends; all cells take turns. Galaxies are of a recipe, or (2, y, x) given ones."""
    signal, apart, colours = cells()[seed % len(cells())]
    rng = np.random.default_rng([20_000_000, seed])
    images = np.stack([stamp(rng, STAMP, recipe) for _ in range(2)]) if images is None else images
    images = images / images.sum(axis=(1, 2), keepdims=True)
    angle = rng.uniform(0, 2 * np.pi)
    half = 0.5 * apart * SCALE * np.array([np.cos(angle), np.sin(angle)])
    places = np.stack([half, -half]) + rng.uniform(-0.5, 0.5, 2) * SCALE
    slope = 0.2 * rng.normal() + np.array([0.0, 0.05]) if colours == "similar" else np.array([0.6, -0.6])
    spectra = np.exp(slope[:, None] * np.linspace(-1, 1, len(BANDS)))
    seen = blank()
    frame = ss.Frame.covering(seen)
    fluxes = []
    for image, spectrum, place in zip(images, spectra, places, strict=True):
        light = ss.render(ss.Scene({"a": source(place, spectrum, ss.Pixels(image, SCALE))}, frame), seen)
        alone = np.sqrt(np.sum((np.asarray(light) / SIGMA) ** 2, axis=(1, 2)))
        fluxes.append(spectrum * signal / alone.mean())
    galaxies = {
        name: source(place, flux, ss.Pixels(image, SCALE))
        for name, place, flux, image in zip("ab", places, fluxes, images, strict=True)
    }
    clean = np.asarray(ss.render(ss.Scene(galaxies, frame), seen))
    data = seen.with_data(clean + SIGMA * rng.normal(size=clean.shape))
    return Blend(data, images, np.array(fluxes), places, signal, apart, colours)


def arrays(made: Blend) -> dict[str, Any]:
    """Images and variance (band, y, x) and PSFs (band, py, px) in its pixels, for codes that know no observation."""
    rows = np.exp(-0.5 * ((np.arange(31) - 15) / _WIDTHS[:, None]) ** 2)
    psfs = rows[:, :, None] * rows[:, None, :]
    images = np.asarray(made.data.data)
    return {
        "images": images,
        "variance": np.full_like(images, SIGMA**2),
        "psfs": psfs / psfs.sum(axis=(1, 2), keepdims=True),
    }


def source(place: np.ndarray, flux: object, shape: ss.Morphology, free: float | None = None) -> ss.Source:
    """A galaxy; its place is free within `free` arcsec."""
    where = place if free is None else ss.Parameter(np.asarray(place), dist.Normal(np.asarray(place), free))
    return ss.Source(where, ss.FreeSpectrum(flux, BANDS) * shape)


def pixels(places: np.ndarray) -> np.ndarray:
    """(..., 2) pixels (x, y) of places in arcsec (east, north)."""
    return blank().grid.pixels(places, None)


def seen_shape(shape: ss.Morphology, place: np.ndarray) -> np.ndarray:
    """(y, x) unit-flux light of a shape through the model's own narrow PSF, over the whole frame."""
    x, y = (jnp.asarray(np.arange(SIDE) - at) for at in pixels(place))
    matrix = jnp.asarray(np.eye(2) / SCALE)
    light = np.asarray(resolve(shape).evaluate(PixelGrid(x, y, matrix, jnp.asarray(0.7))), float)
    return light / light.sum()


class Errors(NamedTuple):
    """Of one galaxy.

    Args:
        shape: L2 norm of the difference of the unit-flux images over that of the truth.
        seen: the same through the bluest band's PSF, which hides what is finer.
        similarity: structural similarity (Wang et al. 2004, IEEE Trans. Image Process. 13, 600).
        flux: relative error of the flux, mean over the bands.
        colour: error in mag of the bluest less the reddest band.
    """

    shape: float
    seen: float
    similarity: float
    flux: float
    colour: float


def errors(scene: ss.Scene, made: Blend) -> list[Errors]:
    """Of both galaxies of a fitted scene."""
    shapes, fluxes = [], []
    for name in "ab":
        galaxy = scene.sources[name]
        component = next(galaxy.light.components())[1]
        place = np.asarray(getattr(galaxy.position, "value", galaxy.position), float)
        shapes.append(seen_shape(component.morphology, place))
        fluxes.append(np.asarray(component.spectrum.flux.value, float))
    return errors_of(shapes, fluxes, made)


def errors_of(shapes: Sequence[np.ndarray], fluxes: Sequence[np.ndarray], made: Blend) -> list[Errors]:
    """Of two galaxies by their shapes as `seen_shape` gives them and their (band,) nJy."""
    found = []
    for number, (guess, flux) in enumerate(zip(shapes, fluxes, strict=True)):
        known = seen_shape(ss.Pixels(made.images[number], SCALE), made.places[number])
        ratio = flux / made.fluxes[number]
        found.append(
            Errors(
                distance(guess, known),
                distance(gaussian_filter(guess, _REST), gaussian_filter(known, _REST)),
                similarity(guess, known),
                float(ratio.mean() - 1),
                float(-2.5 * np.log10(ratio[0] / ratio[-1])),
            )
        )
    return found
