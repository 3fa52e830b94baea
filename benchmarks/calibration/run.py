"""Simulation-based calibration of posteriors: truths from the prior, images, draws, ranks; biases planted on purpose.

usage: python benchmarks/calibration/run.py [--kinds populations screens twice dropped] [--trials 300] [--processes 2]

Each trial is kept in build/calibration as it is done; run again to go on. Prints tables and writes
benchmarks/results/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path

import numpyro.distributions as dist
import scenes

from scarlet_sed.files import atomic
from scarlet_sed.infer.calibration.assess import assess
from scarlet_sed.infer.calibration.trial import Trial, trial

RESULTS = Path(__file__).resolve().parents[1] / "results"
WEAK = "near.spectrum.log_ionization"
"""What seven broad bands hardly know: a prior that counts."""


def twice(made):
    """The likelihood counts twice."""
    return made.scene, [o.with_noise(weights=2 * o.weights) for o in made.observations]


def dropped(made):
    """The prior of a number that the data hardly know is flat."""
    return made.scene.free(WEAK, dist.Uniform(-4.0, -1.0)), made.observations


KINDS = {
    "populations": (scenes.populations, None),
    "screens": (scenes.screens, None),
    "twice": (scenes.screens, twice),
    "dropped": (scenes.screens, dropped),
}


def work(kind: str, seeds: list[int], keep: Path, options: dict) -> None:
    """Do the trials that are missing."""
    make, infer = KINDS[kind]
    scene, observation = make()
    for seed in seeds:
        path = keep / f"{kind}-{seed:05d}.json"
        if not path.exists():
            found = trial(scene, observation, seed, infer=infer, **options)
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
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--planted", type=int, default=80, help="trials of a planted bias")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--ranked", type=int, default=31, help="draws that a truth is ranked among")
    parser.add_argument("--keep", type=Path, default=Path("build/calibration"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    chains = {"chains": options.chains, "warmup": options.warmup, "draws": options.draws, "keep": options.ranked}
    # fresh processes: compiled programs and threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    summary = {}
    for kind in options.kinds:
        count = options.trials if KINDS[kind][1] is None else options.planted
        shares = [list(range(first, count, options.processes)) for first in range(options.processes)]
        workers = [context.Process(target=work, args=(kind, share, options.keep, chains)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        done = [options.keep / f"{kind}-{seed:05d}.json" for seed in range(count)]
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
