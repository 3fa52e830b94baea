"""Blends taken apart by scarlet2, set up as its guide does it: what `benchmarks/priors/deblend.py` puts in its table.

usage: python scarlet2_deblend.py --blends FOLDER --to FOLDER --out report.json [--box 33] [--image-step 0.1]

Every npz file of the first folder holds `images` and `variance` (band, y, x), `psfs` (band, py, px) and `peaks`
(source, 2), pixels (y, x). A file of the same name in the second gets `shapes` (source, y, x), unit-flux images
through the model's PSF over the whole frame, `fluxes` (source, band), `chi2`, `steps` and `seconds`. What is there is
kept; run again to go on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from measuring import installed_versions, machine, use_plain_cpu, write_report

use_plain_cpu()

import numpyro  # noqa: E402
import scarlet2 as sc2  # noqa: E402
import scarlet2_scene as peer  # noqa: E402
from blends import Blend, chi_square_per_point  # noqa: E402
from scarlet2_fit import Choices  # noqa: E402

MODEL_SIGMA = (0.7**2 - 1 / 12) ** 0.5
"""Of the model's PSF, in pixels. scarlet2 integrates it over pixels, which makes it as wide as ours."""


def read(path: Path) -> Blend:
    """The blend in a file."""
    with np.load(path) as file:
        arrays = {name: file[name].astype(float) for name in ("images", "variance", "psfs", "peaks")}
    bands = tuple(str(band) for band in range(len(arrays["images"])))
    return Blend(path.stem, bands, is_star=np.zeros(len(arrays["peaks"]), dtype=bool), **arrays)


def take_apart(blend: Blend, choices: Choices) -> dict[str, np.ndarray]:
    """What the file of a blend gets."""
    begin = time.perf_counter()
    observation, frame = peer.observe(blend, sc2.GaussianPSF(MODEL_SIGMA))
    scene = peer.start_from_data(observation, frame, blend, choices.box)
    peer.free_parameters(scene, choices.image_step or peer.MORPHOLOGY_STEP)
    with peer.StepLog() as log:
        fitted = scene.fit(observation, max_iter=choices.iterations, e_rel=choices.tolerance, progress_bar=False)
    seconds = time.perf_counter() - begin
    sources = np.stack([np.asarray(fitted.evaluate_source(source), float) for source in fitted.sources])
    light = sources.sum(axis=1)
    return {
        "shapes": light / light.sum(axis=(1, 2), keepdims=True),
        "fluxes": sources.sum(axis=(2, 3)),
        "chi2": np.asarray(chi_square_per_point(blend, np.asarray(observation.render(fitted())))),
        "steps": np.asarray(len(log.losses)),
        "seconds": np.asarray(seconds),
    }


def main() -> None:
    """Take apart what is missing, and report how many that were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blends", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--box", type=int, help="odd width of the boxes (default: the helper's choice)")
    parser.add_argument("--image-step", type=float, help="constant step of image pixels, e.g. 0.1")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    choices = Choices(box=options.box, image_step=options.image_step)
    numpyro.enable_validation(False)
    sc2.set_validation(False)
    begun = {"script": "scarlet2_deblend", "machine": machine(), "versions": installed_versions()}
    options.to.mkdir(parents=True, exist_ok=True)
    missing = [path for path in sorted(options.blends.glob("*.npz")) if not (options.to / path.name).exists()]
    for path in missing:
        unfinished = options.to / f"{path.stem}.part"
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **take_apart(read(path), choices))
        unfinished.replace(options.to / path.name)
    write_report(options.out, {**begun, "status": "ok", "blends": len(missing)})


if __name__ == "__main__":
    main()
