"""Configuration files: what is accepted, and that every error names the key and the cure."""

import pickle
import re
from pathlib import Path

import pytest

from scarlet_sed.errors import ConfigError
from scarlet_sed.io.config import Config, read_config

BAND = '[[bands]]\nname = "F115W"\nimage = "image.fits"\nnoise = "noise.fits"\npsf = "psf.fits"\n'


def write(folder: Path, text: str) -> Path:
    for name in ("image.fits", "noise.fits", "psf.fits"):
        (folder / name).touch()
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_minimal_file_takes_every_default(tmp_path):
    config = read_config(write(tmp_path, BAND))
    assert isinstance(config, Config)
    assert config.bands[0].image == tmp_path / "image.fits"
    assert config.model.default == "auto" and config.fit.method == "adam" and config.catalog is None
    assert pickle.loads(pickle.dumps(config)) == config


def test_every_section_is_read(tmp_path):
    text = """
seed = 3
[data]
pixel_scale = 1
unit = "MJy/sr"
center = [150.1, 2]
size = 5.0
[frame]
oversampling = 2
[sky]
fit = false
[model]
default = "sersic"
sources = { 3 = "pixels", star = "point" }
[fit]
method = "lbfgs"
steps = 12
[output]
report = false
"""
    config = read_config(write(tmp_path, text + BAND + "hdu = 'SCI'\n"))
    assert config.data.pixel_scale == 1.0 and isinstance(config.data.pixel_scale, float)
    assert config.data.center == (150.1, 2.0)
    assert config.model.sources == {"3": "pixels", "star": "point"}
    assert config.bands[0].hdu == "SCI" and config.fit.steps == 12 and not config.output.report


BAD = {
    "unknown section": (BAND + "[modell]\n", "`modell`", "did you mean `model`"),
    "unknown key": (BAND + "[fit]\nstep = 3\n", "`fit.step`", "did you mean `steps`"),
    "unknown key far off": (BAND + "[fit]\nqqq = 3\n", "`fit.qqq`", "method, steps, learning_rate"),
    "unknown key in a band": (BAND + "pfs = 'a'\n", "`bands[0].pfs`", "did you mean `psf`"),
    "wrong type": (BAND + "[fit]\nsteps = 'many'\n", "`fit.steps` is 'many'", "an integer"),
    "float for integer": (BAND + "[fit]\nsteps = 1.5\n", "`fit.steps` is 1.5", "an integer"),
    "bool for number": (BAND + "[fit]\ntolerance = true\n", "`fit.tolerance` is true", "a number"),
    "string for bool": (BAND + "[sky]\nfit = 'yes'\n", "`sky.fit` is 'yes'", "true or false"),
    "number for table": ("fit = 3\n" + BAND, "`fit` is 3", "[fit]"),
    "choice": (
        BAND + "[model]\ndefault = 'sersik'\n",
        "`model.default` is 'sersik'",
        "did you mean 'sersic'",
    ),
    "choice by id": (BAND + "[model.sources]\n4 = 'blob'\n", "`model.sources.4` is 'blob'", "'pixels'"),
    "too small": (BAND + "[fit]\nsteps = 0\n", "`fit.steps` is 0", "at least 1"),
    "not positive": (BAND + "[data]\npixel_scale = 0.0\n", "`data.pixel_scale` is 0.0", "above 0"),
    "nan": (BAND + "[fit]\ntolerance = nan\n", "`fit.tolerance` is nan", "above 0"),
    "bad unit": (BAND + "[data]\nunit = 'MJy'\n", "`data.unit` is 'MJy'", "'MJy/sr'"),
    "short list": (BAND + "[data]\ncenter = [1]\nsize = 2\n", "`data.center` is a list of 1", "2 numbers"),
    "half a cut-out": (BAND + "[data]\nsize = 2\n", "`data.center`", "give both"),
    "no bands": ("[fit]\nsteps = 3\n", "`bands` is missing", "[[bands]]"),
    "empty bands": ("bands = []\n", "`bands` is an empty list", "[[bands]]"),
    "bands not a list": ("[bands]\nname = 'a'\n", "`bands` is a table", "a list"),
    "no image": (BAND.replace('image = "image.fits"\n', ""), "`bands[0].image` is missing", "FITS"),
    "no such file": (BAND.replace("image.fits", "gone.fits"), "gone.fits", "relative to the TOML file"),
    "no noise": (BAND.replace('noise = "noise.fits"\n', ""), "neither of `noise`", "exactly one"),
    "noise twice": (BAND + "estimate_noise = true\n", "both of `noise`", "exactly one"),
    "no psf": (BAND.replace('psf = "psf.fits"\n', ""), "neither of `psf`", "exactly one"),
    "same band twice": (BAND + BAND, "two bands are named 'F115W'", "own name"),
    "counts": (BAND + "unit = 'counts'\n", "without a zero point", "zero_point"),
    "catalogue without path": (BAND + "[catalog]\n", "`catalog.path` is missing", "table"),
    "catalogue gone": (BAND + "[catalog]\npath = 'no.csv'\n", "no.csv", "existing"),
    "syntax": (BAND + "[fit\n", "not valid TOML", "syntax"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configurations_name_the_key_and_the_cure(tmp_path, case):
    text, problem, fix = BAD[case]
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text))
    assert re.search(re.escape(problem), caught.value.problem), caught.value
    assert re.search(re.escape(fix), caught.value.fix), caught.value


def test_a_missing_file_is_a_typed_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "none.toml")
