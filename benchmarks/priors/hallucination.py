"""Does the map of the prior's share tell which pixels of a galaxy are wrong? Galaxies that the prior has not seen.

usage: python benchmarks/priors/hallucination.py [--galaxies 36] [--first 0] [--kinds normal flow]

Each galaxy of the recipe is changed before it is seen, through five bands and with noise: a clump of 15 % of its light
is added, or most of the light of a spot is removed, by turns. A pixel is wrong where the fitted light, through a
Gaussian of one pixel, is more than 20 % off. The area under the curve (AUC) is the probability that a wrong pixel has
the larger share, among all pixels of all galaxies of a line; "faint" is what brightness alone would tell. "In" is which
pixels count: those that hold so much of the fitted or the true light. "Changed" counts what was added or removed only.
Prints a table and writes benchmarks/results/priors_hallucination.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import blends
import kinds
import numpy as np
import numpyro.distributions as dist
from scipy.ndimage import gaussian_filter
from scipy.stats import mannwhitneyu

import scarlet_sed as ss
from scarlet_sed.infer.sampling.maps import brightest
from scarlet_sed.io.outputs import write_json
from scarlet_sed.priors.procedural import stamp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS
from table import markdown

PATH = "a.morphology.image"
OFF = 0.2
"""Of the light, through a Gaussian of one pixel: a pixel is wrong beyond it."""
LIGHT = (0.9, 0.99, 1.0)
CLUMP, SPOT = 1.2, 2.0
"""Dispersions in pixels of what is added and of what is removed."""


class Galaxy(NamedTuple):
    """One galaxy, as it is and as it was fitted.

    Args:
        signal: of all its light, over noise.
        truth, before: (y, x) light fractions, with and without the change.
        fitted: (y, x).
        shares: by name, (y, x) maps.
    """

    signal: float
    truth: np.ndarray
    before: np.ndarray
    fitted: np.ndarray
    shares: dict[str, np.ndarray]

    @property
    def wrong(self) -> np.ndarray:
        """(y, x) whether the light is off."""
        off = gaussian_filter(self.fitted - self.truth, 1.0)
        return np.abs(off) > OFF * gaussian_filter(self.truth, 1.0)

    @property
    def changed(self) -> np.ndarray:
        """(y, x) whether what was added or removed matters there."""
        return np.abs(self.truth - self.before) > OFF * np.maximum(self.truth, self.before)

    def bright(self, share: float) -> np.ndarray:
        """(y, x) whether a pixel belongs to those that hold this share of the light."""
        return np.logical_or(*(brightest(image, share) for image in (self.fitted, self.truth)))


def changed(image: np.ndarray, rng: np.random.Generator, *, add: bool) -> np.ndarray:
    """(y, x) light fractions with a clump more or a spot less, off the centre where there is light."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    middle = (image.shape[0] - 1) / 2
    rows, columns = np.nonzero(brightest(image, 0.8) & (np.hypot(x - middle, y - middle) > 3))
    if not len(rows):
        rows, columns = np.array([round(middle) - 4]), np.array([round(middle)])
    chosen = rng.integers(len(rows))
    away = np.hypot(x - columns[chosen], y - rows[chosen])
    clump = np.exp(-0.5 * (away / CLUMP) ** 2)
    found = image + 0.15 * clump / clump.sum() if add else image * (1 - 0.9 * np.exp(-0.5 * (away / SPOT) ** 2))
    return found / found.sum()


def galaxy(number: int, prior: Any) -> Galaxy:
    """Number `number`, fitted with a prior."""
    rng = np.random.default_rng([30_000_000, number])
    signal = blends.SIGNALS[number // 2 % len(blends.SIGNALS)]
    before = stamp(rng, blends.STAMP)
    before = before / before.sum()
    truth = changed(before, rng, add=number % 2 == 0)
    blank = blends.blank()
    frame = ss.Frame.covering(blank)

    def scene(flux: object, shape: ss.Pixels) -> ss.Scene:
        return ss.Scene({"a": blends.source(np.zeros(2), flux, shape)}, frame)

    spectrum = np.exp(0.3 * np.linspace(-1, 1, len(blends.BANDS)))
    light = np.asarray(ss.render(scene(spectrum, ss.Pixels(truth, blends.SCALE)), blank))
    light = light * signal / (np.sqrt(np.sum(light**2, axis=(1, 2))).mean() / blends.SIGMA)
    data = blank.with_data(light + blends.SIGMA * rng.normal(size=light.shape))
    level = np.asarray(data.data).sum(axis=(1, 2)).clip(30)
    flux = ss.Parameter(level, dist.HalfNormal(np.full(len(level), 30 * level.max())))
    result = ss.fit(scene(flux, kinds.start(prior, blends.SCALE)), data, progress=False, uncertainties=False)
    found = {spot: ss.image_information(result, spot=spot)[PATH] for spot in (0.0, 1.5)}
    fitted = found[0.0].image
    shares = {"share": found[1.5].share, "share, single pixels": found[0.0].share, "faint": -fitted}
    return Galaxy(signal, truth, before, fitted, shares)


def line(kind: str, signal: float | None, share: float, galaxies: list[Galaxy], *, only: bool = False) -> list[str]:
    """One row of the table."""
    own = [each for each in galaxies if signal in (None, each.signal)]
    counted = [each.bright(share) & (each.changed | ~each.wrong if only else True) for each in own]
    wrong = np.concatenate([each.wrong[some] for each, some in zip(own, counted, strict=True)])
    cells = []
    for name in own[0].shares:
        values = np.concatenate([each.shares[name][some] for each, some in zip(own, counted, strict=True)])
        pairs = wrong.sum() * (~wrong).sum()
        cells.append(f"{mannwhitneyu(values[wrong], values[~wrong]).statistic / pairs:.2f}" if pairs else "")
    where = f"{share:.0%} of the light" + (", changed" if only else "")
    return [kind, "all" if signal is None else f"{signal:g}", where, str(wrong.size), f"{wrong.mean():.0%}", *cells]


def main() -> int:
    """Fit all, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=36)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=["normal", "flow"])
    options = parser.parse_args()
    known = kinds.priors()
    table = []
    for kind in options.kinds:
        galaxies = []
        for number in range(options.first, options.first + options.galaxies):
            galaxies.append(galaxy(number, known[kind]))
            print(f"{kind}: {len(galaxies)} of {options.galaxies}", end="\r", flush=True)
        table += [line(kind, None, share, galaxies) for share in LIGHT]
        table += [line(kind, signal, 0.99, galaxies) for signal in sorted({each.signal for each in galaxies})]
        table.append(line(kind, None, 0.99, galaxies, only=True))
    head = ("prior", "S/N", "in", "pixels", "wrong", "AUC of share", "single pixels", "faint")
    print(markdown(head, table))
    told = {"head": head, "table": table, "galaxies": options.galaxies, "load_1min": os.getloadavg()[0]}
    write_json(RESULTS / "priors_hallucination.json", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
