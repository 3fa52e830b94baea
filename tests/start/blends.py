"""Simulated fields with known truth for the tests of detection and initialisation (drawn by GalSim)."""

from typing import NamedTuple

import galsim
import numpy as np

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF

SCALE = 0.03
FWHM = 0.09  # arcsec: three pixels


class Drawn(NamedTuple):
    """A source of a simulated field: pixel position from the middle, flux in nJy in each band, a GalSim profile."""

    x: float
    y: float
    flux: tuple[float, ...]
    profile: galsim.GSObject | None = None


def observe(
    sources: list[Drawn],
    size: int = 101,
    sigma: float = 1.0,
    bands: tuple[str, ...] = ("F115W", "F150W"),
    scale: float = SCALE,
    fwhm: float = FWHM,
    seed: int = 1,
    noise_factor: float = 1.0,
    name: str = "sw",
) -> Observation:
    """An observation of Gaussian PSF; `noise_factor` scales the noise map that is passed on, not the noise."""
    psf = galsim.Gaussian(fwhm=fwhm)
    rng = np.random.default_rng(seed)
    data = rng.normal(0.0, sigma, (len(bands), size, size))
    for source in sources:
        # where the detector's pixel is part of the PSF, as GalSim's drawImage makes it
        light = galsim.Convolve(psf, source.profile) if source.profile is not None else psf
        for band, flux in enumerate(source.flux):
            offset = (source.x * SCALE / scale, source.y * SCALE / scale)
            image = galsim.ImageD(size, size)
            (light * flux).drawImage(image=image, scale=scale, offset=offset)
            data[band] += image.array
    stamp = galsim.ImageD(31, 31)
    psf.drawImage(image=stamp, scale=scale)
    return Observation(data, bands, PSF(stamp.array), sigma=sigma * noise_factor, pixel_scale=scale, name=name)


def point_snr(flux: float, sigma: float = 1.0, bands: int = 2, fwhm: float = FWHM, scale: float = SCALE) -> float:
    """Signal-to-noise of a point source of equal flux in every band, for the optimal filter."""
    width = fwhm / scale / 2.3548
    return flux * np.sqrt(bands) / (sigma * 2 * np.sqrt(np.pi) * width)


def flux_for(snr: float, **options: float) -> float:
    """Flux in each band at which a point source has this signal-to-noise."""
    return snr / point_snr(1.0, **options)


def matched(detections: object, sources: list[Drawn], size: int = 101, radius: float = 2.0) -> list[int]:
    """Index of the detection within `radius` pixels of each source (each used once), or -1."""
    middle = (size - 1) / 2
    taken: set[int] = set()
    found = []
    for source in sources:
        distance = np.hypot(detections.x - middle - source.x, detections.y - middle - source.y)
        order = [int(i) for i in np.argsort(distance) if distance[i] <= radius and int(i) not in taken]
        found.append(order[0] if order else -1)
        taken |= set(order[:1])
    return found
