"""Our fits of the two well-known blends that `scarlet2_fit.py` fits: time, chi-square, error.

usage: python fit.py --data hsc|unmatched --model pixels|sersic|auto|... --out result.json [--shared FOLDER]

Sources are started at the same peaks, known stars as points, all others as `--model` says (a class of
`scarlet_sed.start`; `auto` chooses one for each). FOLDER holds `data/hsc_hst/`; it defaults to $SCARLET_SED_SHARED,
else to `../shared` from the repository. Where the data are missing the report says so and the exit status is 0. Beside
result.json lies result.npz with the fitted images (and the truth, where there is one).

Seconds count from the start of building, as the peer's do, and include every compilation. The library keeps its best
iterate and hands it out after each chunk of steps, so that the trajectory has one point a chunk.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import (
    IMPORT_SECONDS,
    OUR_PACKAGES,
    ChunkLog,
    CompileLog,
    jax,
    np,
    observe,
    per_step,
    positions,
    ss,
)
from numpy.typing import NDArray

from scarlet_sed.errors import ConfigError
from scarlet_sed.start import Detections, choose_models, initial_scene, initialize
from scarlet_sed.start.combine import combine
from scarlet_sed.start.detect import _measured
from scarlet_sed.start.initialize import make_source, seed_of
from scarlet_sed.start.models import light_of, positive_flux_prior

from blends import Blend, against_truth, chi_square_per_point, hsc_blend, unmatched_blend  # isort: skip
from measuring import (  # isort: skip
    installed_versions,
    machine,
    peak_memory_mb,
    shared_folder,
    spread,
    write_report,
)

READERS = {"hsc": hsc_blend, "unmatched": unmatched_blend}
PIXEL_SCALES = {"hsc": 0.168, "unmatched": 0.2}
LEVELS = (10.0, 5.0, 3.0, 2.0, 1.5, 1.3158, 1.2, 1.1, 1.05, 1.0, 0.9538, 0.95, 0.9454, 0.9)
Images = NDArray[np.floating]


def at_peaks(observation: ss.Observation, frame: ss.Frame, peaks: Images) -> tuple[Detections, list[int]]:
    """What our detection measures of sources at given peaks (y, x), and which peak each of them is."""
    combined = combine([observation], frame)
    pixels = peaks[:, ::-1] - np.array(combined.corner)
    columns, rows = np.round(pixels).astype(int).T
    heights = combined.snr[rows, columns]
    found = _measured(combined, list(zip(columns.tolist(), rows.tolist(), heights.tolist(), strict=True)))
    order = np.argsort(-heights, kind="stable").tolist()  # detections come the most significant first
    return replace(found, position=positions(observation, frame, peaks[order])), order


def build(blend: Blend, data: str, model: str, box: int | None) -> tuple[ss.Scene, ss.Observation, list[int]]:
    """Scene and observation of a blend, and which peak each source is."""
    observation, frame = observe(blend, PIXEL_SCALES[data])
    found, order = at_peaks(observation, frame, blend.peaks)
    stars = {name: "point" for name, peak in zip(found.names, order, strict=True) if blend.is_star[peak]}
    if model == "auto":
        choice = choose_models(observation, frame, found, stars)
        return choice.scene, choice.observations[0], order
    if box is None:
        return initial_scene(observation, frame, found, model, stars), observation, order
    sources = {
        name: make_source(found, index, "point", observation.bands, frame)
        if name in stars
        else source_in_box(found, index, model, observation, box)
        for index, name in enumerate(found.names)
    }
    return initialize(ss.Scene(sources, frame), observation), observation, order


def source_in_box(found: Detections, index: int, model: str, observation: ss.Observation, box: int) -> ss.Source:
    """A source in a box (and, if it is a free image, on a lattice) so many pixels wide, whatever its size."""
    seed = seed_of(found, index)
    if seed.picture is not None:
        seed = seed._replace(picture=resized(seed.picture, box))
    position = make_source(found, index, model, observation.bands, found.frame).position
    light = light_of(model, seed, observation.bands)
    if isinstance(light, ss.Component):  # like the peer's: fluxes that are positive
        light = ss.FreeSpectrum(positive_flux_prior(seed, observation.bands), observation.bands) * light.morphology
    return ss.Source(position, light, box=box * observation.grid.pixel_scale)


def resized(picture: Images, size: int) -> Images:
    """The middle of an odd square picture, or the picture with zeros around it."""
    missing = (size - picture.shape[0]) // 2
    return np.pad(picture, missing) if missing >= 0 else picture[-missing:missing, -missing:missing]


def chi_squares(blend: Blend, result: ss.FitResult, iterates: list[Any]) -> list[float]:
    """Chi-square per point of the start and of iterates in unconstrained numbers."""
    posterior = result.posterior
    values = [posterior.start, *(posterior.constrain(iterate) for iterate in iterates)]
    return [chi_square_per_point(blend, np.asarray(posterior.images(v)[blend.name])) for v in values]


def times_to_reach(trajectory: list[dict[str, float]]) -> dict[str, float | None]:
    """Seconds from the start of building until chi-square per point was first at or below each level."""
    reached: dict[str, float | None] = {}
    for level in LEVELS:
        reached[str(level)] = next((p["seconds"] for p in trajectory if p["chi2"] <= level), None)
    return reached


def fit(blend: Blend, options: argparse.Namespace) -> tuple[dict[str, Any], Images]:
    """Build and fit a blend; the report and the fitted source images in the order of the peaks."""
    compiled = CompileLog()
    begin = time.perf_counter()
    scene, observation, order = build(blend, options.data, options.model, options.box)
    built = time.perf_counter()
    with ChunkLog() as log:
        result = ss.fit(scene, observation, steps=options.iterations, uncertainties=False, progress=False)
    ended = time.perf_counter()
    compilations = compiled.report()

    memory = peak_memory_mb()
    images = source_images(result, blend, order)
    moments = [built, *log.end]
    values = chi_squares(blend, result, log.best)
    trajectory = [{"seconds": m - begin, "chi2": v} for m, v in zip(moments, values, strict=True)]
    final = chi_square_per_point(blend, images.sum(axis=0))
    report = {
        "seconds": {
            "import": IMPORT_SECONDS,
            "build": built - begin,
            "program": result.timing.build,
            "scales": log.begin[0] - built - result.timing.build,
            "first_step": log.end[0] - begin,
            "first_step_call": log.seconds[0],
            "step": spread(per_step(log.seconds[1:] or log.seconds)),
            "loop_step": spread(per_step(log.loop_seconds or log.seconds)),
            "total": ended - begin,
        },
        "compile": compilations | {"programs_of_the_fit": result.timing.compilations},
        "iterations": result.steps,
        "converged": result.status.success,
        "status_of_fit": result.status.name,
        "chi2": {"start": values[0], "final": final, "lowest": min([*values, final])},
        "seconds_to_chi2": times_to_reach(trajectory),
        "trajectory": trajectory,
        "sources": [type(c.morphology).__name__ for _, _, c in scene.components()],
        "boxes": [list(box.shape) for box in scene.boxes()],
        "frame": {"shape": list(scene.frame.shape), "oversampling": scene.frame.oversampling},
        "free_numbers": sum(int(np.size(v)) for v in result.posterior.unpack(result.values).values()),
        "memory_mb": {"peak": memory},
    }
    return report, images


def source_images(result: ss.FitResult, blend: Blend, order: list[int]) -> Images:
    """(source, band, y, x) fitted light of each peak, as observed."""
    models = [by_observation[blend.name] for by_observation in result.source_models().values()]
    images = np.zeros((len(order), *blend.images.shape))
    images[order] = np.stack(models)
    return images


def write_images(path: Path, blend: Blend, images: Images) -> None:
    """Fitted source images with all that they are to be compared with, shapes as in `Blend`."""
    arrays = {"models": images, "images": blend.images, "variance": blend.variance, "peaks": blend.peaks}
    if blend.truth is not None:
        arrays["truth"] = blend.truth
    np.savez_compressed(path, **{name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()})


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The report of one fit, or why there is none."""
    try:
        blend = READERS[options.data](shared_folder(options.shared) / "data" / "hsc_hst")
    except FileNotFoundError as missing:
        reason = f"no data at {missing.filename}: give their folder with --shared or SCARLET_SED_SHARED"
        return {"status": "skipped", "skipped": reason}
    try:
        measured, images = fit(blend, options)
    except ConfigError as error:
        return {"status": "skipped", "skipped": f"the model {options.model!r}: {error}"}
    if blend.truth is not None:
        measured["chi2"]["truth"] = chi_square_per_point(blend, blend.truth.sum(axis=0))
        measured["against_truth"] = against_truth(images, blend.truth)
    path = options.out.with_suffix(".npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_images(path, blend, images)
    found = {"status": "ok", "bands": list(blend.bands), "points": int(blend.images.size), "images_file": path.name}
    return found | measured


def main() -> None:
    """Parse the command line, fit, write the report and the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=tuple(READERS), required=True)
    parser.add_argument("--model", default="pixels", help="class of sources that are no stars (default: pixels)")
    parser.add_argument("--box", type=int, help="odd width of the boxes of sources that are no stars, in pixels")
    parser.add_argument("--shared", type=Path, help="folder that holds data/ (see above)")
    parser.add_argument("--iterations", type=int, default=1000, help="at most (default: 1000)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    report = {
        "script": "fit",
        "data": options.data,
        "options": {"model": options.model, "box": options.box, "iterations": options.iterations},
        "machine": machine(),
        "versions": installed_versions(OUR_PACKAGES),
        "device": jax.devices()[0].platform,
    }
    write_report(options.out, report | run(options))


if __name__ == "__main__":
    main()
