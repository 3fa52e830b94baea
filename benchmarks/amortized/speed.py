"""How fast an amortized posterior is, and how much memory it takes: samples, objects, pixels.

usage: taskset -c 0 python benchmarks/amortized/speed.py [jades_delayed] [--pixels 20000]

CPU-seconds of one core per posterior sample and per object, context included, redshift given and free; densities of
redshift alone; 500 samples a pixel for many pixels, with the peak memory for a quarter and for all of them, and what
two million pixels would take. Compilation is left out (medians of three runs after a first). Prints a table and writes
benchmarks/results/amortized_speed.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import results

import scarlet_sed as ss
from scarlet_sed.amortized.assess import simulations
from scarlet_sed.amortized.file import read_amortized
from scarlet_sed.amortized.survey import Survey


def cpu(work: Callable[[], Any], times: int = 3) -> float:
    """Median CPU-seconds, after a first run."""
    work()
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return float(np.median(spent))


def peak() -> float:
    """Of resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pixels(posterior: ss.AmortizedPosterior, flux: np.ndarray, error: np.ndarray, z: np.ndarray, draws: int) -> None:
    """Draws of many pixels, of which quantiles are kept, some at a time."""
    for first in range(0, len(flux), 1000):
        part = slice(first, first + 1000)
        posterior.sample(flux[part], error[part], z[part], draws=draws, seed=first).quantiles()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posterior", nargs="?", default="jades_delayed")
    parser.add_argument("--pixels", type=int, default=20_000)
    options = parser.parse_args()
    posterior, record = read_amortized(options.posterior)
    made = simulations(posterior, Survey.of_plain(record["record"]["survey"]), options.pixels, 21)
    flux, error, z = made.fluxes, made.errors, made.values["redshift"]
    found: dict[str, Any] = {"posterior": str(options.posterior), "load": os.getloadavg(), "cpus": os.cpu_count()}
    few = slice(0, 1000)
    for name, given in (("given", z[few]), ("free", None)):
        for draws in (100, 500):
            spent = cpu(lambda g=given, d=draws: posterior.sample(flux[few], error[few], g, draws=d))
            found[f"{name} {draws}"] = {"per_sample": spent / 1000 / draws, "per_object": spent / 1000}
            print(
                f"redshift {name}, {draws} samples of 1,000 objects: {spent / 1000 / draws * 1e6:6.2f} us of CPU a "
                f"sample, {spent:.3f} ms an object"
            )
    spent = cpu(lambda: ss.photoz(posterior, flux[few], error[few]))
    found["photoz"] = {"per_object": spent / 1000}
    print(f"density of redshift: {spent * 1e3:.0f} us an object")
    memory = []
    for count in (options.pixels // 4, options.pixels):
        start = time.process_time()
        pixels(posterior, flux[:count], error[:count], z[:count], 500)
        spent = time.process_time() - start
        memory.append(peak())
        print(f"{count} pixels of 500 samples: {spent:.0f} CPU-s, peak memory {memory[-1]:.0f} MB")
    hours = spent * 2e6 / options.pixels / 3600
    found["pixels"] = {
        "count": options.pixels,
        "cpu_seconds": spent,
        "peak_mb": memory,
        "two_million_hours": hours,
    }
    print(f"two million pixels would take {hours:.1f} CPU-hours")
    results.write("amortized_speed", found)


if __name__ == "__main__":
    main()
