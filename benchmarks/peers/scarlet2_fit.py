"""Fits of two well-known blends by scarlet2, set up as its guide does it: time, chi-square, error.

usage: python scarlet2_fit.py --data hsc|unmatched --out result.json [--shared FOLDER]

`hsc` is the HSC COSMOS blend of the scarlet guides (real sky, no truth); `unmatched` is a simulated ugrizy
blend whose source images are known. FOLDER holds `data/hsc_hst/`; it defaults to $SCARLET_SED_SHARED, else to
`../shared` from the repository. Where the data are missing the report says so and the exit status is 0.
Beside result.json lies result.npz with the fitted images (and the truth, where there is one).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import (
    installed_versions,
    machine,
    peak_memory_mb,
    shared_folder,
    spread,
    use_plain_cpu,
    write_report,
)

use_plain_cpu()
_import_begin = time.perf_counter()

import numpyro  # noqa: E402
import scarlet2 as sc2  # noqa: E402
import scarlet2_scene as peer  # noqa: E402
from blends import (  # noqa: E402
    Array,
    Blend,
    against_truth,
    chi_square_per_point,
    hsc_blend,
    unmatched_blend,
)

IMPORT_SECONDS = time.perf_counter() - _import_begin
READERS = {"hsc": hsc_blend, "unmatched": unmatched_blend}
LEVELS = (10.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.05, 1.0, 0.95, 0.9)


def source_images(scene: sc2.Scene, observation: sc2.Observation) -> Array:
    """Every source as the observation sees it (through the PSF), shape (source, band, y, x)."""
    images = [observation.render(scene.evaluate_source(source)) for source in scene.sources]
    return np.stack([np.asarray(image) for image in images])


def chi_squares(losses: list[float], points: int) -> list[float]:
    """Chi-square per point from scarlet2's losses, which add half a log(2 pi) a point and, here, no prior."""
    return [2 * loss / points - float(np.log(2 * np.pi)) for loss in losses]


def times_to_reach(trajectory: list[dict[str, float]]) -> dict[str, float | None]:
    """Seconds from the start of building until chi-square per point was first at or below each level."""
    reached: dict[str, float | None] = {}
    for level in LEVELS:
        seconds = (point["seconds"] for point in trajectory if point["chi2"] <= level)
        reached[str(level)] = next(seconds, None)
    return reached


@dataclass(frozen=True)
class Choices:
    """How to fit; the defaults are the guide's own.

    Attributes:
        iterations, tolerance: `max_iter` and `e_rel` of `scarlet2.fit`.
        image_step: a constant step for image pixels (later guides: 0.1), or None for 1e-3 of their norm.
        box: width of the boxes of the sources that are not stars, or None for what scarlet2's helper chooses.
        stars_known: whether known stars are point sources, or free images like the rest.
    """

    iterations: int = 1000
    tolerance: float = 1e-4
    image_step: float | None = None
    box: int | None = None
    stars_known: bool = True


def fit(blend: Blend, choices: Choices) -> tuple[dict[str, Any], Array]:
    """Build and fit a blend; the report and the fitted source images."""
    begin = time.perf_counter()
    observation, frame = peer.observe(blend)
    scene = peer.start_from_data(observation, frame, blend, choices.box)
    peer.free_parameters(scene, choices.image_step or peer.MORPHOLOGY_STEP)
    built = time.perf_counter()
    with peer.StepLog() as log:
        fitted = scene.fit(
            observation,
            max_iter=choices.iterations,
            e_rel=choices.tolerance,
            progress_bar=False,
        )
    ended = time.perf_counter()

    images = source_images(fitted, observation)
    values = chi_squares(log.losses, int(observation.N))
    # A step reports the loss of the values it was given, so its time is the end of the step before.
    moments = [built, *log.end[:-1]]
    final = chi_square_per_point(blend, images.sum(axis=0))
    readings = zip([*moments, log.end[-1]], [*values, final], strict=True)
    trajectory = [{"seconds": moment - begin, "chi2": value} for moment, value in readings]
    report = {
        "seconds": {
            "import": IMPORT_SECONDS,
            "build": built - begin,
            "first_step": log.end[0] - begin,
            "first_step_call": log.step_seconds[0],
            "step": spread(log.step_seconds[1:]),
            "loop_step": spread(log.loop_seconds),
            "total": ended - begin,
        },
        "iterations": len(log.losses),
        "converged": len(log.losses) < choices.iterations,
        "chi2": {"start": values[0], "final": final, "lowest": min([*values, final])},
        "seconds_to_chi2": times_to_reach(trajectory),
        "trajectory": trajectory,
        "boxes": [list(source.bbox.shape) for source in fitted.sources],
        "sources": [type(source).__name__ for source in fitted.sources],
        "model_flux": [np.asarray(sc2.measure.flux(source)).tolist() for source in fitted.sources],
        "renderer": peer.renderer_names(observation),
        "free_numbers": int(sum(value.size for value in scene.get().values())),
        "memory_mb": {"peak": peak_memory_mb()},
    }
    return report, images


def write_images(path: Path, blend: Blend, images: Array) -> None:
    """Fitted source images with all that they are to be compared with, shapes as in `Blend`."""
    arrays = {"models": images, "images": blend.images, "variance": blend.variance, "peaks": blend.peaks}
    if blend.truth is not None:
        arrays["truth"] = blend.truth
    np.savez_compressed(path, **{name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()})


def main() -> None:
    """Parse the command line, fit, write the report and the images."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", choices=tuple(READERS), required=True)
    parser.add_argument("--shared", type=Path, help="folder that holds data/ (see above)")
    parser.add_argument("--iterations", type=int, default=Choices.iterations, help="at most (default: 1000)")
    parser.add_argument("--tolerance", type=float, default=Choices.tolerance, help="to stop (default: 1e-4)")
    parser.add_argument("--image-step", type=float, help="constant step of image pixels, e.g. 0.1")
    parser.add_argument("--box", type=int, help="odd width of the boxes (default: the helper's choice)")
    parser.add_argument("--no-stars", action="store_true", help="treat known stars as free images too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    choices = Choices(
        iterations=options.iterations,
        tolerance=options.tolerance,
        image_step=options.image_step,
        box=options.box,
        stars_known=not options.no_stars,
    )
    numpyro.enable_validation(False)
    sc2.set_validation(False)
    report: dict[str, Any] = {
        "script": "scarlet2_fit",
        "data": options.data,
        "options": asdict(choices),
        "machine": machine(),
        "versions": installed_versions(),
    }
    folder = shared_folder(options.shared) / "data" / "hsc_hst"
    try:
        blend = READERS[options.data](folder)
    except FileNotFoundError as missing:
        reason = f"no data at {missing.filename}: give their folder with --shared or SCARLET_SED_SHARED"
        write_report(options.out, report | {"status": "skipped", "skipped": reason})
        return
    if not choices.stars_known:
        blend = replace(blend, is_star=np.zeros_like(blend.is_star))
    measured, images = fit(blend, choices)
    if blend.truth is not None:
        measured["chi2"]["truth"] = chi_square_per_point(blend, blend.truth.sum(axis=0))
        measured["against_truth"] = against_truth(images, blend.truth)
    report |= {"status": "ok", "bands": list(blend.bands), "points": int(blend.images.size)} | measured
    write_images(options.out.with_suffix(".npz"), blend, images)
    report["images_file"] = options.out.with_suffix(".npz").name
    write_report(options.out, report)


if __name__ == "__main__":
    main()
