"""Trials are archived and come back, what does not belong together is refused, and a study is reported as it stands."""

import importlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scarlet_sed.errors import FileFormatError
from scarlet_sed.infer.calibration.trial import LIKELIHOOD, Trial
from tests.conftest import ROOT
from tests.infer.sampling.toys import linear_toy

FOLDER = ROOT / "benchmarks" / "calibration"
SETTINGS = {"chains": 2, "warmup": 50, "draws": 100, "keep": 31}
NAMES = ["far.position[east]", "far.morphology.radius", "near.spectrum.log_mass", "nircam.sky[F090W]", LIKELIHOOD]


@pytest.fixture(scope="module")
def study():
    """The scripts of the study, which are no package."""
    if not FOLDER.is_dir():
        pytest.skip("the benchmarks are not shipped")
    modules, paths = set(sys.modules), sys.path[:]
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("archive", "report", "run")})
    sys.path[:] = paths
    for name in {"archive", "begin", "figures", "kinds", "report", "run", "scenes", "table"} - modules:
        sys.modules.pop(name, None)


def uniform_trials(count, wide=1.0):
    """Ranks of truths among draws of normal posteriors, that are too narrow if `wide` is above one."""
    rng = np.random.default_rng(4)
    for seed in range(count):
        truth = rng.normal(size=len(NAMES))
        ranks = np.sum(rng.normal(size=(31, len(NAMES))) < wide * rng.normal(size=len(NAMES)), axis=0)
        deviation, nearer = np.full(len(NAMES), 0.3), (rng.integers(32) + rng.uniform(1e-6, 1 - 1e-6)) / 32
        status, effective = ("FEW_DRAWS", 60.0) if seed % 4 else ("NOT_MIXED", 20.0)
        yield Trial(
            *(seed, NAMES, ranks.tolist(), truth.tolist(), (0.9 * truth).tolist(), deviation.tolist(), 31, nearer),
            *(status, 1.03, effective, seed % 3, 8000, 20.5),
        )


def put(study, kind, trials, keep, settings=SETTINGS):
    keep.mkdir(exist_ok=True)
    (keep / f"{kind}.settings.json").write_text(json.dumps(settings))
    for trial in trials:
        study.archive.trial_path(kind, trial.seed, keep).write_text(json.dumps(trial.as_dict()))


def test_trials_come_back_from_the_archive_to_a_fresh_checkout(study, tmp_path):
    trials, folder = list(uniform_trials(6)), tmp_path / "trials"
    put(study, "screens", trials[:4], tmp_path / "one")
    study.archive.pack("screens", tmp_path / "one", folder)
    assert study.archive.unpack("screens", SETTINGS, tmp_path / "two", folder) == 4
    put(study, "screens", trials[4:], tmp_path / "two")
    found = study.archive.pack("screens", tmp_path / "two", folder)
    back = study.archive.load(folder / "screens.npz")
    assert back.settings == SETTINGS and len(found.trials) == 6
    for before, after in zip(trials, back.trials, strict=True):
        for name in ("seed", "names", "ranks", "draws", "nearer", "status", "divergences", "leapfrogs", "seconds"):
            assert getattr(after, name) == getattr(before, name), name
        np.testing.assert_allclose(after.truth, before.truth, rtol=1e-6)
        assert json.loads(json.dumps(after.as_dict())) == after.as_dict()
    written = (folder / "screens.npz").stat().st_mtime_ns
    study.archive.pack("screens", tmp_path / "two", folder)
    assert (folder / "screens.npz").stat().st_mtime_ns == written, "nothing was new"
    assert study.archive.unpack("screens", SETTINGS, tmp_path / "two", folder) == 0
    assert study.archive.pack("twice", tmp_path / "two", folder) is None


