"""From images to a posterior in one command: three blended galaxies in 14 NIRCam bands, one behind a screen of dust.

usage: python benchmarks/sampling/demo_posterior.py [--out demo_posterior] [--draws 900] [--seed 1]

Draws the `jades` scene of populations.py, fits it from numbers that are not the truth, keeps the fit, and samples it as
`scarlet-sed sample` does; the same command goes on from what is there. Ends with the status of the chains, how far the
truth lies from their draws, and the pictures, table and report that were written.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import populations

import scarlet_sed as ss
from scarlet_sed.io.fit_folder import save_fit
from scarlet_sed.parameters import set_values
from scarlet_sed.pipeline.sample_options import SampleOptions
from scarlet_sed.pipeline.sampling import run_sample

START = {
    "spectrum.log_mass": 8.5,
    "spectrum.log_metallicity": -0.4,
    "spectrum.history.age_fraction": 0.4,
    "spectrum.history.log_tau": 0.0,
    "spectrum.attenuation.av": 0.3,
    "morphology.radius": 0.12,
    "morphology.index": 1.5,
    "morphology.ellipticity": (0.02, 0.02),
    "screen.av": 0.6,
}
"""Where every galaxy's fit begins: what priors say, not the truth."""


def start_of(scene: ss.Scene) -> ss.Scene:
    """The scene with every number at what its prior expects, and places as they would be detected."""
    begun = {
        path: np.asarray(value, float)
        for path in scene.parameters
        for end, value in START.items()
        if path.endswith(f".{end}")
    }
    return set_values(scene, begun)


def main() -> int:
    """Draw, fit, sample, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo_posterior"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--draws", type=int, default=900)
    parser.add_argument("--target-accept", type=float, default=0.95)
    options = parser.parse_args()
    begun = time.perf_counter()
    scene, observations = populations.jades(options.seed)
    if not (options.out / "scene").exists():
        fitted = ss.fit(start_of(scene), observations)
        print(f"fit: {fitted.status.name}, {fitted.steps} steps, {time.perf_counter() - begun:.0f} s", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        save_fit(options.out, fitted.scene, fitted.observations)
    asked = SampleOptions(
        warmup=options.warmup, draws=options.draws, seed=options.seed, target_accept=options.target_accept
    )
    sampled = run_sample(options.out, options=asked)
    print(sampled.summary())
    found = sampled.posterior
    if found.shape[1]:
        scores = [
            np.ravel(
                (np.mean(found.draws[path], axis=(0, 1)) - np.asarray(leaf.value))
                / np.std(found.draws[path], axis=(0, 1))
            )
            for path, leaf in scene.parameters.items()
        ]
        every = np.concatenate(scores)
        print(
            f"truth: {len(every)} numbers lie {np.sqrt(np.mean(every**2)):.2f} standard deviations from the mean (rms)"
        )
    print(f"from images to report: {time.perf_counter() - begun:.0f} s")
    return 0 if found.status.success else 1


if __name__ == "__main__":
    sys.exit(main())
