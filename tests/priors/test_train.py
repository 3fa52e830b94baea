"""`scarlet-sed prior train`, and the prior that ships."""

from pathlib import Path

import jax
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.cli import main
from scarlet_sed.errors import DataError, FileFormatError
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


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_has_passed_the_gate_and_beats_the_normal_distribution(name: str) -> None:
    _, header = read_prior(name)
    assert header["refusal"] == ""
    assert max(header["gate"]["prior_rhat"], header["gate"]["rhat"]) < 1.05
    assert header["record"][-1]["error of the score"] < 0.85
    prior = ss.FlowPrior.load(name)
    drawn = np.asarray(prior.sample(jax.random.key(1), (8,)), float)
    np.testing.assert_allclose(drawn.sum(axis=(1, 2)), 1, atol=1e-4)
    # light falls off from the middle
    low, high = 3 * drawn.shape[1] // 8, 5 * drawn.shape[1] // 8
    assert drawn[:, low:high, low:high].sum(axis=(1, 2)).mean() > 0.4


def test_what_ships_is_small() -> None:
    assert sum(prior_path(name).stat().st_size for name in SHIPPED) < 10e6
