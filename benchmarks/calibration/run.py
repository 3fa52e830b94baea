"""Simulation-based calibration of posteriors: truths from the prior, images, draws, ranks; biases planted on purpose.

usage: python benchmarks/calibration/run.py [--kinds populations screens redshifts ...] [--trials 300] [--processes 2]

Each trial is kept in build/calibration as it is done, beside those of benchmarks/calibration/trials, which are
unpacked; run again to go on, and archive.py to archive. Prints tables and writes benchmarks/results/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
from archive import KEEP, trial_path, unpack
from kinds import KINDS, PLANTED, TRIALS

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.infer.calibration.assess import assess
from scarlet_sed.infer.calibration.trial import Trial, trial
from scarlet_sed.infer.simulate import simulate
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.scene.scene import Scene

RESULTS = Path(__file__).resolve().parents[1] / "results"


def unchanged(kind: str, scene: Scene, observation: Observation, keep: Path) -> None:
    """See that a scene is still the one of the trials that are there, by the first one's truth.

    Raises:
        FileFormatError: if it is not.
    """
    for path in sorted(keep.glob(f"{kind}-[0-9]*.json"))[:1]:
        there = Trial(**json.loads(path.read_text()))
        truth = simulate(scene, observation, there.seed).truth
        # in any order, without what follows from the parameters: another prior, or one more, changes the values
        now = np.sort(np.concatenate([np.ravel(v) for v in truth.values()]))
        before = np.sort(there.truth[: now.size])
        if now.shape != before.shape or not np.allclose(now, before, rtol=1e-3, atol=1e-5):
            raise FileFormatError(
                f"the scene of {kind} is not the one that trial {there.seed} was drawn from",
                fix="restore it, or remove the old trials, archived and loose, and begin anew",
            )


def work(kind: str, seeds: list[int], keep: Path, options: dict) -> None:
    """Do the trials that are missing."""
    if all(trial_path(kind, seed, keep).exists() for seed in seeds):
        return
    scene, observation = KINDS[kind].make()
    unchanged(kind, scene, observation, keep)
    options = {**options, **KINDS[kind].options}
    for seed in seeds:
        path = trial_path(kind, seed, keep)
        if not path.exists():
            found = trial(scene, observation, seed, infer=KINDS[kind].infer, further=KINDS[kind].further, **options)
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(found.as_dict()))
            print(
                f"{kind} {seed}: {found.status}, R-hat {found.rhat:.3f}, {found.effective:.0f} effective draws, "
                f"{found.divergences} divergences, {found.leapfrogs} steps, {found.seconds:.0f} s",
                flush=True,
            )


def main() -> int:
    """Do what is missing, and assess all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--planted", type=int, default=PLANTED, help="trials of a planted bias")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--ranked", type=int, default=31, help="draws that a truth is ranked among")
    parser.add_argument("--keep", type=Path, default=KEEP)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    chains = {"chains": options.chains, "warmup": options.warmup, "draws": options.draws, "keep": options.ranked}
    # fresh processes: compiled programs and threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    summary, broken = {}, False
    for kind in options.kinds:
        try:
            print(f"{kind}: {unpack(kind, chains, options.keep)} trials unpacked", flush=True)
        except FileFormatError as error:
            raise SystemExit(str(error)) from error
        asked = options.trials if KINDS[kind].wanted == TRIALS else min(options.trials, KINDS[kind].wanted)
        count = options.planted if KINDS[kind].planted else asked
        shares = [list(range(first, count, options.processes)) for first in range(options.processes)]
        workers = [context.Process(target=work, args=(kind, share, options.keep, chains)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        broken = broken or any(worker.exitcode != 0 for worker in workers)
        done = [trial_path(kind, seed, options.keep) for seed in range(count)]
        trials = [Trial(**json.loads(path.read_text())) for path in done if path.exists()]
        if not trials:
            print(f"{kind}: no trial was finished")
            return 1
        found = assess(trials)
        print(f"\n{kind}: {len(trials)} of {count} trials, {found.statuses}\n{found.table()}\n", flush=True)
        summary[kind] = {
            "trials": len(trials),
            "wanted": count,
            "statuses": found.statuses,
            "least_p": found.least,
            "passed": found.passed(),
            "rows": [
                {"name": r.name, **r.test._asdict(), "coverage": r.coverage, "contraction": r.contraction}
                for r in found.rows
            ],
            "joint": found.joint._asdict(),
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "calibration.json").write_text(json.dumps(summary, indent=1))
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
