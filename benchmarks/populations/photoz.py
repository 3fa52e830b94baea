"""Photometric redshifts of the 100 COSMOS galaxies with spectroscopic ones, and fits at the spectroscopic redshift.

    .venv/bin/python benchmarks/populations/photoz.py [--floor 0.05] [--history delayed_tau]

The data (`../shared/data/cosmos_specz`, from LePHARE's examples) are skipped with a reason where they are missing.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import sections
from astropy.table import Table

import scarlet_sed as ss
from scarlet_sed.infer.photometry import PhotometryFit, fit_photometry
from scarlet_sed.infer.zero_points import zero_points
from scarlet_sed.io.outputs import write_json
from scarlet_sed.io.scene_file import digest_of
from scarlet_sed.pipeline.populations import default_grid
from scarlet_sed.spectrum.priors import deep_field_population
from scarlet_sed.sps.basis import BasisSynthesis

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared/data/cosmos_specz/COSMOS_first100specz.fits"
FIGURES = Path(__file__).parent / "figures"
BANDS = {
    "cosmos/u_cfht.lowres": "cfht_megacam_us_9301",
    **{f"hsc/{b}HSC.pb": f"hsc_{b}" for b in "grizy"},
    **{f"vista/{b}.lowres": f"vista_vircam_{s}" for b, s in (("Y", "Y"), ("J", "J"), ("H", "H"), ("K", "Ks"))},
    **{f"cosmos/IB{n}.lowres": f"subaru_suprimecam_ia{n}" for n in (427, 464, 484, 505, 527, 574)},
    **{f"cosmos/IB{n}.lowres": f"subaru_suprimecam_ia{n}" for n in (624, 679, 709, 738, 767, 827)},
    "cosmos/irac_ch1.lowres": "spitzer_irac_ch1",
    "cosmos/irac_ch2.lowres": "spitzer_irac_ch2",
}
"""Column -> curve; the narrow bands, the second u band and the empty IRAC 3 and 4 have none."""


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(galaxy, band) flux and error in nJy, NaN where missing, and (galaxy,) spectroscopic redshift."""
    table = Table.read(DATA)
    flux = np.stack([np.asarray(table[f"f_{name}"], float) for name in BANDS], axis=1) * 1e32
    error = np.stack([np.asarray(table[f"ferr_{name}"], float) for name in BANDS], axis=1) * 1e32
    missing = ~(np.isfinite(flux) & (error > 0) & (np.abs(flux) < 1e10))
    return np.where(missing, np.nan, flux), np.where(missing, np.nan, error), np.asarray(table["zspec"], float)


