"""Bad input, one row each: a typed error that names the thing and says what to do."""

from collections.abc import Callable
from pathlib import Path

import astropy.units as u
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed import errors
from scarlet_sed.io.config import read_config

BANDS = ("F115W", "F150W")
SHAPE = (2, 16, 16)


def observation(**changes: object) -> ss.Observation:
    arguments: dict = {
        "data": np.zeros(SHAPE),
        "filters": BANDS,
        "psfs": ss.PSF.gaussian(fwhm=2.5),
        "sigma": 1.0,
        "pixel_scale": 0.03,
        "name": "obs",
    } | changes
    return ss.Observation(arguments.pop("data"), arguments.pop("filters"), arguments.pop("psfs"), **arguments)


def with_pixel(value: float) -> np.ndarray:
    data = np.zeros(SHAPE)
    data[0, 3, 4] = value
    return data


def frame() -> ss.Frame:
    return ss.Frame.covering(observation())


def light() -> ss.Component:
    return ss.FreeSpectrum(1.0, BANDS) * ss.Point()


def scene(**sources: ss.Source) -> ss.Scene:
    return ss.Scene(sources or {"a": ss.Source((0.0, 0.0), light())}, frame())


def spectral() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["WAVE", "OFFSET"]
    return wcs


def config(text: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        path = folder / "config.toml"
        path.write_text(text, encoding="utf-8")
        return read_config(path)

    return read


def broken_scene_file(folder: Path) -> object:
    path = folder / "scene.zip"
    path.write_bytes(b"not a zip file")
    return ss.load_scene(path)


ONE_BAND = '[[bands]]\nname = "F115W"\nimage = "a.fits"\npsf = "p.fits"\nnoise = "n.fits"\n'

CASES: dict[str, tuple[Callable[[Path], object], type[errors.ScarletSEDError], str]] = {
    # images
    "NaN pixel": (lambda _: observation(data=with_pixel(np.nan)), errors.DataError, "mask"),
    "infinite pixel": (lambda _: observation(data=with_pixel(np.inf)), errors.DataError, "mask"),
    "zero weights everywhere": (lambda _: observation(sigma=None, weights=0.0), errors.DataError, "F115W|weight"),
    "negative weights": (lambda _: observation(sigma=None, weights=-1.0), errors.DataError, "weight"),
    "zero noise": (lambda _: observation(sigma=0.0), errors.DataError, "sigma|noise"),
    "NaN noise": (lambda _: observation(sigma=with_pixel(np.nan) + 1), errors.DataError, "sigma|noise"),
    "noise given twice": (lambda _: observation(weights=1.0), errors.DataError, "one of"),
    "everything masked": (lambda _: observation(mask=np.ones(SHAPE, bool)), errors.DataError, "mask"),
    "noise of another shape": (lambda _: observation(sigma=np.ones((2, 8, 8))), errors.ShapeError, "shape"),
    "mask of another shape": (lambda _: observation(mask=np.zeros((8, 8), bool)), errors.ShapeError, "shape"),
    "more bands than images": (lambda _: observation(filters=("F115W", "F150W", "F200W")), errors.ShapeError, "3"),
    "cube of four axes": (lambda _: observation(data=np.zeros((1, 2, 4, 4))), errors.ShapeError, "shape"),
    # place and unit
    "no WCS": (lambda _: observation(pixel_scale=None), errors.WCSError, "pixel_scale"),
    "WCS that is no sky": (lambda _: observation(pixel_scale=None, wcs=spectral()), errors.WCSError, "celestial"),
    "negative pixel scale": (lambda _: observation(pixel_scale=-0.03), errors.WCSError, "pixel"),
    "unknown unit": (lambda _: observation(unit="furlong"), errors.UnitError, "furlong"),
    "unit of the wrong kind": (lambda _: observation(unit="kg"), errors.UnitError, "kg"),
    "counts without zero point": (lambda _: observation(unit="counts"), errors.UnitError, "zero"),
    # PSF and filters
    "NaN in the PSF": (lambda _: ss.PSF(np.full((5, 5), np.nan)), errors.PSFError, "finite"),
    "PSF without light": (lambda _: ss.PSF(np.zeros((5, 5))), errors.PSFError, "sum"),
    "PSF that is no image": (lambda _: ss.PSF(np.ones(5)), errors.PSFError, "shape|2"),
    "PSFs of other count": (lambda _: observation(psfs=[ss.PSF.gaussian(fwhm=2.0)] * 3), errors.PSFError, "3"),
    "PSF file missing": (lambda p: ss.PSF.from_fits(p / "none.fits"), errors.FileFormatError, "none.fits"),
    "unknown filter": (lambda _: ss.Filters.load(["F116W"]), errors.FilterError, "F115W"),
    "ambiguous filter": (lambda _: ss.Filters.load(["F606W"]), errors.FilterError, "several"),
    "spectrum lacks a band": (
        lambda _: ss.render(
            ss.Scene({"a": ss.Source((0, 0), ss.FreeSpectrum(1.0, "F115W") * ss.Point())}, frame()), observation()
        ),
        errors.FilterError,
        "F150W",
    ),
    "bands without curves": (
        lambda _: ss.render(
            ss.Scene({"a": ss.Source((0, 0), ss.BlackBody(5000.0, 1.0) * ss.Point())}, frame()),
            observation(filters=ss.Filters.generic(("x", "y"))),
        ),
        errors.FilterError,
        "curves",
    ),
    # sources and scenes
    "source outside the frame": (
        lambda _: scene(far=ss.Source((99.0, 0.0), light())),
        errors.SourceError,
        "'far'.*outside",
    ),
    "sky position without WCS": (
        lambda _: scene(a=ss.Source(SkyCoord(10 * u.deg, 20 * u.deg), light())),
        errors.SourceError,
        "WCS",
    ),
    "scene without sources": (lambda _: ss.Scene({}, frame()), errors.SourceError, "at least one"),
    "name with a dot": (lambda _: ss.Scene({"a.b": ss.Source((0, 0), light())}, frame()), errors.ParameterError, "dot"),
    "light that is none": (lambda _: ss.Source((0, 0), ss.Point()), errors.ParameterError, "spectrum \\* morphology"),
    "no such parameter": (lambda _: scene().freeze("b.*"), errors.ParameterError, "a.position"),
    "tie to itself": (lambda _: scene().tie("a.position", to="a.position"), errors.ParameterError, "itself"),
    "prior of the wrong support": (
        lambda _: ss.Parameter(-1.0, dist.LogNormal(0, 1)),
        errors.ParameterError,
        "support",
    ),
    "flat prior without a start": (
        lambda _: ss.Gaussian(dist.ImproperUniform(constraints.positive, (), ())),
        errors.ImproperPriorError,
        "Parameter\\(value",
    ),
    "parameter in the wrong unit": (lambda _: ss.Gaussian(3 * u.kg), errors.UnitError, "arcsec"),
    # domains
    "Sersic index too large": (lambda _: ss.Sersic(0.1, 12.0), errors.DomainError, "8"),
    "negative radius": (lambda _: ss.Gaussian(-0.1), errors.DomainError, "radius"),
    "ellipticity of a line": (lambda _: ss.Gaussian(0.1, (1.0, 0.0)), errors.DomainError, "ellipticity"),
    "image without light": (lambda _: ss.Pixels(np.zeros((5, 5)), 0.03), errors.ParameterError, "sum|positive"),
    # files and configuration
    "scene file missing": (lambda p: ss.load_scene(p / "none"), errors.FileFormatError, "none"),
    "scene file corrupt": (broken_scene_file, errors.FileFormatError, "scene.zip"),
    "unknown key": (config(ONE_BAND + "[fit]\nstep = 3\n"), errors.ConfigError, "steps"),
    "wrong type": (config(ONE_BAND + '[fit]\nsteps = "many"\n'), errors.ConfigError, "fit.steps"),
    "unknown model": (config(ONE_BAND + '[model]\ndefault = "sersik"\n'), errors.ConfigError, "sersic"),
    "not TOML": (config("[[bands\n"), errors.ConfigError, "config.toml"),
    "no bands": (config("[fit]\nsteps = 10\n"), errors.ConfigError, "bands"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_names_the_thing_and_the_cure(name: str, tmp_path: Path) -> None:
    make, kind, pattern = CASES[name]
    with pytest.raises(kind, match=f"(?is){pattern}") as caught:
        make(tmp_path)
    assert caught.value.problem and caught.value.fix
    assert str(caught.value).count("Fix: ") == 1


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 30
