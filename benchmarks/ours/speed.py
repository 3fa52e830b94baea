"""Time and memory of our optimiser steps on a simulated blend of many sources: the scene of `scarlet2_speed.py`.

usage: python speed.py --kind free|sersic --n 64 --out result.json [--oversampling 2] [--canvas 256] [--refit]

Run it with the project's Python, one scene a process: peak memory and first compilation belong to the process. What is
measured is `ss.fit` itself, which takes its steps in chunks on the device. In the report

- `first_step` is the time from the start of building to the result of the first *chunk* (all of its steps), and
  `first_single_step` is the same less all steps but one: what scarlet2 is compared with in its own terms;
- `step` is the time of a chunk over its number of steps, `loop_step` adds the host's work between chunks;
- `--chunk 1` measures a fit whose chunks are single steps, instead of taking steps away;
- `oversampling` 1 is like for like with scarlet2; 2 is what the accuracy tests need for NIRCam's short channel.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from common import (
    IMPORT_MEMORY_MB,
    IMPORT_SECONDS,
    NEVER_CONVERGED,
    OUR_PACKAGES,
    ChunkLog,
    CompileLog,
    observe,
    optimize,
    per_step,
    simulated_sources,
    ss,
)

from blends import BANDS, STAMP, SimulatedBlend, default_canvas, simulated_blend  # isort: skip
from measuring import installed_versions, machine, peak_memory_mb, spread, write_report  # isort: skip


def build(kind: str, blend: SimulatedBlend, oversampling: int) -> tuple[ss.Scene, ss.Observation]:
    """Observation, frame and scene: all that comes before `fit`."""
    observation, frame = observe(blend, pixel_scale=1.0, oversampling=oversampling)
    return ss.Scene(simulated_sources(kind, blend, observation, frame), frame), observation


def fit(scene: ss.Scene, observation: ss.Observation, chunks: int) -> tuple[ss.FitResult, ChunkLog]:
    """So many chunks of steps, whatever they gain."""
    with ChunkLog() as log:
        result = ss.fit(
            scene,
            observation,
            steps=chunks * optimize.CHUNK,
            tolerance=NEVER_CONVERGED,
            uncertainties=False,
            progress=False,
        )
    return result, log


def measure(options: argparse.Namespace, canvas: int) -> dict[str, Any]:
    """Build a scene, run one chunk of steps and then some more, and say what each cost."""
    blend = simulated_blend(options.n, canvas)
    data_memory = peak_memory_mb()
    compiled = CompileLog()
    begin = time.perf_counter()
    scene, observation = build(options.kind, blend, options.oversampling)
    built = time.perf_counter()
    result, log = fit(scene, observation, 1 + options.chunks)
    program = result.posterior.program
    if len(log.seconds) < 2:
        return {"status": "failed", "failed": f"the fit stopped in its first chunk: {result.status.name}"}
    steps = per_step(log.seconds[1:])
    first_step = log.end[0] - begin
    seconds = {
        "import": IMPORT_SECONDS,
        "build": built - begin,
        "program": result.timing.build,
        "scales": log.begin[0] - built - result.timing.build,
        "first_step": first_step,
        "first_single_step": first_step - (optimize.CHUNK - 1) * spread(steps)["median"],
        "first_step_call": log.seconds[0],
        "step": spread(steps),
        "step_processor": spread(per_step(log.processor[1:])),
        "loop_step": spread(per_step(log.loop_seconds)),
    }
    report = {
        "status_of_fit": result.status.name,
        "seconds": seconds,
        "compile": compiled.report() | {"programs_of_the_fit": result.timing.compilations},
        "memory_mb": {
            "after_import": IMPORT_MEMORY_MB,
            "after_data": data_memory,
            "peak_of_steps": log.memory_mb[-1],
            "peak": peak_memory_mb(),
        },
        "loss": {"first": float(result.loss[0]), "last": float(result.loss[-1])},
        "free_numbers": sum(int(v.size) // v.shape[0] * _valid(f) for v, f in zip(result.values, program.families)),  # noqa: B905
        "frame": list(scene.frame.shape),
        "fourier_canvas": list(program.observations[0].operator.canvas_shape),
        "boxes": sorted({group.box for group in program.groups}),
    }
    if options.refit:
        report["refit"] = refit(options, canvas, compiled)
        report["memory_mb"]["peak_with_refit"] = peak_memory_mb()
    return report


def _valid(family: Any) -> int:
    return int(family.valid.sum())


def refit(options: argparse.Namespace, canvas: int, compiled: CompileLog) -> dict[str, float]:
    """Another scene of the same shapes in this process: what is compiled again, and how long it takes."""
    before = compiled.count
    begin = time.perf_counter()
    scene, observation = build(options.kind, simulated_blend(options.n, canvas, seed=1), options.oversampling)
    result, log = fit(scene, observation, 1)
    return {
        "first_step": log.end[0] - begin,
        "first_step_call": log.seconds[0],
        "programs_of_the_fit": result.timing.compilations,
        "compilations": compiled.count - before,
    }


def main() -> None:
    """Parse the command line, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("free", "sersic"), required=True)
    parser.add_argument("--n", type=int, required=True, help="number of sources")
    parser.add_argument("--canvas", type=int, help="width in pixels (default: 128, or 256 above 16 sources)")
    parser.add_argument("--oversampling", type=int, default=1, help="model pixels per pixel (default: 1)")
    parser.add_argument("--chunks", type=int, default=3, help="chunks of steps after the first (default: 3)")
    parser.add_argument("--chunk", type=int, help="steps a chunk (default: the library's)")
    parser.add_argument("--refit", action="store_true", help="also fit a second scene of the same shapes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    if options.chunk is not None:
        optimize.CHUNK = options.chunk
    canvas = options.canvas or default_canvas(options.n)
    report = {
        "script": "speed",
        "status": "ok",
        "scene": {
            "kind": options.kind,
            "sources": options.n,
            "bands": BANDS,
            "canvas": canvas,
            "stamp": STAMP,
            "seed": 0,
            "oversampling": options.oversampling,
            "steps_per_chunk": optimize.CHUNK,
        },
        "machine": machine(),
        "versions": installed_versions(OUR_PACKAGES),
    }
    write_report(options.out, report | measure(options, canvas))


if __name__ == "__main__":
    main()
