"""The real COSMOS-Web ring field: detection against the hand-made list, residuals, and injected galaxies.

usage: python benchmarks/ring/run.py [--inject-only | --fit-only] [--shared FOLDER] [--seed N] [--keep FOLDER]

Galaxies are drawn by GalSim, not by us, with the field's PSFs, on the real pixels; then the very path of
`scarlet-sed fit` runs on the changed files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import galsim
import numpy as np
from astropy.io import fits
from astropy.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCALES = {"F115W": 0.03, "F150W": 0.03, "F277W": 0.06, "F444W": 0.06}
NJY = 1e15 * (np.pi / 648000) ** 2  # nJy per MJy/sr and square arcsec
MATCH = 0.15  # arcsec
RING = 2.0  # arcsec from the lens, the first of the list: the ring and its halo
LIST = ROOT / "tests" / "data" / "ring_sources.ecsv"
COUNT = 20
SHIFTS = {"F115W": (0.0, 0.0), "F150W": (0.011, 0.022), "F277W": (0.058, 0.030), "F444W": (0.000, 0.030)}
"""Arcsec (east, north) by which the images lie off against F115W, as a fit of the field finds them."""


def main() -> int:
    """Run what is asked for, print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("SCARLET_SED_SHARED", ROOT.parent / "shared"))
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--fit-only", action="store_true")
    parser.add_argument("--inject-only", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep images, catalogues and reports in this folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "ring.json")
    options = parser.parse_args()
    field = options.shared / "data" / "cosmos_web_ring"
    if not field.is_dir():
        print(f"skipped: there is no {field} (give --shared)")
        return 0
    report: dict[str, Any] = {"load_1min": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.keep is None else options.keep
        if not options.inject_only:
            report["field"] = fit_field(field, folder)
        if not options.fit_only:
            report["injected"] = injected(field, folder, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 0


def config_text(images: Path, field: Path) -> str:
    """The committed configuration with other images, PSF and noise paths."""
    text = (HERE / "config.toml").read_text(encoding="utf-8")
    shared = re.escape("../../../shared/data/cosmos_web_ring/")
    text = re.sub(rf'image = "{shared}(\w+)/data.fits"', rf'image = "{images}/\1/data.fits"', text)
    return re.sub(rf'"{shared}', f'"{field}/', text)


def fit_field(field: Path, folder: Path) -> dict[str, Any]:
    """The field itself: seconds, scatter inside footprints over expected noise, chi-squares."""
    outcome = run(config_text(field, field), folder / "field")
    metrics = json.loads((outcome.folder / "metrics.json").read_text(encoding="utf-8"))
    keys = ("status", "steps", "bands", "timings_s", "peak_memory_mb", "models")
    return {key: metrics[key] for key in keys}


def run(text: str, folder: Path) -> Any:
    """`scarlet-sed fit` on a configuration."""
    from scarlet_sed.pipeline import run_fit

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return run_fit(path, folder / "out", progress=False)


def injected(field: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Recovery of galaxies drawn into the real field."""
    truth = draw_truth(seed)
    for band, scale in SCALES.items():
        image = fits.getdata(field / band / "data.fits").astype(float)
        psf = fits.getdata(field / band / "psf.fits").astype(float)
        image += draw(truth, band, image.shape, scale, psf) / (scale**2 * NJY)
        (folder / "images" / band).mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(image).writeto(folder / "images" / band / "data.fits", overwrite=True)
    truth.write(folder / "truth.ecsv", overwrite=True)
    outcome = run(config_text(folder / "images", field), folder / "injected")
    return compare(truth, outcome.catalog)


def draw_truth(seed: int) -> Table:
    """Random galaxies on places free of listed sources: sizes, shapes, indices and colours like the field's own.

    F150W fluxes are 200 to 2000 nJy (25.6 to 23.1 AB), signal-to-noise 10 to 100 in the noise as it is correlated.
    """
    rng = np.random.default_rng(seed)
    listed = Table.read(LIST, format="ascii.ecsv")
    rows: list[dict[str, float]] = []
    while len(rows) < COUNT:
        x, y = rng.uniform(25, 394, 2)
        away = np.hypot(x - listed["x"], y - listed["y"]) * SCALES["F150W"]
        if np.any(away < 1.0) or away[0] < RING or any(np.hypot(x - r["x"], y - r["y"]) < 30 for r in rows):
            continue
        red = 10 ** rng.normal(0.0, 0.15, 4) * np.array([0.8, 1.0, 1.3, 1.5])
        flux = 10 ** rng.uniform(2.3, 3.3) * red
        rows.append(
            {"x": x, "y": y, "radius": 10 ** rng.uniform(-1.2, -0.6), "index": rng.uniform(0.6, 3.0)}
            | {"g1": rng.normal(0, 0.15), "g2": rng.normal(0, 0.15)}
            | {f"flux_{band}": float(f) for band, f in zip(SCALES, flux, strict=True)}
        )
    return Table(rows=rows)


def draw(truth: Table, band: str, shape: tuple[int, int], scale: float, psf: np.ndarray) -> np.ndarray:
    """(H, W) nJy per pixel, as misaligned as the field's own galaxies are.

    The grids share their centres: long-wave pixel j lies on short-wave pixel 2 j + 1. East is towards lower columns.
    """
    image = galsim.ImageD(shape[1], shape[0], scale=scale, xmin=0, ymin=0)
    kernel = galsim.InterpolatedImage(galsim.ImageD(psf / psf.sum(), scale=scale), x_interpolant="lanczos15", flux=1.0)
    for row in truth:
        x, y = (row["x"], row["y"]) if scale == 0.03 else ((row["x"] - 1) / 2, (row["y"] - 1) / 2)
        x, y = x - SHIFTS[band][0] / scale, y + SHIFTS[band][1] / scale
        galaxy = galsim.Sersic(row["index"], half_light_radius=row["radius"], flux=row[f"flux_{band}"])
        seen = galsim.Convolve(galaxy.shear(g1=row["g1"], g2=row["g2"]), kernel)
        seen.drawImage(image=image, method="no_pixel", center=galsim.PositionD(x, y), add_to_image=True)
    return image.array


def compare(truth: Table, catalog: Any) -> dict[str, Any]:
    """Flux ratios and pulls of the recovered galaxies."""
    distance = (
        np.hypot(
            truth["x"][:, None] - np.asarray(catalog["x"])[None, :],
            truth["y"][:, None] - np.asarray(catalog["y"])[None, :],
        )
        * 0.03
    )
    nearest = np.argmin(distance, axis=1)
    found = distance[np.arange(len(truth)), nearest] < MATCH
    report: dict[str, Any] = {"injected": len(truth), "found": int(found.sum()), "bands": {}}
    for band in SCALES:
        true = np.asarray(truth[f"flux_{band}"])[found]
        flux = np.asarray(catalog[f"flux_{band}"].to_value("nJy"))[nearest[found]]
        error = np.asarray(catalog[f"flux_error_{band}"].to_value("nJy"))[nearest[found]]
        pull = (flux - true) / error
        report["bands"][band] = {
            "median_bias": float(np.median(flux / true - 1)),
            "median_pull": float(np.median(pull)),
            "pull_scatter": float(1.4826 * np.median(np.abs(pull - np.median(pull)))),
            "ratios": np.round(flux / true, 3).tolist(),
            "pulls": np.round(pull, 2).tolist(),
        }
    return report


if __name__ == "__main__":
    sys.exit(main())
