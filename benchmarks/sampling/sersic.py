"""How well random blends of Sersic galaxies are sampled: convergence, and leapfrog steps per effective draw.

usage: python benchmarks/sampling/sersic.py [--sources 2 5 10] [--scenes 10] [--draws 600] [--keep FOLDER]

Each scene's numbers are kept in FOLDER as it is done; run again to go on. Prints a table and writes
benchmarks/results/sampling_sersic.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scenes

import scarlet_sed as ss

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
AIM = {2: 10, 5: 18, 10: 15}
HARD = 30
CLOSE = 3.0  # pixels


def measure(sources: int, seed: int, warmup: int, draws: int) -> dict[str, Any]:
    """Fit and sample one scene."""
    scene, observation = scenes.scene(sources, seed)
    begun = time.perf_counter()
    fitted = ss.fit(scene, observation, uncertainties=False, progress=False)
    fit_seconds = time.perf_counter() - begun
    result = ss.sample(fitted, warmup=warmup, draws=draws, seed=seed, progress=False)
    found = result.diagnosis
    assert found is not None
    truth = {path: np.asarray(leaf.value, float) for path, leaf in scene.parameters.items()}
    scores = np.concatenate(
        [np.ravel((np.mean(v, axis=(0, 1)) - truth[path]) / np.std(v, axis=(0, 1))) for path, v in result.draws.items()]
    )
    positions = np.stack([np.asarray(scene.parameters[f"{name}.position"].value) for name in scene.sources])
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)[np.triu_indices(sources, 1)] / scenes.SCALE
    return {
        "sources": sources,
        "seed": seed,
        "closest_px": float(np.min(apart)),
        "status": result.status.name,
        "rhat": found.worst_rhat,
        "bulk": found.least_bulk,
        "tail": found.least_tail,
        "divergences": found.divergences,
        "draws": int(np.prod(result.shape)),
        "leapfrogs_per_ess": found.leapfrogs / found.least_bulk,
        "leapfrogs_a_draw": found.leapfrogs / int(np.prod(result.shape)),
        "hardest": found.hardest[:2],
        "score_std": float(np.std(scores)),
        "seconds": {"fit": fit_seconds, **result.timing._asdict()},
        "load_1min": os.getloadavg()[0],
    }


def main() -> int:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--keep", type=Path, default=RESULTS / "sampling_sersic")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    rows = []
    for sources in options.sources:
        for seed in range(options.scenes):
            path = options.keep / f"{sources}-{seed}-{options.draws}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(sources, seed, options.warmup, options.draws), indent=1))
                # hardly two scenes have boxes alike: programs of all of them fill what a process may map
                jax.clear_caches()
            rows.append(json.loads(path.read_text()))
            last = rows[-1]
            print(
                f"{sources} sources, scene {seed}: {last['status']}, {last['leapfrogs_per_ess']:.1f} leapfrogs per "
                f"effective draw, R-hat {last['rhat']:.4f}, {last['seconds']['run']:.0f} s",
                flush=True,
            )
    table = [summary([row for row in rows if row["sources"] == sources]) for sources in options.sources]
    print(markdown(tuple(table[0]), [[str(value) for value in row.values()] for row in table]))
    (RESULTS / "sampling_sersic.json").write_text(json.dumps({"scenes": rows, "summary": table}, indent=1))
    return 0


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    cost = np.array([row["leapfrogs_per_ess"] for row in rows])
    sources = rows[0]["sources"]
    return {
        "sources": sources,
        "scenes": len(rows),
        "converged": sum(row["status"] == "CONVERGED" for row in rows),
        "closer than 3 px": sum(row["closest_px"] < CLOSE for row in rows),
        "leapfrogs/ESS, median": f"{np.median(cost):.1f} (aim {AIM.get(sources, 0)})",
        "below 30": f"{np.mean(cost < HARD):.0%}",
        "worst": f"{cost.max():.1f}",
        "divergences": sum(row["divergences"] for row in rows),
        "R-hat, worst": f"{max(row['rhat'] for row in rows):.4f}",
        "least bulk, tail": f"{min(r['bulk'] for r in rows):.0f}, {min(r['tail'] for r in rows):.0f}",
        "score std": f"{np.sqrt(np.mean([row['score_std'] ** 2 for row in rows])):.2f}",
        "seconds a scene": f"{np.median([sum(row['seconds'].values()) for row in rows]):.0f}",
    }


if __name__ == "__main__":
    sys.exit(main())
