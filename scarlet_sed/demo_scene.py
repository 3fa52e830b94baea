"""A made-up blend in the likeness of a deep JWST field, drawn by GalSim and written as FITS files.

Galaxies shine as stellar populations of known redshift, mass, age and dust. Nothing here is known to the rest of the
package: the demo reads these files as it would read anyone's.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from scarlet_sed.dust.attenuation_curves import Calzetti
from scarlet_sed.dust.base import Attenuation
from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.typing import HostArray

CENTER = (53.1625, -27.7914)
"""Reference point (ra, dec) in deg: the Hubble Ultra Deep Field."""

FIELD = 6.3
"""Width of the field in arcsec."""


@dataclass(frozen=True)
class Telescope:
    """Diameter in metres, and the obscured share of it."""

    aperture: float
    obscuration: float


WEBB, HUBBLE = Telescope(6.5, 0.2), Telescope(2.4, 0.33)


@dataclass(frozen=True)
class Band:
    """How a band is drawn: pivot wavelength in micron, pixel scale in arcsec, noise in nJy per pixel.

    The noise is about that of JADES Deep (Rieke et al. 2023), 5 sigma near 30 AB mag for a point, spread on pixels;
    that of ACS about that of the deep GOODS-South images beside it. A name that several instruments share needs the
    name of the filter curve.
    """

    name: str
    wavelength: float
    pixel_scale: float
    noise: float
    telescope: Telescope = WEBB
    curve: str | None = None


BANDS = (
    Band("F435W", 0.433, 0.03, 0.15, HUBBLE, "acs_wfc_f435w"),
    Band("F606W", 0.592, 0.03, 0.13, HUBBLE, "acs_wfc_f606w"),
    Band("F814W", 0.805, 0.03, 0.17, HUBBLE, "acs_wfc_f814w"),
    Band("F090W", 0.903, 0.03, 0.13),
    Band("F115W", 1.154, 0.03, 0.11),
    Band("F150W", 1.501, 0.03, 0.11),
    Band("F200W", 1.990, 0.03, 0.10),
    Band("F277W", 2.786, 0.06, 0.14),
    Band("F356W", 3.563, 0.06, 0.15),
    Band("F410M", 4.083, 0.06, 0.24),
    Band("F444W", 4.421, 0.06, 0.22),
)


@dataclass(frozen=True)
class Stars:
    """What shines: band fluxes in nJy, and the truth about them, NaN for a star.

    Args:
        fluxes: nJy per band.
        redshift: of a galaxy.
        log_mass: log10 of the solar masses that it formed.
        av: A_V of its dust in mag.
    """

    fluxes: tuple[float, ...]
    redshift: float = float("nan")
    log_mass: float = float("nan")
    av: float = float("nan")

    def share(self, fraction: float) -> "Stars":
        """A fraction of them."""
        fluxes = tuple(fraction * flux for flux in self.fluxes)
        return replace(self, fluxes=fluxes, log_mass=self.log_mass + float(np.log10(fraction)))


@dataclass(frozen=True)
class Part:
    """A component: its stars, half-light radius (arcsec, circularised), Sersic index, shape, offset."""

    stars: Stars
    radius: float
    index: float
    axis_ratio: float = 1.0
    angle: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    """A source: its kind, place (east, north in arcsec from the centre) and parts; a radius of zero is a point."""

    name: str
    kind: str
    position: tuple[float, float]
    parts: tuple[Part, ...]


def galaxy(flux: float, redshift: float, age: float, tau: float, av: float, log_metallicity: float = -0.4) -> Stars:
    """The stars of a galaxy with delayed exponential star formation behind Calzetti dust.

    Args:
        flux: nJy in F200W, or in the last band where that is not drawn.
        redshift: of the galaxy.
        age: Gyr since its first stars.
        tau: Gyr.
        av: mag; young stars see half as much again.
        log_metallicity: log10 Z/Zsun.
    """
    dust = Attenuation(Calzetti(), av=as_float(av), birth_cloud=as_float(1.5))
    stars = StellarPopulation(
        9.0, log_metallicity, -2.5, history=DelayedTau(as_float(age), as_float(tau)), attenuation=dust
    )
    return _scaled(stars, redshift, flux, av)


def star(flux: float, temperature: float) -> Stars:
    """A black body of a temperature in K, with a flux as for `galaxy`."""
    return _scaled(BlackBody(as_float(temperature), as_float(1.0)), 0.0, flux, float("nan"))


def _scaled(light: StellarPopulation | BlackBody, redshift: float, flux: float, av: float) -> Stars:
    nanojansky = light.fluxes(_filters(tuple(band.curve or band.name for band in BANDS)), as_float(redshift))
    fluxes = np.asarray(nanojansky, np.float64)
    factor = flux / fluxes[next((i for i, band in enumerate(BANDS) if band.name == "F200W"), -1)]
    scaled = tuple(float(f) for f in factor * fluxes)
    if isinstance(light, BlackBody):
        return Stars(scaled)
    return Stars(scaled, redshift, 9.0 + float(np.log10(factor)), av)


@lru_cache
def _filters(names: tuple[str, ...]) -> Filters:
    return Filters.load(names)


def make_things(seed: int) -> list[Thing]:
    """Ten galaxies and a star; the seed moves them a little and draws shapes, fluxes and clumps."""
    random = np.random.default_rng(seed)

    def near(east: float, north: float) -> tuple[float, float]:
        shift = random.uniform(-0.04, 0.04, 2)
        return east + shift[0], north + shift[1]

    def shape() -> tuple[float, float]:
        return random.uniform(0.35, 0.9), random.uniform(0, 180)

    def some(flux: float) -> float:
        return flux * random.uniform(0.8, 1.25)

    things = []
    disk_shape = (0.55, random.uniform(0, 180))
    spiral = (
        Part(galaxy(some(560), 1.32, 2.5, 2.0, 0.5), 0.42, 1.0, *disk_shape),
        Part(galaxy(some(260), 1.32, 3.8, 0.4, 0.3, 0.0), 0.09, 3.0, 0.85, disk_shape[1]),
    )
    things.append(Thing("grand", "bulge+disk", near(0.25, 0.10), spiral))
    elliptical = Part(galaxy(some(380), 1.85, 2.4, 0.25, 0.1, 0.1), 0.16, 3.5, *shape())
    things.append(Thing("red neighbour", "sersic", near(-0.62, 0.55), (elliptical,)))
    blue = Part(galaxy(some(110), 2.54, 0.4, 0.5, 0.15), 0.15, 1.0, *shape())
    things.append(Thing("blue neighbour", "sersic", near(0.85, -0.62), (blue,)))
    satellite = Part(galaxy(some(45), 1.32, 2.0, 1.0, 0.2), 0.08, 1.0, *shape())
    things.append(Thing("satellite", "sersic", near(-0.35, -0.60), (satellite,)))
    whole = galaxy(some(210), 0.77, 1.0, 3.0, 0.3)
    base = Part(whole.share(0.75), 0.26, 0.8, 0.6, random.uniform(0, 180))
    knots = tuple(Part(whole.share(0.05), 0.05, 0.5, offset=tuple(random.normal(0.0, 0.075, 2))) for _ in range(5))
    things.append(Thing("clumpy", "irregular", near(-1.9, -1.6), (base, *knots)))
    minor = (0.5, random.uniform(0, 180))
    second = (
        Part(galaxy(some(200), 2.07, 1.5, 1.0, 0.6), 0.30, 1.0, *minor),
        Part(galaxy(some(90), 2.07, 2.5, 0.3, 0.4, 0.0), 0.06, 2.5, 0.9, minor[1]),
    )
    things.append(Thing("disk", "bulge+disk", near(1.95, 1.75), second))
    companion = Part(galaxy(some(80), 3.21, 0.7, 0.4, 0.3), 0.10, 1.5, *shape())
    things.append(Thing("companion", "sersic", near(2.35, 1.30), (companion,)))
    dropout = Part(galaxy(some(40), 7.15, 0.15, 0.3, 0.1, -0.8), 0.06, 1.0, *shape())
    things.append(Thing("dropout", "sersic", near(-2.2, 1.85), (dropout,)))
    dusty = Part(galaxy(some(90), 2.98, 0.8, 0.6, 1.9, 0.0), 0.18, 1.2, *shape())
    things.append(Thing("dusty", "sersic", near(2.3, -1.9), (dusty,)))
    faint = Part(galaxy(some(22), 4.6, 0.3, 0.5, 0.1, -0.7), 0.07, 1.0, *shape())
    things.append(Thing("faint", "sersic", near(0.3, 2.5), (faint,)))
    things.append(Thing("star", "star", near(0.55, -2.5), (Part(star(some(420), 3800.0), 0.0, 0.0),)))
    return things


def write_demo(folder: str | Path, seed: int = 1) -> Path:
    """Draw the field and write images, noise, PSFs, truth and `config.toml`.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        seed: of everything random.

    Returns:
        the path of the configuration file.

    Raises:
        DataError: if GalSim is not installed.
    """
    galsim = _galsim()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    things = make_things(seed)
    random = np.random.default_rng(seed + 1)
    for index, band in enumerate(BANDS):
        psf = psf_image(galsim, band)
        clean = draw(galsim, things, index, band, psf)
        _write_band(folder, band, clean, psf, random)
    truth_table(things).write(folder / "truth.ecsv", overwrite=True)
    path = folder / "config.toml"
    path.write_text(config_text(seed), encoding="utf-8")
    return path


def _galsim() -> Any:
    try:
        import galsim
    except ImportError as error:
        raise DataError("the demo needs GalSim, which is not installed", fix="pip install galsim") from error
    return galsim


def psf_image(galsim: Any, band: Band) -> HostArray:
    """(n, n) PSF at half the band's pixel, the pixel included: an Airy pattern of the telescope, a little blurred.

    The obscuration and the blur (charge diffusion and drizzling, 0.3 pixel rms) give the FWHM of NIRCam mosaics
    within about 10 % (0.05" in F115W to 0.16" in F444W).
    """
    telescope = band.telescope
    airy = galsim.Airy(lam=band.wavelength * 1000, diam=telescope.aperture, obscuration=telescope.obscuration)
    pixel = galsim.Pixel(band.pixel_scale)
    optics = galsim.Convolve(airy, galsim.Gaussian(sigma=0.3 * band.pixel_scale), pixel)
    size = 2 * round(1.9 / band.pixel_scale) + 1
    image = optics.drawImage(nx=size, ny=size, scale=band.pixel_scale / 2, method="no_pixel", dtype=float).array
    return image / image.sum()


def draw(galsim: Any, things: list[Thing], index: int, band: Band, psf: HostArray) -> HostArray:
    """(n, n) noiseless image in nJy per pixel, north up and east left."""
    pixels = round(FIELD / band.pixel_scale)
    image = galsim.ImageD(pixels, pixels, scale=band.pixel_scale)
    kernel = galsim.InterpolatedImage(galsim.ImageD(psf, scale=band.pixel_scale / 2), flux=1.0)
    accuracy = galsim.GSParams(folding_threshold=2e-3, maximum_fft_size=8192)
    for thing in things:
        for part in thing.parts:
            east, north = np.add(thing.position, part.offset)
            profile = _profile(galsim, part, accuracy)
            light = kernel if profile is None else galsim.Convolve(profile, kernel, gsparams=accuracy)
            light = light.withFlux(part.stars.fluxes[index]).shift(-east, north)
            light.drawImage(image, add_to_image=True, method="no_pixel")
    return np.asarray(image.array)


def _profile(galsim: Any, part: Part, accuracy: Any) -> Any:
    if part.radius == 0:
        return None
    if part.index == 0.5:
        round_one = galsim.Gaussian(half_light_radius=part.radius, gsparams=accuracy)
    else:
        round_one = galsim.Sersic(part.index, half_light_radius=part.radius, gsparams=accuracy)
    # position angle from north (up) through east (left): 90 deg more in GalSim's sense, from x to y
    return round_one.shear(q=part.axis_ratio, beta=(part.angle + 90) * galsim.degrees)


def _write_band(folder: Path, band: Band, clean: HostArray, psf: HostArray, random: np.random.Generator) -> None:
    gain = 0.005  # nJy of variance per nJy of light: the light's own photon noise in such exposures, roughly
    sigma = np.sqrt(band.noise**2 + gain * np.maximum(clean, 0.0))
    noisy = clean + sigma * random.standard_normal(clean.shape)
    header = _wcs(band).to_header()
    header["BUNIT"] = "MJy/sr"
    header["FILTER"] = band.name
    surface = (1 * u.nJy / (band.pixel_scale * u.arcsec) ** 2).to_value(u.MJy / u.sr)
    for kind, image in (("image", noisy), ("noise", sigma)):
        fits.PrimaryHDU((image * surface).astype(np.float32), header).writeto(
            folder / f"{band.name}_{kind}.fits", overwrite=True
        )
    card = fits.Header({"PIXSCALE": band.pixel_scale / 2, "FILTER": band.name})
    fits.PrimaryHDU(psf.astype(np.float32), card).writeto(folder / f"{band.name}_psf.fits", overwrite=True)


def _wcs(band: Band) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = CENTER
    pixels = round(FIELD / band.pixel_scale)
    wcs.wcs.crpix = [(pixels + 1) / 2, (pixels + 1) / 2]
    wcs.wcs.cdelt = [-band.pixel_scale / 3600, band.pixel_scale / 3600]
    wcs.wcs.cunit = ["deg", "deg"]
    return wcs


def truth_table(things: list[Thing]) -> QTable:
    """The truth, one row per source: name, kind, sky position, flux per band, physics; shape where there is one part.

    The mass is that of all parts, the dust that of the most massive one.
    """
    fluxes = np.array([np.sum([part.stars.fluxes for part in thing.parts], axis=0) for thing in things])
    center = SkyCoord(*CENTER, unit="deg")
    # flux-weighted centre: what a model of the whole source finds
    centers = [
        np.add(
            t.position,
            np.average([p.offset for p in t.parts], axis=0, weights=[sum(p.stars.fluxes) for p in t.parts]),
        )
        for t in things
    ]
    sky = center.spherical_offsets_by(*(np.array(centers).T * u.arcsec))
    table = QTable({"name": [t.name for t in things], "kind": [t.kind for t in things], "ra": sky.ra, "dec": sky.dec})
    for index, band in enumerate(BANDS):
        table[f"flux_{band.name}"] = fluxes[:, index] * u.nJy
    main = [max(t.parts, key=lambda part: np.nan_to_num(part.stars.log_mass)).stars for t in things]
    table["redshift"] = [s.redshift for s in main]
    table["log_mass"] = [np.log10(np.sum([10**p.stars.log_mass for p in t.parts])) for t in things]
    table["av"] = [s.av for s in main] * u.mag
    single = [len(t.parts) == 1 and t.parts[0].radius > 0 for t in things]
    first = [t.parts[0] for t in things]
    table["radius"] = np.where(single, [p.radius for p in first], np.nan) * u.arcsec
    table["index"] = np.where(single, [p.index for p in first], np.nan)
    table["axis_ratio"] = np.where(single, [p.axis_ratio for p in first], np.nan)
    table["angle"] = np.where(single, [p.angle for p in first], np.nan) * u.deg
    return table


def config_text(seed: int) -> str:
    """The configuration of the demo's fit."""
    bands = "".join(
        f'\n[[bands]]\nname = "{b.name}"\nimage = "{b.name}_image.fits"\nnoise = "{b.name}_noise.fits"\n'
        f'psf = "{b.name}_psf.fits"\npsf_oversampling = 2\n' + (f'filter = "{b.curve}"\n' if b.curve else "")
        for b in BANDS
    )
    return (
        "# The demo: a field drawn by GalSim. Paths are relative to this file.\n"
        f'seed = {seed}\n\n[model]\ndefault = "population"\n\n[population]\nmorphology = "auto"\n\n'
        '[fit]\npolish = 2\n\n[output]\ntruth = "truth.ecsv"\n'
        f'title = "A drawn JADES-like blend"\n{bands}'
    )
