"""What a fit leaves to go on from: it comes back bit by bit, or says what is wrong."""

import json
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.wcs import WCS

import scarlet_sed as ss
from scarlet_sed.errors import FileFormatError
from scarlet_sed.infer.sampling.checkpoint import fingerprint
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.io.fit_folder import load_fit, save_fit

SIDE = 16


def wcs() -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crval, made.wcs.crpix = (150.1, 2.2), (8.5, 8.5)
    made.wcs.cdelt = (-0.03 / 3600, 0.03 / 3600)
    return made


@pytest.fixture
def fitted(rng) -> tuple[ss.Scene, list[ss.Observation]]:
    """Two observations with everything a fit may leave in them: masks, free sky and shift, noise models."""
    correlation = np.exp(-0.5 * np.hypot(*np.mgrid[-2:3, -2:3]) ** 2)[None]
    mask = rng.uniform(size=(1, SIDE, SIDE)) < 0.1
    first = ss.Observation(
        rng.normal(size=(1, SIDE, SIDE)),
        ["F115W"],
        ss.PSF.gaussian(fwhm=2.0),
        sigma=0.1 + rng.uniform(size=(1, SIDE, SIDE)),
        mask=mask,
        wcs=wcs(),
        sky=dist.Normal(np.zeros(1), 0.1),
        shift=ss.Parameter(np.full((1, 2), 0.01), dist.Normal(np.zeros((1, 2)), 0.05)),
        noise=ss.CorrelatedNoise(correlation, (SIDE, SIDE)),
        name="nircam",
    )
    second = ss.Observation(
        rng.normal(size=(1, SIDE, SIDE)),
        ["F444W"],
        ss.PSF.gaussian(fwhm=2.5),
        sigma=0.1,
        wcs=wcs(),
        noise=ss.StudentT(dist.LogNormal(1.5, 0.5)),
        name="long",
    )
    light = ss.FreeSpectrum(dist.HalfNormal(10.0), ("F115W", "F444W")) * ss.Gaussian(dist.LogNormal(-2.0, 0.5))
    return ss.Scene({"a": ss.Source((0.0, 0.0), light)}, ss.Frame.covering([first, second])), [first, second]


def test_scene_and_observations_come_back_bit_by_bit(fitted, tmp_path):
    scene, observations = fitted
    save_fit(tmp_path, scene, observations)
    again = load_fit(tmp_path)
    old, new = (scene, tuple(observations)), tuple(again)
    assert jax.tree.structure(old) == jax.tree.structure(new)  # grids are compared by value in there
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        assert type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    before, after = ss.LogPosterior(scene, observations), ss.LogPosterior(*again)
    assert fingerprint(before.program, before.paths) == fingerprint(after.program, after.paths)


@pytest.mark.parametrize("grid", [PixelGrid((5, 7), wcs=wcs()), PixelGrid((5, 7), pixel_scale=0.1, origin=(1.0, 9.5))])
def test_a_pixel_grid_is_the_same_afterwards(grid, tmp_path):
    ss.save_scene([grid], tmp_path / "grid")
    (again,) = ss.load_scene(tmp_path / "grid")
    assert again == grid and again.pixel_scale == grid.pixel_scale
    np.testing.assert_array_equal(again.matrix, grid.matrix)


def test_a_folder_without_a_fit(fitted, tmp_path):
    with pytest.raises(FileFormatError, match=r"no fit.*scarlet-sed fit"):
        load_fit(tmp_path / "none")
    ss.save_scene(fitted[0], tmp_path / "scene")
    with pytest.raises(FileFormatError, match=r"lacks the observations.*fit again"):
        load_fit(tmp_path)
    ss.save_scene(fitted[0], tmp_path / "observations")
    with pytest.raises(FileFormatError, match=r"holds a Scene.*fit` again"):
        load_fit(tmp_path)


def _cut(folder: Path) -> None:
    (arrays,) = folder.glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-200])


def _lost(folder: Path) -> None:
    next(folder.glob("*.npz")).unlink()


def _bad_grid(folder: Path) -> None:
    path = folder / "scene.json"
    document = json.loads(path.read_text())
    document["tree"]["tuple"][0]["fields"]["grid"]["grid"]["dict"] = [["shape", "tall"]]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("damage", [_cut, _lost, _bad_grid])
def test_damaged_observations_say_so(fitted, tmp_path, damage):
    save_fit(tmp_path, *fitted)
    damage(tmp_path / "observations")
    with pytest.raises(FileFormatError, match=r"observations.*scarlet-sed fit` again"):
        load_fit(tmp_path)
