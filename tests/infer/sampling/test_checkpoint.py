"""Chains that are cut, and go on as if nothing had happened."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import FileFormatError
from scarlet_sed.infer.sampling import checkpoint
from tests.infer.sampling.toys import linear_toy

OPTIONS = {"chains": 2, "warmup": 50, "draws": 150, "seed": 5, "progress": False}


def _sampled(folder: Path | None = None, **changes: object) -> ss.Posterior:
    toy = linear_toy()
    return ss.sample(toy.scene, toy.observation, checkpoint=folder, **(OPTIONS | changes))


@pytest.fixture(scope="module")
def whole() -> ss.Posterior:
    """Chains that nobody disturbed."""
    return _sampled()


class _Killed(BaseException):
    """Stands for a signal: nothing catches it."""


def test_runs_killed_at_twenty_random_moments_go_on_bit_by_bit(tmp_path, whole, monkeypatch):
    """Each run dies after some bytes of some file, or between files; the last one ends."""
    moments = np.random.default_rng(3).integers(0, 4, 20)
    real = np.savez
    left = {"files": 0}

    def deadly(file, *args, **kwargs):
        if left["files"] == 0:
            file.write(b"PK half a file")
            file.flush()
            raise _Killed
        left["files"] -= 1
        return real(file, *args, **kwargs)

    monkeypatch.setattr(checkpoint.np, "savez", deadly)
    died = 0
    for number, moment in enumerate(moments):
        left["files"] = int(moment) if number else 0
        folder = tmp_path / str(number // 7)
        try:
            _sampled(folder)
        except _Killed:
            died += 1
    assert died >= 15
    monkeypatch.setattr(checkpoint.np, "savez", real)
    for number in range(3):
        resumed = _sampled(tmp_path / str(number))
        for path, draws in whole.draws.items():
            np.testing.assert_array_equal(resumed.draws[path], draws)
        np.testing.assert_array_equal(resumed.log_density, whole.log_density)
        assert not [p for p in (tmp_path / str(number)).iterdir() if p.name.startswith(".")]


def test_a_process_that_is_killed_leaves_chains_that_go_on(tmp_path, whole):
    """SIGKILL, from outside, while pieces are being written."""
    code = "from pathlib import Path; from tests.infer.sampling.test_checkpoint import _sampled; "
    code += f"_sampled(Path({str(tmp_path)!r}), draws=100_000)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    limit = time.monotonic() + 120
    while len(list(tmp_path.glob("piece-*.npz"))) < 3 and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = _sampled(tmp_path)
    for path, draws in whole.draws.items():
        np.testing.assert_array_equal(resumed.draws[path], draws)


def test_more_draws_can_be_asked_for_later(tmp_path, whole):
    _sampled(tmp_path, draws=50)
    more = _sampled(tmp_path)
    np.testing.assert_array_equal(more.log_density, whole.log_density)


def test_an_interrupted_run_keeps_what_it_has(tmp_path, monkeypatch):
    real, left = checkpoint.Checkpoint.append, [4]

    def interrupted(self, number, piece):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        real(self, number, piece)

    monkeypatch.setattr(checkpoint.Checkpoint, "append", interrupted)
    result = _sampled(tmp_path)
    assert result.status is ss.SampleStatus.INTERRUPTED and result.shape == (2, 50)
    left[0] = 0
    early = _sampled(tmp_path / "early")
    assert early.status is ss.SampleStatus.WARMING_UP and early.shape == (2, 0)


def test_a_full_disk_is_a_typed_error_and_nothing_is_lost(tmp_path, whole, monkeypatch):
    real, left = np.savez, [3]

    def full(file, *args, **kwargs):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return real(file, *args, **kwargs)

    monkeypatch.setattr(checkpoint.np, "savez", full)
    with pytest.raises(FileFormatError, match="No space left"):
        _sampled(tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("piece-*.npz"))) == 2
    np.testing.assert_array_equal(_sampled(tmp_path).log_density, whole.log_density)


@pytest.mark.parametrize("harm", ["truncated", "altered", "missing", "start"])
def test_damaged_files_are_typed_errors_that_name_them(tmp_path, whole, harm):
    _sampled(tmp_path)
    path = tmp_path / ("start.npz" if harm == "start" else "piece-000002.npz")
    content = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    elif harm == "altered":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="lacks piece 2" if harm == "missing" else path.name):
        _sampled(tmp_path)
    if harm != "start":  # as the message advises
        for later in sorted(tmp_path.glob("piece-*.npz"))[2:]:
            later.unlink()
        np.testing.assert_array_equal(_sampled(tmp_path).log_density, whole.log_density)


def test_chains_of_another_version_are_a_typed_error(tmp_path):
    _sampled(tmp_path, draws=25)
    path = tmp_path / "start.npz"
    with np.load(path) as file:
        stored = dict(file)
    del stored[".stretch.more"]
    with path.open("wb") as opened:
        np.savez(opened, **stored)
    with pytest.raises(FileFormatError, match="another version"):
        _sampled(tmp_path, draws=25)


@pytest.mark.parametrize("change", [{"seed": 6}, {"chains": 3}, {"warmup": 75}, {"target_accept": 0.9}])
def test_other_settings_do_not_go_on_from_these_chains(tmp_path, change):
    _sampled(tmp_path, draws=25)
    with pytest.raises(FileFormatError, match="other data, another model or other settings"):
        _sampled(tmp_path, **change)


def test_another_model_of_equal_numbers_has_another_fingerprint():
    toy = linear_toy()
    seen, frame = toy.observation, toy.scene.frame
    flux = ss.FreeSpectrum(ss.Parameter(np.ones(2), dist.Normal(np.zeros(2), 10.0)), seen.filters)

    def printed(screen: ss.DustScreen) -> str:
        light = (flux * ss.Gaussian(0.06)).behind(screen)
        posterior = ss.LogPosterior(ss.Scene({"a": ss.Source((0.0, 0.0), light, 1.0)}, frame), seen)
        return checkpoint.fingerprint(posterior.program, posterior.paths)

    shape = ss.Gaussian(0.1)
    screens = [ss.DustScreen(curve, shape, 1.0) for curve in (ss.SMC(), ss.LMC(), ss.Calzetti())]
    screens += [ss.DustScreen(ss.SMC(), shape, 1.0, nodes=3)]
    assert len({printed(screen) for screen in screens}) == 4
    assert printed(screens[0]) == printed(ss.DustScreen(ss.SMC(), shape, 1.0))


def test_other_data_do_not_go_on_from_these_chains(tmp_path):
    _sampled(tmp_path, draws=25)
    other = linear_toy(seed=1)
    with pytest.raises(FileFormatError, match="other data"):
        ss.sample(other.scene, other.observation, checkpoint=tmp_path, **OPTIONS)
