"""The configuration of a run: what a TOML file may say, checked before anything is read.

Every path is relative to the folder of the TOML file. See `benchmarks/ring/config.toml` for an example.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scarlet_sed.errors import ConfigError
from scarlet_sed.io.schema import build, option

UNITS = ("MJy/sr", "nJy", "uJy", "mJy", "Jy", "counts")
NOISE_KINDS = ("sigma", "variance", "inverse_variance", "weight")
MODELS = (
    "auto",
    "point",
    "gaussian",
    "exponential",
    "sersic",
    "pixels",
    "starlet",
    "learnt",
    "bulge+disk",
    "sersic+sersic",
    "sersic+pixels",
    "sersic+sersic+pixels",
    "sersic+point",
    "population",
)


@dataclass(frozen=True)
class DataConfig:
    """Facts that headers may lack; a band may say otherwise."""

    unit: str | None = option(None, doc="the unit of image and noise; else BUNIT of the header", choices=UNITS)
    pixel_scale: float | None = option(None, doc="arcsec per pixel, for headers without a WCS", above=0)
    zero_point: float | None = option(None, doc="AB magnitude of one count, for the unit 'counts'")
    noise_kind: str = option("sigma", doc="what the noise files hold", choices=NOISE_KINDS)
    noise_model: str = option(
        "gaussian", doc="the statistics of the noise", choices=("gaussian", "correlated", "student-t")
    )
    center: tuple[float, float] | None = option(None, doc="[ra, dec] in deg of a cut-out")
    size: float | None = option(None, doc="width in arcsec of a cut-out", above=0)


@dataclass(frozen=True)
class BandConfig:
    """One image."""

    name: str = option(doc="the band's name, such as 'F115W'")
    image: Path = option(doc="the FITS file of the image")
    noise: Path | None = option(None, doc="the FITS file of the noise (see noise_kind)")
    estimate_noise: bool = option(False, doc="take one sigma, measured from blank sky, in place of a noise file")
    mask: Path | None = option(None, doc="a FITS file, non-zero where pixels are not to be used")
    mask_nonfinite: bool = option(False, doc="also mask pixels that are NaN or infinite, which are refused otherwise")
    psf: Path | None = option(None, doc="the FITS file of the point-spread function")
    psf_fwhm: float | None = option(None, doc="FWHM in arcsec of a Gaussian (or Moffat) PSF, without a file", above=0)
    psf_beta: float | None = option(None, doc="the index of a Moffat PSF of that FWHM", above=1)
    psf_oversampling: float = option(1.0, doc="PSF pixels per image pixel", above=0)
    psf_includes_pixel: bool = option(True, doc="whether the PSF contains the detector pixel (drizzled PSFs do)")
    filter: str | None = option(None, doc="the filter curve, such as 'jwst_f115w'; the name by default")
    hdu: int | str | None = option(None, doc="number or name of the image's HDU; the first image by default")
    noise_hdu: int | str | None = option(None, doc="number or name of the noise's HDU")
    psf_hdu: int | str | None = option(None, doc="number or name of the PSF's HDU")
    observation: str | None = option(None, doc="bands with the same name share an observation (by default: a grid)")
    unit: str | None = option(None, doc="as in [data]", choices=UNITS)
    pixel_scale: float | None = option(None, doc="as in [data]", above=0)
    zero_point: float | None = option(None, doc="as in [data]")
    noise_kind: str | None = option(None, doc="as in [data]", choices=NOISE_KINDS)


@dataclass(frozen=True)
class FrameConfig:
    """The grid of the model."""

    oversampling: int | None = option(
        None,
        doc="model pixels per pixel of the finest image; chosen from the PSFs by default",
        at_least=1,
        at_most=8,
    )
    error_budget: float = option(1e-3, doc="fraction of a source's flux that its box may cut", above=0, at_most=0.1)


@dataclass(frozen=True)
class SkyConfig:
    """The background."""

    estimate: bool = option(True, doc="subtract nothing, but start the sky level from blank pixels")
    fit: bool = option(True, doc="fit the sky level of each band with everything else")
    noise: str = option(
        "given",
        doc="the noise that the fit weighs with: as given, or rescaled to the scatter of blank pixels",
        choices=("given", "estimated"),
    )


@dataclass(frozen=True)
class DetectionConfig:
    """How sources are found where no catalogue is given."""

    threshold_sigma: float = option(5.0, doc="smallest signal-to-noise of a source", above=0)
    deblend_contrast: float = option(
        0.25, doc="height of a peak above the saddle to its neighbour, as a fraction of the saddle", above=0
    )


@dataclass(frozen=True)
class CatalogConfig:
    """A list of sources to take in place of detection."""

    path: Path = option(doc="the table (FITS, ECSV, CSV) of sources")
    columns: dict[str, str] = option(
        doc="names of the table's columns for ra, dec (deg) or x, y (pixels), radius (arcsec), model, redshift",
        factory=dict,
    )
    position_error: float | None = option(
        None, doc="how well the table knows positions, in arcsec: the width of their prior", above=0
    )


@dataclass(frozen=True)
class ModelConfig:
    """What each source is made of."""

    default: str = option("auto", doc="the model of every source", choices=MODELS)
    sources: dict[str, str] = option(doc="the model of single sources by id", choices=MODELS, factory=dict)


@dataclass(frozen=True)
class PopulationConfig:
    """Sources of the model "population": spectra of stars, gas and dust in place of free fluxes."""

    morphology: str = option("sersic", doc="their shape", choices=tuple(m for m in MODELS if m != "population"))
    history: str = option(
        "delayed_tau", doc="their star-formation history", choices=("delayed_tau", "continuity", "dirichlet")
    )
    redshift_min: float = option(0.02, doc="lowest redshift of the uniform prior", above=0)
    redshift_max: float = option(12.0, doc="highest redshift of the uniform prior", above=0, at_most=20)
    floor: float = option(
        0.02, doc="error added to the fluxes that start them, as a fraction of the flux", at_least=0, at_most=1
    )
    posterior: Path | None = option(
        None, doc="a posterior that their fits start from: a file of `posterior train`, or the name of one that ships"
    )


@dataclass(frozen=True)
class FitConfig:
    """The optimiser."""

    method: str = option("adam", doc="the optimiser", choices=("adam", "lbfgs"))
    steps: int = option(1000, doc="largest number of steps", at_least=1)
    learning_rate: float = option(5.0, doc="first step in units of each parameter's uncertainty", above=0)
    tolerance: float = option(0.5, doc="gain of log-posterior per 25 steps below which the steps shrink", above=0)
    polish: int = option(8, doc="most Gauss-Newton steps at the end, with uncertainties only", at_least=0)
    uncertainties: bool = option(True, doc="compute Gauss-Newton uncertainties after the fit")
    fit_calibration: bool = option(False, doc="fit a flux calibration per band")
    fit_shift: bool = option(False, doc="fit an astrometric shift per band")
    flux_guard: float = option(
        0.0, doc="what the log-posterior loses to a pair of neighbours with equal free images", at_least=0
    )


@dataclass(frozen=True)
class OutputConfig:
    """What is written."""

    report: bool = option(True, doc="write report.html")
    scene: bool = option(True, doc="write the folders scene/ and observations/, from which sampling goes on")
    truth: Path | None = option(None, doc="a table of known sources to show beside the result")
    title: str | None = option(None, doc="the title of the report")


@dataclass(frozen=True)
class Config:
    """A whole run."""

    bands: tuple[BandConfig, ...] = option(doc="at least one [[bands]] table")
    data: DataConfig = option(doc="facts that headers lack", factory=DataConfig)
    frame: FrameConfig = option(doc="the model's grid", factory=FrameConfig)
    sky: SkyConfig = option(doc="the background", factory=SkyConfig)
    detection: DetectionConfig = option(doc="how sources are found", factory=DetectionConfig)
    catalog: CatalogConfig | None = option(None, doc="a list of sources in place of detection")
    model: ModelConfig = option(doc="what each source is made of", factory=ModelConfig)
    population: PopulationConfig = option(doc="sources with stellar populations", factory=PopulationConfig)
    fit: FitConfig = option(doc="the optimiser", factory=FitConfig)
    output: OutputConfig = option(doc="what is written", factory=OutputConfig)
    seed: int = option(0, doc="the seed of whatever is random", at_least=0)


CATALOG_KEYS = ("ra", "dec", "x", "y", "radius", "model", "redshift")


def read_config(path: str | Path) -> Config:
    """Read and check a TOML file.

    Args:
        path: the file; paths inside it are relative to its folder.

    Raises:
        ConfigError: if the file is missing or not TOML, or has an unknown key, a missing one or a bad value.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"cannot read the configuration {path}: {reason}", fix="give the path of a TOML file"
        ) from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", fix="mend the syntax at that line") from error
    return parse_config(table, path.resolve().parent)