def test_archives_of_whole_studies_are_small(study, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"a_rather_long_name_of_a_source.spectrum.parameter[{i}]" for i in range(37)]
    numbers = [{f: rng.normal(size=37).tolist() for f in ("truth", "mean", "deviation")} for _ in range(300)]
    ranks = [rng.integers(32, size=37).tolist() for _ in range(300)]
    trials = [
        replace(t, names=names, ranks=r, **n) for t, r, n in zip(uniform_trials(300), ranks, numbers, strict=True)
    ]
    put(study, "screens", trials, tmp_path)
    study.archive.pack("screens", tmp_path, tmp_path / "trials")
    assert (tmp_path / "trials" / "screens.npz").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("changed", "settings", "message"),
    [
        ({}, {**SETTINGS, "warmup": 75}, "differ in their settings"),
        ({"names": [*NAMES[:-1], "other"]}, SETTINGS, "differ in their names"),
        ({"draws": 63}, SETTINGS, "differ in their draws ranked"),
        ({"truth": [1.0] * len(NAMES)}, SETTINGS, "has another truth"),
    ],
)
def test_what_does_not_belong_together_is_refused(study, tmp_path, changed, settings, message):
    trials, folder = list(uniform_trials(2)), tmp_path / "trials"
    put(study, "screens", trials, tmp_path)
    study.archive.pack("screens", tmp_path, folder)
    put(study, "screens", [replace(trials[0], **changed)], tmp_path, settings)
    with pytest.raises(FileFormatError, match=message):
        study.archive.pack("screens", tmp_path, folder)
    with pytest.raises(FileFormatError, match=message):
        study.archive.unpack("screens", settings, tmp_path, folder)


def test_trials_of_unknown_settings_and_broken_archives_are_refused(study, tmp_path):
    put(study, "screens", uniform_trials(2), tmp_path)
    (tmp_path / "screens.settings.json").unlink()
    with pytest.raises(FileFormatError, match="nobody knows"):
        study.archive.pack("screens", tmp_path, tmp_path / "trials")
    (tmp_path / "screens.npz").write_bytes(b"no archive")
    with pytest.raises(FileFormatError, match="no archive of trials"):
        study.archive.load(tmp_path / "screens.npz")


def test_a_study_does_not_go_on_in_another_scene(study, tmp_path):
    toy = linear_toy()
    truth = study.run.simulate(toy.scene, toy.observation, 0).truth
    values = np.concatenate([np.ravel(value) for value in truth.values()])
    trial = next(uniform_trials(1))
    put(study, "screens", [replace(trial, truth=[*values.tolist(), -50.0])], tmp_path)
    study.run.unchanged("screens", toy.scene, toy.observation, tmp_path)
    put(study, "screens", [replace(trial, truth=[*(values + 0.1).tolist(), -50.0])], tmp_path)
    with pytest.raises(FileFormatError, match="not the one that trial 0"):
        study.run.unchanged("screens", toy.scene, toy.observation, tmp_path)


def test_a_partial_study_is_reported(study, tmp_path):
    folder, path = tmp_path / "trials", tmp_path / "REPORT.md"
    for kind, count, wide in (("populations", 60, 1.0), ("screens", 1, 1.0), ("twice", 80, 2.0)):
        put(study, kind, uniform_trials(count, wide), tmp_path)
        study.archive.pack(kind, tmp_path, folder)
    study.report.write(folder, path)
    text = path.read_text(encoding="utf-8")
    lines = {line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in text.splitlines() if " | " in line}
    assert lines["populations"][1:3] == ["60 of 300", "passed so far"] and lines["populations"][-1] == "25% |"
    assert lines["screens"][1] == "1 of 300" and lines["dropped"][1:3] == ["0 of 80", "not begun"]
    assert lines["twice"][1:3] == ["80 of 80", "caught"]
    assert "by the chi-square of normal scores of" in text and "45 FEW_DRAWS, 15 NOT_MIXED" in text
    for name in ("ranks", "tarp", "coverage"):
        assert (tmp_path / "figures" / f"populations-{name}.png").stat().st_size > 5000
        assert f"(figures/twice-{name}.png)" in text
    assert not list((tmp_path / "figures").glob("dropped-*"))


def test_posteriors_that_are_wrong_fail_and_planted_ones_that_look_right_are_not_caught(study, tmp_path):
    for kind, wide in (("screens", 2.0), ("dropped", 1.0)):
        put(study, kind, uniform_trials(80, wide), tmp_path)
        study.archive.pack(kind, tmp_path, tmp_path / "trials")
    study.report.write(tmp_path / "trials", tmp_path / "REPORT.md")
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    assert "**FAILED so far**, 80 of 300 trials" in text and "**NOT CAUGHT**, 80 of 80 trials" in text