def statistics(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    offset = (found - true) / (1 + true)
    return {
        "nmad": float(1.4826 * np.median(np.abs(offset - np.median(offset)))),
        "outliers": float(np.mean(np.abs(offset) > 0.15)),
        "bias": float(np.median(offset)),
    }


def out_of_fold(
    flux: np.ndarray, error: np.ndarray, true: np.ndarray, filters: ss.Filters, population: ss.StellarPopulation,
    floor: float, folds: int = 4, keep: Path | None = None,
) -> np.ndarray:  # fmt: skip
    """(galaxy, band) factors, each from the spectroscopic redshifts of the other folds' galaxies only.

    They take minutes a fold: `keep` is a file that they are kept in as they are done.
    """
    kept = json.loads(keep.read_text()) if keep is not None and keep.exists() else {}
    tag = "" if keep is None else digest_of([flux, error, true, population])[:8]
    fold = np.arange(len(true)) % folds
    factors = np.ones_like(flux)
    for number in range(folds):
        others = fold != number
        name = f"{floor:g} {number} of {folds} {tag}"
        if name not in kept:
            found = zero_points(flux[others], error[others], filters, population, true[others], floor=floor)
            kept[name] = np.asarray(found, float).tolist()
            if keep is not None:
                write_json(keep, kept)
        print(f"zero points without fold {number}:", " ".join(f"{f:.3f}" for f in kept[name]), flush=True)
        factors[~others] = kept[name]
    return factors


def figures(free: PhotometryFit, fixed: PhotometryFit, true: np.ndarray) -> None:
    FIGURES.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.plot([0, 6.5], [0, 6.5], color="0.6", lw=1)
    for sign in (-0.15, 0.15):
        z = np.linspace(0, 6.5, 2)
        left.plot(z, z + sign * (1 + z), color="0.8", lw=1, ls="--")
    left.scatter(true, free.redshift, s=14, color="C0")
    left.set(xlabel="spectroscopic redshift", ylabel="photometric redshift", xlim=(0, 6.5), ylim=(0, 6.5))
    right.hist(fixed.chi2 / fixed.bands, bins=np.linspace(0, 5, 26), color="C1")
    right.set(xlabel="chi-square per band, redshift fixed", ylabel="galaxies")
    figure.savefig(FIGURES / "photoz.png", dpi=110)


def described(
    result: dict[str, Any], free: PhotometryFit, fixed: PhotometryFit, true: np.ndarray
) -> list[str]:  # fmt: skip
    """The section of the report."""
    rows = [
        [name, *(f"{result[name][key]:.4f}" for key in ("nmad", "outliers", "bias"))]
        for name in ("all", "detected in 4 bands")
    ]
    off = np.flatnonzero(np.abs(free.redshift - true) / (1 + true) > 0.15)
    wrong = [
        [str(i), f"{true[i]:.3f}", f"{free.redshift[i]:.3f}", f"{free.chi2[i]:.0f}", f"{fixed.chi2[i]:.0f}"]
        for i in off
    ]
    levels = ", ".join(f"{value:.2f} at {level}" for level, value in result["chi2_per_band_fixed"].items())
    return [
        f"`photoz.py`: {len(true)} galaxies with spectroscopic redshifts, {len(BANDS)} bands "
        f"({', '.join(BANDS.values())}), "
        f"an error floor of {result['floor']:.0%}, {result['history']} histories, "
        f"{'dust emission in energy balance' if result['emission'] else 'no dust emission'}, "
        + (
            "zero points of each quarter of the galaxies from the spectroscopic redshifts of the others."
            if set(result["zero_points"].values()) != {1.0}
            else "fluxes as they are."
        ),
        markdown(("galaxies", "NMAD", "outliers (> 0.15)", "bias"), rows),
        f"At the spectroscopic redshift, chi-square per band with that floor: {levels}.",
        "Outliers:",
        markdown(("galaxy", "spectroscopic", "found", "chi-square there", "at the spectroscopic one"), wrong),
        "Factors on the fluxes: " + ", ".join(f"{b} {f:.3f}" for b, f in result["zero_points"].items()) + ".",
        "![redshifts and chi-squares](figures/photoz.png)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floor", type=float, default=0.05)
    parser.add_argument("--history", default="delayed_tau")
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--library", type=int, default=40_000)
    parser.add_argument("--no-zero-points", action="store_true", help="the fluxes as they are")
    parser.add_argument("--basis", action="store_true", help="the basis of the grid instead of the emulator")
    parser.add_argument("--no-emission", action="store_true", help="without dust emission, which needs a grid")
    given = parser.parse_args()
    if not DATA.exists():
        print(f"skipped: {DATA} is missing")
        return
    flux, error, true = load()
    engine = None
    if given.basis:
        exact = ss.ExactSynthesis(ss.Grid.open(default_grid()))
        engine = BasisSynthesis.open(default_grid().with_name("basis.npz"), exact)
    population = deep_field_population(given.history, engine=engine)
    emission = default_grid().exists() and not given.no_emission
    if emission:  # IRAC sees galaxies of redshift 0.3 at 2.7 and 3.4 micron, where dust outshines stars
        population = population.replace(emission=ss.DustEmission(ss.Grid.open(default_grid())))
    filters = ss.Filters.load(list(BANDS.values()))
    factors = np.ones_like(flux)
    if not given.no_zero_points:
        factors = out_of_fold(flux, error, true, filters, population, given.floor)
    flux, error = flux * factors, error * factors
    start = time.monotonic()
    free = fit_photometry(
        flux, error, filters, population, dist.Uniform(0.02, 7.0), floor=given.floor, starts=given.starts,
        library=given.library,
    )  # fmt: skip
    between = time.monotonic()
    fixed = fit_photometry(flux, error, filters, population, true, floor=given.floor, starts=4)
    seconds = (between - start, time.monotonic() - between)
    good = np.sum(flux / error > 3, axis=1) >= 4
    ratio = fixed.chi2 / fixed.bands
    result = {
        "bands": list(BANDS.values()),
        "floor": given.floor,
        "history": given.history,
        "emission": emission,
        "zero_points": {b: float(f) for b, f in zip(BANDS.values(), np.exp(np.log(factors).mean(axis=0)), strict=True)},
        "all": statistics(free.redshift, true),
        "detected in 4 bands": {**statistics(free.redshift[good], true[good]), "galaxies": int(good.sum())},
        "chi2_per_band_fixed": {f"{p} %": float(np.percentile(ratio, p)) for p in (16, 50, 84, 95)},
        "seconds": seconds,
    }
    print(json.dumps(result, indent=1))
    for row in np.flatnonzero(np.abs(free.redshift - true) / (1 + true) > 0.15):
        print(
            f"outlier {row}: z {true[row]:.3f} found {free.redshift[row]:.3f} +- {free.errors['redshift'][row]:.3f}, "
            f"chi2 {free.chi2[row]:.1f} against {fixed.chi2[row]:.1f} at z, {free.bands[row]} bands, "
            f"ln p {free.log_posterior[row]:.1f} {fixed.log_posterior[row]:.1f}"
        )
    figures(free, fixed, true)
    sections.put("photoz", described(result, free, fixed, true))
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / "benchmarks/results/photoz.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