def parse_config(table: dict[str, Any], folder: Path) -> Config:
    """Check a table that was read from TOML; see `read_config`."""
    config = build(Config, table, "", folder)
    if not config.bands:
        raise ConfigError("`bands` is an empty list", fix="give at least one [[bands]] table")
    names = [band.name for band in config.bands]
    for index, band in enumerate(config.bands):
        _check_band(band, f"bands[{index}]", config.data)
        if names.index(band.name) != index:
            raise ConfigError(f"two bands are named {band.name!r}", fix="give every band its own name")
    if config.population.redshift_min >= config.population.redshift_max:
        raise ConfigError(
            "`population.redshift_min` is not below `population.redshift_max`", fix="give an interval of redshift"
        )
    if (config.data.center is None) != (config.data.size is None):
        raise ConfigError(
            "only one of `data.center` and `data.size` is given", fix="give both for a cut-out, or neither"
        )
    if config.catalog is not None:
        _check_catalog(config.catalog)
    return config


def _check_band(band: BandConfig, where: str, data: DataConfig) -> None:
    if (band.noise is None) != band.estimate_noise:
        found = "neither" if band.noise is None else "both"
        raise ConfigError(
            f"`{where}` ({band.name}) has {found} of `noise` and `estimate_noise`",
            fix="give exactly one of them",
        )
    if (band.psf is None) == (band.psf_fwhm is None):
        found = "neither" if band.psf is None else "both"
        raise ConfigError(
            f"`{where}` ({band.name}) has {found} of `psf` and `psf_fwhm`", fix="give exactly one of them"
        )
    if band.psf_beta is not None and band.psf_fwhm is None:
        raise ConfigError(f"`{where}.psf_beta` is given without `psf_fwhm`", fix="give psf_fwhm too, or leave it out")
    unit = band.unit or data.unit
    if unit == "counts" and (band.zero_point if band.zero_point is not None else data.zero_point) is None:
        raise ConfigError(
            f"`{where}` ({band.name}) is in counts without a zero point",
            fix=f"give `{where}.zero_point` or `data.zero_point` (AB)",
        )
    for key in ("image", "noise", "mask", "psf"):
        file = getattr(band, key)
        if file is not None and not file.is_file():
            raise ConfigError(
                f"`{where}.{key}` names {file}, which is not a file",
                fix="give a path relative to the TOML file",
            )


def _check_catalog(catalog: CatalogConfig) -> None:
    if not catalog.path.is_file():
        raise ConfigError(f"`catalog.path` names {catalog.path}, which is not a file", fix="give an existing table")
    for key in catalog.columns:
        if key not in CATALOG_KEYS:
            raise ConfigError(f"unknown key `catalog.columns.{key}`", fix=f"use {', '.join(CATALOG_KEYS)}")
