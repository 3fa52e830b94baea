"""Priors on images beyond what they were learnt from: a blend simulated by others, with truth, and one of the real sky.

usage: python benchmarks/priors/real.py [--shared FOLDER] [--kinds none smooth normal flow]

The simulated blend has two galaxies of bulge and disk and three stars, in bands ugrizy; shapes are compared as they are
seen through the PSF, all bands together. An image of 32 of its pixels cuts the larger one off, one of pixels twice as
large does not: both are fitted. The real one is the HSC COSMOS blend of the scarlet guides, with the normal
prior: residuals, and a picture in benchmarks/priors/figures. Learnt priors know galaxies in pixels of NIRCam: both are
out of their domain. Known stars are points. Writes benchmarks/results/priors_real.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import numpyro.distributions as dist
from matplotlib.patheffects import withStroke
from shapes import distance, similarity

import scarlet_sed as ss
from scarlet_sed.io.outputs import write_figure, write_json
from scarlet_sed.start import initialize

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from common import observe, positions
from jobs import RESULTS
from table import markdown

from blends import Blend, chi_square_per_point, hsc_blend, unmatched_blend  # isort: skip
from measuring import shared_folder  # isort: skip

FIGURES = Path(__file__).resolve().parent / "figures"
PIXEL_SCALES = {"unmatched": 0.2, "hsc": 0.168}
"""Arcsec."""
SPACINGS = (1, 2)
"""Of the images of galaxies in the simulated blend, in its pixels."""


def fitted(
    blend: Blend, prior: Any, centres: np.ndarray, free: float | None = None, spacing: float = 1
) -> ss.FitResult:
    """A blend, fitted; sources are named by their numbers.

    Args:
        blend: known stars are points.
        prior: on the images of all others.
        centres: (source, 2) pixels (y, x).
        free: pixels within which places are free; None for not at all.
        spacing: of the images' pixels, in the blend's.
    """
    scale = PIXEL_SCALES[blend.name]
    observation, frame = observe(blend, scale, oversampling=1)
    brightest = float(blend.images.sum(axis=(1, 2)).max())
    sources = {}
    for number, place in enumerate(positions(observation, frame, centres)):
        shape = ss.Point() if blend.is_star[number] else kinds.start(prior, spacing * scale)
        width = np.full(len(blend.bands), 3 * brightest)
        flux = ss.Parameter(width / 30, dist.HalfNormal(width))
        where = place if free is None else ss.Parameter(place, dist.Normal(place, free * scale))
        sources[f"s{number}"] = ss.Source(where, ss.FreeSpectrum(flux, observation.filters) * shape)
    return ss.fit(initialize(ss.Scene(sources, frame), observation), observation, progress=False, uncertainties=False)


def against_truth(blend: Blend, models: np.ndarray) -> list[dict[str, float]]:
    """Errors of each galaxy; images are (source, band, y, x), seen through the PSF."""
    assert blend.truth is not None
    found = []
    for model, truth in zip(models[~blend.is_star], blend.truth[~blend.is_star], strict=True):
        flux, known = model.sum(axis=(1, 2)), truth.sum(axis=(1, 2))
        one, other = model / flux[:, None, None], truth / known[:, None, None]
        ratio = flux / known
        found.append(
            {
                "shape": distance(one, other),
                "similarity": float(np.mean([similarity(*pair) for pair in zip(one, other, strict=True)])),
                "flux": float(ratio.mean() - 1),
                "worst_flux": float(np.abs(ratio - 1).max()),
                "colour": float(-2.5 * np.log10(ratio[0] / ratio[-1])),
            }
        )
    return found


def simulated(folder: Path, chosen: list[str]) -> dict[str, Any]:
    """The blend with truth, with each prior."""
    blend = unmatched_blend(folder)
    assert blend.centres is not None and blend.truth is not None
    known = kinds.priors()
    found = []
    for kind in chosen:
        for spacing in SPACINGS:
            begun = time.perf_counter()
            result = fitted(blend, kinds.of_kind(kind, known), blend.centres, spacing=spacing)
            seconds = time.perf_counter() - begun
            models = np.stack([images[blend.name] for images in result.source_models().values()])
            found.append(
                {
                    "kind": kind,
                    "spacing": spacing,
                    "errors": against_truth(blend, models),
                    "chi2": chi_square_per_point(blend, models.sum(axis=0)),
                    "status": result.status.name,
                    "seconds": seconds,
                }
            )
    return {"fits": found, "chi2_of_truth": chi_square_per_point(blend, blend.truth.sum(axis=0))}


HEAD = (
    *("prior", "spacing", "galaxy", "L2 seen", "similarity", "flux bias", "worst flux", "colour"),
    *("chi2", "status", "s"),
)


def simulated_table(fits: list[dict[str, Any]]) -> str:
    """One line for a prior and galaxy."""
    rows = [
        [
            fit["kind"],
            str(fit["spacing"]),
            str(number),
            f"{errors['shape']:.3f}",
            f"{errors['similarity']:.3f}",
            f"{errors['flux']:+.3f}",
            f"{errors['worst_flux']:.3f}",
            f"{errors['colour']:+.3f}",
            f"{fit['chi2']:.3f}",
            fit["status"],
            f"{fit['seconds']:.1f}",
        ]
        for fit in fits
        for number, errors in enumerate(fit["errors"])
    ]
    return markdown(HEAD, rows)


def sky(folder: Path) -> dict[str, Any]:
    """The blend of the real sky with the normal prior, and its picture."""
    blend = hsc_blend(folder)
    begun = time.perf_counter()
    result = fitted(blend, kinds.priors()["normal"], blend.peaks, 0.5)
    seconds = time.perf_counter() - begun
    picture(result, blend.name)
    return {"chi2": result.chi2[blend.name], "status": result.status.name, "seconds": seconds}


def picture(result: ss.FitResult, name: str) -> None:
    """Data, model and residual in colour, written as figures/NAME.png."""
    frame = result.scene.frame
    view = ss.plot.view(result.observations, result.models, frame)
    labels = {
        source: view.pixel(frame.pixel(np.asarray(result.scene.values[f"{source}.position"])))
        for source in result.scene.sources
    }
    figure = ss.plot.scene(view, labels)
    figure.patch.set_alpha(1.0)
    for text in figure.axes[0].texts:
        # white letters on the white cores of galaxies
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    write_figure(FIGURES / f"{name}.png", figure)


def main() -> int:
    """Fit both, print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder that holds data/ (default: see peers/measuring.py)")
    parser.add_argument("--kinds", nargs="+", default=["none", "smooth", "normal", "flow"])
    options = parser.parse_args()
    folder = shared_folder(options.shared) / "data" / "hsc_hst"
    if not folder.is_dir():
        print(f"skipped: there is no {folder} (give --shared or SCARLET_SED_SHARED)")
        return 0
    report: dict[str, Any] = {"unmatched": simulated(folder, options.kinds), "hsc": sky(folder)}
    report["load_1min"] = os.getloadavg()[0]
    print(simulated_table(report["unmatched"]["fits"]))
    print(f"\nchi-square of the truth {report['unmatched']['chi2_of_truth']:.3f}\n")
    bands = report["hsc"]["chi2"]
    print(markdown(("band", *bands), [["chi2", *(f"{value:.3f}" for value in bands.values())]]))
    write_json(RESULTS / "priors_real.json", report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
