"""From a configuration to observations."""

from pathlib import Path
from typing import Any

import astropy.units as u
from astropy.coordinates import SkyCoord

from scarlet_sed.errors import WCSError
from scarlet_sed.instrument.noise import GaussianNoise, Noise, StudentT
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.io.config import BandConfig, Config
from scarlet_sed.io.fits import BandFiles, Window, observations_from_fits
from scarlet_sed.photometry.filters import Filter, Filters


def read_observations(config: Config) -> list[Observation]:
    """Read the images of a configuration; bands on the same pixel grid become one observation.

    Raises:
        ScarletSEDError: of the kind that fits, naming the band.
    """
    bands = {band.name: band_files(band, config) for band in config.bands}
    filters = Filters.load([_filter(band) for band in config.bands])
    names = {band.name: band.observation for band in config.bands if band.observation is not None}
    return observations_from_fits(bands, window=_window(config), filters=filters, names=names, noise=_noise(config))


def band_files(band: BandConfig, config: Config) -> BandFiles:
    """The files of one band, with what [data] says where the band says nothing."""
    data = config.data
    noise: dict[str, Any] = {"estimate_noise": True}
    if band.noise is not None:
        noise = {band.noise_kind or data.noise_kind: _file(band.noise, band.noise_hdu)}
    return BandFiles(
        data=_file(band.image, band.hdu),
        psf=_psf(band, config),
        mask=None if band.mask is None else str(band.mask),
        mask_nonfinite=band.mask_nonfinite,
        unit=band.unit or data.unit,
        zero_point=data.zero_point if band.zero_point is None else band.zero_point,
        pixel_scale=band.pixel_scale or data.pixel_scale,
        psf_oversampling=band.psf_oversampling,
        psf_includes_pixel=band.psf_includes_pixel,
        **noise,
    )


def _file(path: Path, hdu: int | str | None) -> str:
    return str(path) if hdu is None else f"{path}[{hdu}]"


def _psf(band: BandConfig, config: Config) -> Any:
    if band.psf is not None:
        return _file(band.psf, band.psf_hdu)
    scale = band.pixel_scale or config.data.pixel_scale
    if scale is None:
        raise WCSError(
            f"the band {band.name!r} gives its PSF as a FWHM in arcsec without a pixel scale",
            fix="give `pixel_scale`, or the PSF as a file",
        )
    if band.psf_beta is None:
        return PSF.gaussian(band.psf_fwhm, pixel_scale=scale, includes_pixel=band.psf_includes_pixel)
    return PSF.moffat(band.psf_fwhm, band.psf_beta, pixel_scale=scale, includes_pixel=band.psf_includes_pixel)


def _filter(band: BandConfig) -> Filter:
    known = Filter.load(band.filter or band.name)
    return known if known.name == band.name else Filter(band.name, known.wavelength, known.transmission)


def _window(config: Config) -> Window | None:
    if config.data.center is None or config.data.size is None:
        return None
    return Window(SkyCoord(*config.data.center, unit=u.deg), config.data.size)


def _noise(config: Config) -> Noise:
    return StudentT() if config.data.noise_model == "student-t" else GaussianNoise()
