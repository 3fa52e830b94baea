"""Effective draws a second, ours and scarlet2's, on one blend of two Sersic galaxies with the same priors.

usage: python benchmarks/sampling/against_scarlet2.py [--scene 0] [--warmup 300] [--draws 300]

`benchmarks/peer_env.sh` makes the peer's environment; without it the benchmark is skipped. Both codes sample from their
own best fit, with their own defaults (ours four chains, scarlet2's one), one after the other. Seconds count warm-up and
compilation, not the fit. Prints a table and writes benchmarks/results/sampling_scarlet2.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scenes
from arviz_stats.base import array_stats

import scarlet_sed as ss

BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS / "ours"))
from jobs import PEER_PYTHON  # noqa: E402
from table import markdown  # noqa: E402

RESULTS = BENCHMARKS / "results"


def write_scene(scene: ss.Scene, observation: ss.Observation, path: Path) -> None:
    """The blend in pixels, for the other code."""
    values, names = scene.values, list(scene.sources)

    def each(path: str) -> np.ndarray:
        return np.stack([np.asarray(values[f"{name}.{path}"], float) for name in names])

    pixel = np.stack([observation.grid.pixels(p, scene.frame.tangent_point) for p in each("position")])
    images = [psf.image for psf in observation.psfs]
    largest = max(len(image) for image in images)
    psfs = np.stack([np.pad(image, (largest - len(image)) // 2) for image in images])
    np.savez(
        path,
        images=np.asarray(observation.data),
        weights=np.asarray(observation.weights),
        psfs=psfs,
        bands=np.array(scenes.BANDS),
        position=pixel.reshape(len(names), 2)[:, ::-1],
        radius=each("morphology.radius") / scenes.SCALE,
        index=each("morphology.index"),
        ellipticity=each("morphology.ellipticity"),
        flux=each("spectrum.flux"),
        wide=3.0 * each("spectrum.flux").max(axis=1),
        loose=np.array(scenes.POSITION / scenes.SCALE),
        log_size=np.array(np.log(0.1 / scenes.SCALE)),
    )


def least_bulk(draws: dict[str, np.ndarray]) -> float:
    """Effective draws of the worst number, of (chain, draw, ...) by name."""
    flat = [np.asarray(v, np.float64).reshape(*v.shape[:2], -1) for v in draws.values()]
    return float(np.min([np.min(array_stats.ess(v, chain_axis=0, draw_axis=1, method="bulk")) for v in flat]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--draws", type=int, default=300)
    options = parser.parse_args()
    if not PEER_PYTHON.exists():
        print(f"skipped: no environment at {PEER_PYTHON} (run benchmarks/peer_env.sh)")
        return 0
    RESULTS.mkdir(exist_ok=True)
    scene, observation = scenes.scene(2, options.scene)
    path, out = RESULTS / "sampling_scene.npz", RESULTS / "sampling_peer.json"
    write_scene(scene, observation, path)
    fitted = ss.fit(scene, observation, uncertainties=False, progress=False)
    begin = time.perf_counter()
    ours = ss.sample(fitted, warmup=options.warmup, draws=options.draws, progress=False)
    seconds = time.perf_counter() - begin
    assert ours.diagnosis is not None
    script = BENCHMARKS / "peers" / "scarlet2_sample.py"
    counts = ["--warmup", str(options.warmup), "--draws", str(options.draws)]
    subprocess.run([str(PEER_PYTHON), str(script), "--scene", str(path), "--out", str(out), *counts], check=True)
    peer: dict[str, Any] = json.loads(out.read_text())
    with np.load(out.with_suffix(".npz")) as file:
        theirs = least_bulk(dict(file))
    rows = [
        ["scarlet_sed", 4 * options.draws, ours.diagnosis.least_bulk, seconds, ours.diagnosis.divergences],
        ["scarlet2", options.draws, theirs, peer["sample_seconds"], peer["divergences"]],
    ]
    rates = [row[2] / row[3] for row in rows]
    print(
        markdown(
            ("code", "draws", "least bulk ESS", "seconds", "divergences", "ESS a second"),
            [
                [*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row), f"{r:.3g}"]
                for row, r in zip(rows, rates, strict=True)
            ],
        )
    )
    print(f"ratio {rates[0] / rates[1]:.0f} (R-hat of ours {ours.diagnosis.worst_rhat:.4f})")
    report = {"rows": rows, "ratio": rates[0] / rates[1], "peer": peer, "load_1min": os.getloadavg()[0]}
    (RESULTS / "sampling_scarlet2.json").write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
