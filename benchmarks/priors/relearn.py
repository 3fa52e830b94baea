"""Priors learnt from galaxies seen through a PSF and noise, alone or blended: how near is one of noiseless images?

usage: python benchmarks/priors/relearn.py [--galaxies 300] [--blends 12] [--signal 50] [--rounds 5]
                                           [--keep build/relearn]

Galaxies of 24 pixels by the rules of `priors.procedural`; noise is such that all pixels of a galaxy together have the
signal-to-noise. "clean" is learnt from the galaxies themselves, "clipped" from the noisy stamps with negative pixels at
zero. Rounds begin with "round", a prior of other galaxies: ellipticals alone, no larger than two pixels, seen through
noise of one unit of the coordinates, for what is too narrow grows slowly; or with "clipped". "blends" are pairs
6 pixels apart, taken apart in each round.

Judged by 100 other galaxies: mean natural logarithm of the density of their noiseless images, a number of 575, as it is
and with everything seen through noise of one unit of the coordinates, which hides what no data could show; and by what
the prior makes of their noisy stamps: L2 error of the most likely image, relative, and error of the flux, medians.
"widths" is the mean of |ln| of the deviations along the first 32 axes over those of "clean". Rounds are kept as they
are done; run again to go on. Prints a table and writes benchmarks/results/priors_relearn.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
from shapes import distance

import scarlet_sed as ss
from scarlet_sed.infer.relearning import Expect, draws_of_blends, draws_of_stamps, relearn
from scarlet_sed.infer.restored import most_likely
from scarlet_sed.infer.stamps import Stamps
from scarlet_sed.io.outputs import write_json
from scarlet_sed.parameters import as_float
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages, unit_images
from scarlet_sed.priors.procedural import GALAXIES, stamps
from scarlet_sed.priors.shipped import KIND, read_prior
from scarlet_sed.weights import write_weights

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS
from table import markdown

SIDE, HELD, RANK, SCALE = 24, 100, 128, 0.1
PSF = ss.PSF.gaussian(fwhm=3.0)
APART = 6.0
"""Pixels between blended galaxies."""
ROUND = GALAXIES._replace(
    kinds=(1.0, 0.0, 0.0, 0.0, 0.0),
    largest=2.0 / SIDE,
    merger=(0.0, *GALAXIES.merger[1:]),
    tail=(0.0, *GALAXIES.tail[1:]),
)
SHOWN = 32
"""Axes whose deviations are compared."""
BAND = ("hsc_g",)


class Seen(NamedTuple):
    """Galaxies as they are and as they were seen.

    Args:
        truth: (galaxy, y, x) light fractions.
        data: (galaxy, y, x) with noise of deviation one.
        fluxes: (galaxy,).
    """

    truth: np.ndarray
    data: np.ndarray
    fluxes: np.ndarray

    @property
    def stamps(self) -> Stamps:
        return Stamps.of(self.data, np.ones_like(self.data), PSF)


def seen(truth: np.ndarray, signal: float, seed: int) -> Seen:
    """Galaxies through the PSF, with noise."""
    through = Stamps.of(truth, np.full_like(truth, 1e8), PSF)
    clean = np.asarray(through.seen(as_float(truth)), float)
    fluxes = signal / np.sqrt(np.sum(clean**2, axis=(1, 2)))
    noise = np.random.default_rng(seed).normal(size=clean.shape)
    return Seen(truth, clean * fluxes[:, None, None] + noise, fluxes)


def blends(truth: np.ndarray, fluxes: np.ndarray, prior: GaussianImages) -> list[Any]:
    """Pairs of galaxies as scenes with their observations."""
    found = []
    blank = ss.Observation(np.zeros((1, 40, 40)), BAND, PSF, sigma=1.0, pixel_scale=SCALE, name="seen")
    frame = ss.Frame.covering(blank)
    free = GaussianImagePrior(prior)
    for number in range(len(truth) // 2):
        rng = np.random.default_rng([7, number])
        angle = rng.uniform(0, 2 * np.pi)
        half = 0.5 * APART * SCALE * np.array([np.cos(angle), np.sin(angle)])
        true, start = {}, {}
        for name, place, member in (("a", half, 2 * number), ("b", -half, 2 * number + 1)):
            light = ss.FreeSpectrum(fluxes[member], BAND)
            true[name] = ss.Source(place, light * ss.Pixels(truth[member], SCALE))
            flux = ss.Parameter(fluxes[member : member + 1], dist.HalfNormal(10 * fluxes[member]))
            image = ss.Pixels(ss.Parameter(np.asarray(free.mean), free), SCALE)
            start[name] = ss.Source(place, ss.FreeSpectrum(flux, BAND) * image)
        clean = np.asarray(ss.render(ss.Scene(true, frame), blank))
        found.append((ss.Scene(start, frame), blank.with_data(clean + rng.normal(size=clean.shape))))
    return found


def kept_rounds(
    name: str, first: GaussianImages, expect: Expect, rounds: int, worth: float, folder: Path
) -> Iterator[tuple[str, GaussianImages]]:
    """The prior of each round; what is in the folder is not done again."""
    prior = first
    for number in range(1, rounds + 1):
        path = folder / f"{name}-{number}.npz"
        if not path.exists():
            after = (number - 1, prior)
            (done,) = relearn(first, expect, rounds=number, rank=RANK, worth=worth, after=after)
            print(f"{name}: {done}", flush=True)
            header = {"shape": list(done.prior.shape), "knee": done.prior.knee}
            write_weights(path, done.prior.arrays(), header, KIND)
        prior = GaussianImages.from_arrays(*read_prior(path))
        yield f"{name} {number}", prior


def judged(prior: GaussianImages, held: Seen, clean: GaussianImages) -> dict[str, Any]:
    """What the galaxies that were held out say of a prior."""
    numbers, images = prior.mean.size, as_float(held.truth)
    found = most_likely(prior, held.stamps)
    off = [distance(*pair) for pair in zip(found.images[0], held.truth, strict=True)]
    widths = np.asarray(prior.deviations, float)
    return {
        "density": float(np.mean(prior.log_density(images))) / numbers,
        "through": float(np.mean(prior.seen_through(1.0).log_density(images))) / numbers,
        "shape": float(np.median(off)),
        "flux": float(np.median(found.fluxes[0] / held.fluxes) - 1),
        "widths": float(np.mean(np.abs(np.log(widths / np.asarray(clean.deviations, float)))[:SHOWN])),
        "deviations": widths.tolist(),
        "rest": float(prior.rest),
    }


def priors(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, GaussianImages]]:
    """All that are compared, by name; the first is that of noiseless images."""
    truth = unit_images(stamps(options.galaxies, SIDE, seed=31))
    own = seen(truth, options.signal, seed=1)
    clipped = GaussianImages.of(np.maximum(own.data, 0.0), rank=RANK)
    first = GaussianImages.of(stamps(400, SIDE, seed=32, recipe=ROUND), rank=RANK).seen_through(1.0)
    yield "clean", GaussianImages.of(truth, rank=RANK)
    yield "clipped", clipped
    alone = draws_of_stamps(own.stamps)
    yield from kept_rounds("clipped", clipped, alone, options.rounds, 0.0, folder)
    yield "round", first
    yield from kept_rounds("round", first, alone, options.rounds, 20.0, folder)
    if options.blends:
        pairs = blends(truth[: 2 * options.blends], own.fluxes, first)
        expect = draws_of_blends(pairs, draws=2)
        yield from kept_rounds(f"{options.blends} blends", first, expect, min(3, options.rounds), 20.0, folder)


HEAD = ("prior", "density", "through noise", "L2", "flux", "widths", "rest")


def main() -> int:
    """Learn what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=300)
    parser.add_argument("--blends", type=int, default=12)
    parser.add_argument("--signal", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, default=Path("build/relearn"))
    options = parser.parse_args()
    folder = options.keep / f"{options.galaxies}-{options.signal:g}"
    held = seen(unit_images(stamps(HELD, SIDE, seed=33)), options.signal, seed=2)
    rows, clean = {}, None
    for name, prior in priors(options, folder):
        clean = prior if clean is None else clean
        rows[name] = judged(prior, held, clean)
    keys = ("density", "through", "shape", "flux", "widths", "rest")
    table = [[name, *(f"{row[key]:.3f}" for key in keys)] for name, row in rows.items()]
    print(markdown(HEAD, table))
    told = {name: getattr(options, name) for name in ("galaxies", "blends", "signal", "rounds")}
    suffix = "" if options.signal == 50 else f"_{options.signal:g}"
    write_json(
        RESULTS / f"priors_relearn{suffix}.json",
        {"head": HEAD, "table": table, "rows": rows, **told, "load_1min": os.getloadavg()[0]},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
