"""Redshifts of the 100 COSMOS galaxies with spectroscopic ones, by a network alone.

usage: scarlet-sed posterior train benchmarks/amortized/cosmos.toml --out build/amortized/cosmos.zip
       python benchmarks/amortized/cosmos.py [build/amortized/cosmos.zip] [--floor 0.05]

`benchmarks/populations/photoz.py` fits templates of the same priors to the same bands. Zero points are those of the
fits at the spectroscopic redshifts of the other three quarters of the galaxies, as there; and none. The data
(`../shared/data/cosmos_specz`) are skipped with a reason where they are missing. Prints a table, writes
benchmarks/results/amortized_cosmos.json and a figure.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import results
from scipy import stats

import scarlet_sed as ss
from scarlet_sed.spectrum.priors import deep_field_population

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "populations"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from photoz import BANDS, DATA, load, out_of_fold, statistics

FOLDS = 4


def as_wide_as_the_others(found: ss.PhotoZ, true: np.ndarray) -> tuple[ss.PhotoZ, list[float]]:
    """Densities to the power that the galaxies of the other folds ask for, and the powers."""
    fold, powers, whole = np.arange(len(true)) % FOLDS, [], found.tempered(1.0)
    for number in range(FOLDS):
        own = fold == number
        powers.append(found.power_of(np.where(own, np.nan, true)))
        one = found.tempered(powers[-1])
        for column in ("density", "mode", "odds"):
            getattr(whole, column)[own] = getattr(one, column)[own]
        whole.quantiles[:, own] = one.quantiles[:, own]
    return whole, powers


def judged(found: ss.PhotoZ, true: np.ndarray) -> dict:
    """Numbers of one set of densities, and the redshifts."""
    middle = found.quantiles[1]
    pit = found.until(true)
    away = np.abs(np.log1p(true) - np.log1p(middle))
    half = 0.5 * (np.log1p(found.quantiles[2]) - np.log1p(found.quantiles[0]))
    return {
        "median": statistics(middle, true),
        "mode": statistics(found.mode, true),
        "sure": {**statistics(middle[found.odds > 0.9], true[found.odds > 0.9]), "n": int(np.sum(found.odds > 0.9))},
        "pit": pit.tolist(),
        "pit_ks": float(stats.kstest(pit, "uniform").pvalue),
        "within68": float(np.mean((pit > 0.16) & (pit < 0.84))),
        "within95": float(np.mean((pit > 0.025) & (pit < 0.975))),
        "width": float(np.median(half)),
        "away": float(np.median(away)),
        "redshift": middle.tolist(),
    }


def main() -> None:
    """Judge one posterior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posterior", type=Path, nargs="?", default=Path("build/amortized/cosmos.zip"))
    parser.add_argument("--floor", type=float, default=0.05)
    parser.add_argument("--keep", type=Path, default=Path("build/amortized/zero_points.json"))
    options = parser.parse_args()
    if not DATA.exists():
        print(f"skipped: {DATA} is missing")
        return
    flux, error, true = load()
    posterior = ss.load_amortized(options.posterior)
    filters = ss.Filters.load(list(BANDS.values()))
    factors = out_of_fold(flux, error, true, filters, deep_field_population(), options.floor, keep=options.keep)
    found = {"posterior": options.posterior.name, "floor": options.floor, "load": os.getloadavg()}
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    for name, factor in (("as they are", np.ones_like(flux)), ("zero points", factors)):
        seen = flux * factor
        sigma = np.hypot(error * factor, options.floor * np.abs(seen))
        ss.photoz(posterior, seen, sigma)
        start = time.process_time()
        densities = ss.photoz(posterior, seen, sigma)
        spent = (time.process_time() - start) / len(true)
        wider, powers = as_wide_as_the_others(densities, true)
        print(f"{name}: {1e6 * spent:.0f} microseconds of CPU a galaxy; powers", *(f"{p:.2f}" for p in powers))
        for label, each in ((name, densities), (f"{name}, widened", wider)):
            row = found[label] = judged(each, true)
            for point in ("median", "mode", "sure"):
                of = row[point]
                print(
                    f"{label}, {point}: NMAD {of['nmad']:.4f}, outliers {100 * of['outliers']:.0f} %, "
                    f"bias {of['bias']:+.4f}" + (f", {of['n']} galaxies of odds above 0.9" if "n" in of else "")
                )
            print(
                f"{label}: PIT KS p {row['pit_ks']:.3g}, 68 % hold {row['within68']:.2f}, "
                f"95 % {row['within95']:.2f}, half width {row['width']:.4f}"
            )
            axes[2].hist(row["pit"], bins=np.linspace(0, 1, 11), histtype="step", label=label)
        found[name] |= {"cpu_seconds_per_object": spent, "powers": powers}
        row = found[name]
        axes[0].scatter(true, row["redshift"], s=12, label=name)
        away = (np.array(row["redshift"]) - true) / (1 + true)
        axes[1].hist(np.clip(away, -0.2, 0.2), bins=np.linspace(-0.2, 0.2, 41), histtype="step", label=name)
    axes[0].plot([0, 6.5], [0, 6.5], color="0.6", lw=1)
    axes[0].set(xlabel="spectroscopic redshift", ylabel="median of the density")
    axes[1].set(xlabel="offset over 1 + z (beyond 0.2 in the last bin)", ylabel="galaxies")
    axes[2].set(xlabel="probability below the spectroscopic redshift", ylabel="galaxies")
    axes[0].legend()
    axes[2].legend(fontsize=7)
    results.draw("cosmos", figure)
    results.write("amortized_cosmos", found)


if __name__ == "__main__":
    main()
