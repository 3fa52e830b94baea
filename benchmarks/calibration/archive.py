"""Trials in a compact file for each kind, kept with the code: a fresh checkout goes on where the last one left off.

usage: python benchmarks/calibration/archive.py

Packs the trials in build/calibration, merged with those that are archived, into benchmarks/calibration/trials.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kinds import KINDS

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.infer.calibration.trial import Trial

FOLDER = Path(__file__).resolve().parent / "trials"
KEEP = Path("build/calibration")
SETTINGS = ("chains", "warmup", "draws", "keep")
COLUMNS = {
    "seed": np.int32,
    "ranks": np.int16,
    "truth": np.float32,
    "mean": np.float32,
    "deviation": np.float32,
    "nearer": np.float64,  # in single precision it may round to one, which is not inside of the unit interval
    "status": np.str_,
    "rhat": np.float32,
    "effective": np.float32,
    "divergences": np.int32,
    "leapfrogs": np.int64,
    "seconds": np.float32,
}
"""What is kept of each trial, and how."""


class Archive(NamedTuple):
    """Trials of one kind.

    Args:
        settings: how all of them were sampled: the numbers of `SETTINGS`.
        trials: by seed, with equal names.
    """

    settings: dict[str, int]
    trials: list[Trial]


def pack(kind: str, keep: Path = KEEP, folder: Path = FOLDER) -> Archive | None:
    """Archive the loose trials of a kind beside those that are archived; nothing is written where nothing is new.

    Returns:
        All of them, or None if there are none.

    Raises:
        FileFormatError: if they must not be mixed, or their settings are not known.
    """
    path = folder / f"{kind}.npz"
    archived, found = load(path), everything(kind, keep, folder)
    if found is not None and (archived is None or not _equal(_arrays(found), _arrays(archived))):
        with atomic(path) as temporary:
            np.savez_compressed(temporary, **_arrays(found))
    return found


def everything(kind: str, keep: Path = KEEP, folder: Path = FOLDER) -> Archive | None:
    """All trials of a kind, archived and loose, or None if there are none.

    Raises:
        FileFormatError: if they must not be mixed, or their settings are not known.
    """
    return _joined(kind, load(folder / f"{kind}.npz"), _loose(kind, keep))


def unpack(kind: str, settings: dict[str, int], keep: Path = KEEP, folder: Path = FOLDER) -> int:
    """Write the archived trials that are not loose, and remember the settings of the trials to come.

    Returns:
        How many were written.

    Raises:
        FileFormatError: if trials exist with other settings.
    """
    archived = load(folder / f"{kind}.npz")
    known = keep / f"{kind}.settings.json"
    if known.exists():
        _same(kind, "settings", json.loads(known.read_text()), settings)
    loose = Archive(settings, _read(kind, keep))
    _joined(kind, archived, loose)
    if not known.exists():
        with atomic(known) as temporary:
            temporary.write_text(json.dumps(settings))
    there = {trial.seed for trial in loose.trials}
    missing = [trial for trial in (archived.trials if archived else []) if trial.seed not in there]
    for trial in missing:
        with atomic(trial_path(kind, trial.seed, keep)) as temporary:
            temporary.write_text(json.dumps(trial.as_dict()))
    return len(missing)


def trial_path(kind: str, seed: int, keep: Path) -> Path:
    """Where a loose trial is kept."""
    return keep / f"{kind}-{seed:05d}.json"


def load(path: Path) -> Archive | None:
    """The archive in a file, or None if there is no file.

    Raises:
        FileFormatError: if it is no archive.
    """
    if not path.exists():
        return None
    try:
        with np.load(path) as saved:
            columns = {name: saved[name].tolist() for name in COLUMNS}
            names, settings = saved["names"].tolist(), json.loads(str(saved["settings"]))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} is no archive of trials ({error})", fix="take it from the repository") from error
    rows = zip(*columns.values(), strict=True)
    return Archive(
        settings,
        [Trial(names=names, draws=settings["keep"], **dict(zip(columns, row, strict=True))) for row in rows],
    )


def _loose(kind: str, keep: Path) -> Archive | None:
    trials, known = _read(kind, keep), keep / f"{kind}.settings.json"
    if not trials:
        return None
    if not known.exists():
        raise FileFormatError(
            f"nobody knows how the trials of {kind} in {keep} were sampled, {known.name} is missing",
            fix="start run.py with the settings they were made with",
        )
    return Archive(json.loads(known.read_text()), trials)


def _read(kind: str, keep: Path) -> list[Trial]:
    return [Trial(**json.loads(path.read_text())) for path in sorted(keep.glob(f"{kind}-[0-9]*.json"))]


def _joined(kind: str, archived: Archive | None, loose: Archive | None) -> Archive | None:
    """Both, where they may be mixed; a trial that is in both is taken from the loose ones."""
    parts = [part for part in (archived, loose) if part is not None and part.trials]
    if not parts:
        return None
    first = parts[0]
    merged: dict[int, Trial] = {}
    for part in parts:
        _same(kind, "settings", first.settings, part.settings)
        for trial in part.trials:
            _same(kind, "names", first.trials[0].names, trial.names)
            _same(kind, "draws ranked", first.settings["keep"], trial.draws)
            other = merged.setdefault(trial.seed, trial)
            if not np.allclose(other.truth, trial.truth, rtol=1e-5, atol=1e-6):
                raise FileFormatError(
                    f"trial {trial.seed} of {kind} has another truth in the archive than among the loose ones",
                    fix="the scene has changed: remove the trials of the old one, archived or loose",
                )
            merged[trial.seed] = trial
    return Archive(first.settings, [merged[seed] for seed in sorted(merged)])


def _same(kind: str, what: str, old: object, new: object) -> None:
    if old != new:
        raise FileFormatError(
            f"trials of {kind} differ in their {what}: {old} before, {new} now",
            fix="go on as before, or remove the old trials, archived and loose, and begin anew",
        )


def _arrays(archive: Archive) -> dict[str, np.ndarray]:
    columns = {name: np.array([getattr(t, name) for t in archive.trials], kind) for name, kind in COLUMNS.items()}
    settings = json.dumps({name: archive.settings[name] for name in SETTINGS})
    return {"names": np.array(archive.trials[0].names), "settings": np.array(settings), **columns}


def _equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def main() -> int:
    """Pack all kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, default=KEEP, help="where the loose trials are")
    options = parser.parse_args()
    for kind in KINDS:
        try:
            found = pack(kind, options.keep)
        except FileFormatError as error:
            raise SystemExit(str(error)) from error
        print(f"{kind}: {len(found.trials) if found else 0} of {KINDS[kind].wanted} trials archived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
