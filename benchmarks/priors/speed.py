"""What learnt priors cost: value and gradient for many images, beside rendering them.

usage: python benchmarks/priors/speed.py [--sources 64] [--repeats 7]

A scene of galaxies with free images of 32 x 32 pixels, in five bands. The prior's step makes the images, takes their
log-density, and brings the gradient of both back to the numbers, as fits and samplers do; the rendering step is the
log-likelihood with the gradient by images and fluxes. Medians of several, one after the other. Counts programs, too: a
scene of as many sources as fill the same bucket needs no new one. Prints a table and writes
benchmarks/results/priors_speed.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blends
import equinox as eqx
import jax
import jax.numpy as jnp
import kinds
import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.io.outputs import write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS
from table import markdown

APART = 24
"""Pixels between neighbours."""


def scene(prior: Any, count: int) -> ss.LogPosterior:
    """Galaxies on a square lattice."""
    side = int(np.ceil(np.sqrt(count)))
    pixels = side * APART + 32
    psfs = [ss.PSF.gaussian(fwhm=fwhm) for fwhm in blends.FWHM]
    blank = ss.Observation(
        np.zeros((len(psfs), pixels, pixels)), blends.BANDS, psfs, sigma=1.0, pixel_scale=blends.SCALE, name="five"
    )
    flux = ss.Parameter(np.full(len(psfs), 300.0), dist.HalfNormal(1000.0))
    places = [
        ((i % side - (side - 1) / 2) * APART * blends.SCALE, (i // side - (side - 1) / 2) * APART * blends.SCALE)
        for i in range(count)
    ]
    sources = {
        f"s{i:02d}": blends.source(np.array(place), flux, kinds.start(prior, blends.SCALE))
        for i, place in enumerate(places)
    }
    return ss.LogPosterior(ss.Scene(sources, ss.Frame.covering(blank)), blank)


@eqx.filter_jit
def prior_step(program: Any, unconstrained: Any, slopes: Any) -> Any:
    """Log-prior and gradient by the numbers, through the images too, as a likelihood that has these slopes asks."""

    def level(u: Any) -> Any:
        values = program.constrain(u)
        return program.log_prior(values, u) + sum(jnp.vdot(s, v) for s, v in zip(slopes, values, strict=True))

    return jax.value_and_grad(level)(unconstrained)


@eqx.filter_jit
def rendering_step(program: Any, values: Any) -> Any:
    """Log-likelihood and gradient by images and fluxes."""
    return jax.value_and_grad(program.log_likelihood)(values)


def seconds(step: Callable[[], Any], repeats: int) -> list[float]:
    """Of each repeat after one more."""
    found = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        jax.block_until_ready(step())
        found.append(time.perf_counter() - begun)
    return found[1:]


def main() -> int:
    """Time all, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    table = []
    for kind in ("normal", "flow"):
        prior = kinds.priors()[kind]
        for count in (options.sources, options.sources - 3):
            posterior = scene(prior, count)
            values = posterior.start
            numbers = posterior.unconstrain(values)
            before = prior_step._cached._cache_size(), rendering_step._cached._cache_size()
            _, slopes = rendering_step(posterior.program, values)
            given = posterior.program, numbers, slopes
            own = np.median(seconds(lambda g=given: prior_step(*g), options.repeats))
            light = np.median(seconds(lambda p=posterior, v=values: rendering_step(p.program, v), options.repeats))
            after = prior_step._cached._cache_size(), rendering_step._cached._cache_size()
            programs = "{} and {}".format(*(now - then for now, then in zip(after, before, strict=True)))
            row = [kind, str(count), f"{1e3 * own:.1f}", f"{1e3 * light:.1f}", f"{own / light:.2f}", programs]
            table.append(row)
            print(row, flush=True)
    head = ("prior", "sources", "prior, ms", "rendering, ms", "ratio (aim 2)", "new programs")
    print(markdown(head, table))
    told = {"head": head, "table": table, "load_1min": os.getloadavg()[0]}
    write_json(RESULTS / "priors_speed.json", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
