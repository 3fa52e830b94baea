"""scarlet2's own sampler on a blend of two Sersic galaxies, from its best fit: draws and seconds.

usage: python scarlet2_sample.py --scene scene.npz --out result.json [--warmup 300] [--draws 300] [--seed 0]

`scene.npz` is written by `benchmarks/sampling/against_scarlet2.py`. Draws go to result.npz beside result.json, by name;
numpyro's validation is off. Positions and sizes are in pixels.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import installed_versions, machine, use_plain_cpu, write_report

use_plain_cpu()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
import scarlet2 as sc2  # noqa: E402

numpyro.enable_validation(False)


def plane_flux(size: float, n: float) -> float:
    """Flux over the plane of a profile that is one at the half-light radius (Graham & Driver 2005, equation 4)."""
    b = 2 * n - 1 / 3 + 0.009877 / n
    return 2 * math.pi * n * size**2 * math.exp(b) * b ** (-2 * n) * math.gamma(2 * n)


def build(given: Any) -> tuple[sc2.Scene, sc2.Observation]:
    """The scene at the true values, with the priors of the other code."""
    observation = sc2.Observation(
        given["images"],
        weights=given["weights"],
        psf=given["psfs"],
        channels=[str(band) for band in given["bands"]],
        name="o",
    )
    frame = sc2.Frame.from_observations(observation)
    observation.match(frame)
    with sc2.Scene(frame) as scene:
        for i in range(len(given["position"])):
            size, n = float(given["radius"][i]), float(given["index"][i])
            profile = sc2.SersicMorphology(
                jnp.asarray(n), jnp.asarray(size), ellipticity=jnp.asarray(given["ellipticity"][i]), shape=(41, 41)
            )
            sc2.Source(jnp.asarray(given["position"][i]), jnp.asarray(given["flux"][i] / plane_flux(size, n)), profile)
    with sc2.Parameters(scene):
        for i, source in enumerate(scene.sources):
            profile, scale = source.morphology, plane_flux(float(given["radius"][i]), float(given["index"][i]))
            wide = float(given["wide"][i]) / scale
            for node, name, prior, step in (
                (
                    source.spectrum,
                    "spectrum",
                    dist.Normal(jnp.zeros(len(given["bands"])), wide).to_event(1),
                    0.02 * wide / 3,
                ),
                (
                    source.center,
                    "center",
                    dist.Normal(jnp.asarray(given["position"][i]), float(given["loose"])).to_event(1),
                    0.02,
                ),
                (profile.size, "size", dist.LogNormal(float(given["log_size"]), 0.5), 0.01),
                (profile.n, "n", dist.TruncatedNormal(1.5, 1.5, low=0.4, high=8.0), 0.01),
                (profile.ellipticity, "ellipticity", dist.Normal(jnp.zeros(2), 0.3).to_event(1), 0.01),
            ):
                sc2.Parameter(node, name=f"{name}:{i}", prior=prior, stepsize=step)
    return scene, observation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with np.load(options.scene, allow_pickle=False) as file:
        scene, observation = build(dict(file))
    begin = time.perf_counter()
    scene = scene.fit(observation, max_iter=500, e_rel=1e-6, progress_bar=False)
    fitted = time.perf_counter()
    found = scene.sample(
        observation,
        seed=options.seed,
        num_warmup=options.warmup,
        num_samples=options.draws,
        progress_bar=True,
    )
    jax.block_until_ready(found.get_samples())
    ended = time.perf_counter()
    draws = {name: np.asarray(value) for name, value in found.get_samples(group_by_chain=True).items()}
    extra = found.get_extra_fields()
    np.savez(options.out.with_suffix(".npz"), **draws)
    write_report(
        options.out,
        {
            "fit_seconds": fitted - begin,
            "sample_seconds": ended - fitted,
            "divergences": int(np.sum(np.asarray(extra.get("diverging", 0)))),
            "versions": installed_versions(),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
