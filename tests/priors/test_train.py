"""`scarlet-sed prior train`, and the prior that ships."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.cli import main
from scarlet_sed.errors import DataError, FileFormatError, ParameterError, PSFError, ScarletSEDError, ShapeError
from scarlet_sed.pipeline import PriorOptions, train_prior
from scarlet_sed.priors.shipped import SHIPPED, prior_path, read_prior
from tests.registry import galaxies


def test_a_normal_distribution_is_learnt_from_a_users_images(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.save(tmp_path / "mine.npy", galaxies(420))
    given = ["--images", str(tmp_path / "mine.npy"), "--kind", "normal", "--axes", "16", "--folder", str(tmp_path)]
    assert main(["prior", "train", *given, "--out", str(tmp_path / "prior.npz")]) == 0
    assert "wrote" in capsys.readouterr().out
    prior = ss.GaussianImagePrior.load(tmp_path / "prior.npz")
    assert prior.event_shape == (8, 8)
    assert float(prior.sample(jax.random.key(0)).sum()) == pytest.approx(1, abs=1e-4)


def test_time_that_is_up_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", galaxies(420))
    options = PriorOptions(images=str(tmp_path / "mine.npy"), axes=8, steps=100_000, width=8)
    told = train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 0.0, lambda _: None)
    assert "again" in told and not (tmp_path / "prior.npz").exists()
    options = PriorOptions(side=16, galaxies=1000)
    assert "again" in train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 0.0, lambda _: None)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"no \.npz file"):
        train_prior(PriorOptions(), str(tmp_path / "prior.zip"), str(tmp_path), 1.0, lambda _: None)
    with pytest.raises(FileFormatError, match=r"cannot read images from .*missing\.npy"):
        options = PriorOptions(images=str(tmp_path / "missing.npy"))
        train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 1.0, lambda _: None)
    np.save(tmp_path / "few.npy", galaxies(20))
    with pytest.raises(DataError, match="20 images"):
        options = PriorOptions(images=str(tmp_path / "few.npy"))
        train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 1.0, lambda _: None)


def noisy_file(path: Path, **changes: Any) -> Path:
    """Stamps as a user has them."""
    images = galaxies(60, 12)
    data = 400 * images / images.sum(axis=(1, 2), keepdims=True) + np.random.default_rng(0).normal(size=images.shape)
    arrays = {"images": data, "weights": np.ones_like(data), "psf": ss.PSF.gaussian(fwhm=2.5, oversampling=1).image}
    np.savez(path, **{name: array for name, array in {**arrays, **changes}.items() if array is not None})
    return path


def test_a_prior_is_learnt_from_noisy_stamps_round_by_round(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["--images", str(noisy_file(tmp_path / "mine.npz")), "--kind", "normal", "--axes", "32", "--draws", "1"]
    given += ["--folder", str(tmp_path / "kept"), "--out", str(tmp_path / "prior.npz")]
    assert main(["prior", "train", *given, "--minutes", "0"]) == 0
    assert "again" in capsys.readouterr().out and not (tmp_path / "prior.npz").exists()
    assert main(["prior", "train", *given, "--rounds", "1"]) == 0
    assert "round 1" in capsys.readouterr().out
    assert main(["prior", "train", *given, "--rounds", "2"]) == 0
    told = capsys.readouterr().out
    assert "round 2" in told and "round 1" not in told
    known = np.asarray(ss.GaussianImagePrior.load(tmp_path / "prior.npz").base.mean)
    # nothing is left to do
    assert main(["prior", "train", *given, "--rounds", "2"]) == 0
    assert "round" not in capsys.readouterr().out
    np.testing.assert_array_equal(ss.GaussianImagePrior.load(tmp_path / "prior.npz").base.mean, known)
    # a round that is kept is a prior
    (first,) = (tmp_path / "kept").glob("relearnt-*-001.npz")
    assert ss.GaussianImagePrior.load(first).event_shape == (12, 12)
    # and rounds begin with any
    assert main(["prior", "train", *given, "--rounds", "1", "--start", str(first)]) == 0


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    (
        ({"psf": None}, FileFormatError, "lacks psf"),
        ({"weight": np.ones(3)}, FileFormatError, "has weight, which"),
        ({"weights": np.ones((60, 12, 11))}, ShapeError, "weights of shape"),
        ({"psf": np.array(["round"])}, DataError, "no numbers"),
        ({"psf": -np.ones((5, 5))}, PSFError, "sums to"),
    ),
)
def test_bad_stamps_are_named(tmp_path: Path, changes: dict, error: type[ScarletSEDError], match: str) -> None:
    options = PriorOptions(images=str(noisy_file(tmp_path / "mine.npz", **changes)), kind="normal", axes=32)
    with pytest.raises(error, match=match):
        train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 1.0, lambda _: None)


def test_stamps_that_cannot_be_read_or_do_not_match_are_named(tmp_path: Path) -> None:
    def train(**changes: Any) -> None:
        options = PriorOptions(kind="normal", axes=32)._replace(**changes)
        train_prior(options, str(tmp_path / "prior.npz"), str(tmp_path), 1.0, lambda _: None)

    (tmp_path / "text.npz").write_text("no stamps")
    with pytest.raises(FileFormatError, match="cannot read stamps"):
        train(images=str(tmp_path / "text.npz"))
    stamps = str(noisy_file(tmp_path / "mine.npz"))
    with pytest.raises(ParameterError, match=r"\(32, 32\) pixels and the stamps \(12, 12\)"):
        train(images=stamps, start="galaxies_32")


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_has_passed_the_gate_and_beats_the_normal_distribution(name: str) -> None:
    _, header = read_prior(name)
    assert header["refusal"] == ""
    assert max(header["gate"]["prior_rhat"], header["gate"]["rhat"]) < 1.05
    assert header["record"][-1]["gain in log-density"] > 300
    # of 4,095 numbers, the flow of 64 pixels bends 512: what it gains is little beside the noise of all others
    assert header["record"][-1]["error of the score"] < {"galaxies_32": 0.85, "galaxies_64": 0.98}[name]
    prior = ss.FlowPrior.load(name)
    drawn = np.asarray(prior.sample(jax.random.key(1), (8,)), float)
    np.testing.assert_allclose(drawn.sum(axis=(1, 2)), 1, atol=1e-4)
    # light falls off from the middle
    low, high = 3 * drawn.shape[1] // 8, 5 * drawn.shape[1] // 8
    assert drawn[:, low:high, low:high].sum(axis=(1, 2)).mean() > 0.4


def test_what_ships_is_small() -> None:
    assert sum(prior_path(name).stat().st_size for name in SHIPPED) < 10e6
