"""The blends that the peers and scarlet_sed are both run on: NumPy only, so that either side can import it.

Positions and shapes follow the array order (y, x) throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

BANDS = 9
STAMP = 41
PSF_STAMP = 31
# The noise of psf_unmatched_sim.npz, read off `images` minus the sum of its true source images: a sky of this
# variance plus the photons of the sources (gain 1), which gives the truth a chi-square per pixel of about 1.
UNMATCHED_SKY_VARIANCE = 10.0
_IMAGE_COLUMN = "intensity_"


@dataclass(frozen=True)
class Blend:
    """One blended scene.

    Attributes:
        name: what it is called in reports.
        bands: one label per band.
        images, variance: shape (band, y, x).
        psfs: shape (band, py, px), odd and centred.
        peaks: shape (source, 2), the pixel (y, x) at which each source is started, whole numbers unless the
            blend was made by `simulated_blend`.
        is_star: shape (source,), whether a source is known to be a point.
        truth: shape (source, band, y, x), the true images seen through the PSF, or None where nobody knows.
        centres: shape (source, 2), the true positions (y, x), or None likewise.
    """

    name: str
    bands: tuple[str, ...]
    images: Array
    variance: Array
    psfs: Array
    peaks: Array
    is_star: NDArray[np.bool_]
    truth: Array | None = None
    centres: Array | None = None


@dataclass(frozen=True)
class SimulatedBlend(Blend):
    """A made-up blend, with what it was made from, as starting values for timings.

    Attributes:
        fluxes: shape (source, band), total flux.
        radii: shape (source,), Gaussian sigma of the source before the PSF, in pixels.
    """

    fluxes: Array | None = None
    radii: Array | None = None


def default_canvas(sources: int) -> int:
    """Width of the square canvas for a number of sources: 128 pixels up to 16 sources, 256 above."""
    return 128 if sources <= 16 else 256


def round_gaussian(shape: tuple[int, int], centre: Array, sigma: float) -> Array:
    """Pixel samples of a round Gaussian of unit flux over the plane, shape `shape`."""
    rows = np.exp(-0.5 * ((np.arange(shape[0]) - centre[0]) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1]) - centre[1]) / sigma) ** 2)
    return np.outer(rows, columns) / (2 * np.pi * sigma**2)


def gaussian_psfs(bands: int = BANDS, size: int = PSF_STAMP) -> tuple[Array, Array]:
    """Gaussian PSF images that widen with the band, shape (band, size, size), and their sigmas in pixels."""
    sigmas = np.linspace(1.2, 2.0, bands)
    centre = np.array([size // 2, size // 2])
    psfs = np.stack([round_gaussian((size, size), centre, sigma) for sigma in sigmas])
    return psfs / psfs.sum(axis=(1, 2), keepdims=True), sigmas


def simulated_blend(sources: int, canvas: int | None = None, seed: int = 0) -> SimulatedBlend:
    """Round Gaussian sources at random places, every 41-pixel stamp wholly inside the canvas, white noise.

    The same arguments give the same arrays everywhere, so that two codes can be timed on one scene.
    """
    canvas = default_canvas(sources) if canvas is None else canvas
    random = np.random.default_rng(seed)
    edge = STAMP // 2 + 1
    peaks = random.uniform(edge, canvas - 1 - edge, size=(sources, 2))
    radii = random.uniform(1.5, 3.5, size=sources)
    brightness = 10 ** random.uniform(2.5, 3.5, size=sources)
    slopes = random.normal(0.0, 0.5, size=sources)
    fluxes = brightness[:, None] * np.linspace(0.5, 1.5, BANDS)[None, :] ** slopes[:, None]
    psfs, sigmas = gaussian_psfs()

    images = np.zeros((BANDS, canvas, canvas))
    for peak, radius, flux in zip(peaks, radii, fluxes, strict=True):
        for band in range(BANDS):
            width = float(np.hypot(radius, sigmas[band]))
            images[band] += flux[band] * round_gaussian((canvas, canvas), peak, width)
    images += random.normal(size=images.shape)
    return SimulatedBlend(
        name=f"simulated-{sources}",
        bands=tuple(str(band) for band in range(BANDS)),
        images=images,
        variance=np.ones_like(images),
        psfs=psfs,
        peaks=peaks,
        is_star=np.zeros(sources, dtype=bool),
        fluxes=fluxes,
        radii=radii,
    )


def hsc_blend(folder: Path) -> Blend:
    """The HSC COSMOS blend of the scarlet guides; its first source is a star. `folder` holds the npz file."""
    with np.load(folder / "hsc_cosmos_35.npz") as file:
        catalogue = file["catalog"]
        is_star = np.zeros(len(catalogue), dtype=bool)
        is_star[0] = True
        return Blend(
            name="hsc",
            bands=tuple(str(band) for band in file["filters"]),
            images=file["images"].astype(float),
            variance=file["variance"].astype(float),
            psfs=file["psfs"].astype(float),
            peaks=np.stack([catalogue["y"], catalogue["x"]], axis=-1),
            is_star=is_star,
        )


def unmatched_blend(folder: Path) -> Blend:
    """The simulated ugrizy blend with truth. `folder` holds the npz file.

    Four things about the file, each checked against its noiseless stars:

    - Rows of its catalogue are *components*: a galaxy has a bulge row and a disk row with one `index`, so the
      7 rows are 5 sources (2 galaxies, 3 stars).
    - `psfs` are not in the order of `filters` but in that of the catalogue's image columns (r, z, g, i, u,
      y). In this order a shifted PSF is a star to 0.1 % in every band; read as u to y, it misses by up to
      11 % (L2 norm).
    - Catalogue y is half a pixel above the star's centroid in the image; x agrees with it.
    - There is no variance: the simulation's own is used, see `UNMATCHED_SKY_VARIANCE`.

    Peaks are the true positions rounded to whole pixels, as a detection would give them.
    """
    with np.load(folder / "psf_unmatched_sim.npz", allow_pickle=True) as file:
        catalogue = file["catalog"]
        bands = tuple(str(band) for band in file["filters"])
        images = file["images"].astype(float)
        psfs = file["psfs"].astype(float)
    columns = [name for name in catalogue.dtype.names if name.startswith(_IMAGE_COLUMN)]
    psfs = psfs[[columns.index(_IMAGE_COLUMN + band) for band in bands]]
    rows = [catalogue[catalogue["index"] == index] for index in np.unique(catalogue["index"])]
    truth = np.stack([np.stack([row[_IMAGE_COLUMN + band].sum(axis=0) for band in bands]) for row in rows])
    centres = np.array([[row["y"][0] - 0.5, row["x"][0]] for row in rows])
    return Blend(
        name="unmatched",
        bands=bands,
        images=images,
        variance=UNMATCHED_SKY_VARIANCE + np.maximum(truth.sum(axis=0), 0.0),
        psfs=psfs / psfs.sum(axis=(1, 2), keepdims=True),
        peaks=np.round(centres),
        is_star=np.array([bool(row["is_star"][0]) for row in rows]),
        truth=truth.astype(float),
        centres=centres,
    )


def chi_square_per_point(blend: Blend, model: Array) -> float:
    """Mean of (model - image)^2 / variance over all pixels; `model` has the shape of the images."""
    return float(np.mean((model - blend.images) ** 2 / blend.variance))


def against_truth(models: Array, truth: Array) -> dict[str, list]:
    """How far fitted source images are from true ones, both (source, band, y, x) and seen through the PSF.

    Returns:
        `flux`, `true_flux` (sums over the frame) and `flux_error` (their ratio minus 1), each (source, band);
        `image_error`, (source, band), the L2 norm of the difference over the L2 norm of the truth;
        `image_error_all_bands`, (source,), the same with the bands taken together.
    """
    flux, true_flux = models.sum(axis=(2, 3)), truth.sum(axis=(2, 3))
    missed, norm = ((models - truth) ** 2).sum(axis=(2, 3)), (truth**2).sum(axis=(2, 3))
    return {
        "flux": flux.tolist(),
        "true_flux": true_flux.tolist(),
        "flux_error": (flux / true_flux - 1).tolist(),
        "image_error": np.sqrt(missed / norm).tolist(),
        "image_error_all_bands": np.sqrt(missed.sum(axis=1) / norm.sum(axis=1)).tolist(),
    }
