"""Time and memory of scarlet2's optimiser steps on a simulated blend of many sources.

usage: python scarlet2_speed.py --kind free|sersic --n 64 --out result.json

Run it with the peers' Python, one scene a process: peak memory and first compilation belong to the process.
What is measured is `Scene.fit` itself. Automatic validation is off, which favours scarlet2.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from measuring import installed_versions, machine, peak_memory_mb, spread, use_plain_cpu, write_report

use_plain_cpu()
_import_begin = time.perf_counter()

import numpyro  # noqa: E402
import scarlet2 as sc2  # noqa: E402
import scarlet2_scene as peer  # noqa: E402
from blends import BANDS, STAMP, SimulatedBlend, default_canvas, simulated_blend  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _import_begin
IMPORT_MEMORY_MB = peak_memory_mb()


def build(kind: str, blend: SimulatedBlend) -> tuple[sc2.Scene, sc2.Observation]:
    """Observation, frame, scene and free parameters: all that comes before `fit`."""
    observation, frame = peer.observe(blend)
    if kind == "free":
        scene = peer.free_scene(frame, blend)
        peer.free_parameters(scene)
    else:
        scene = peer.sersic_scene(frame, blend)
        peer.sersic_parameters(scene)
    return scene, observation


def measure(kind: str, sources: int, canvas: int, steps: int, refit: bool) -> dict[str, Any]:
    """Build a scene, take one step and then `steps` more, and say what each cost."""
    blend = simulated_blend(sources, canvas)
    data_memory = peak_memory_mb()
    begin = time.perf_counter()
    scene, observation = build(kind, blend)
    built = time.perf_counter()
    with peer.StepLog() as log:
        scene.fit(observation, max_iter=1 + steps, e_rel=0.0, progress_bar=False)
    report = {
        "seconds": {
            "import": IMPORT_SECONDS,
            "build": built - begin,
            "first_step": log.end[0] - begin,
            "first_step_call": log.step_seconds[0],
            "step": spread(log.step_seconds[1:]),
            "loop_step": spread(log.loop_seconds),
        },
        "memory_mb": {
            "after_import": IMPORT_MEMORY_MB,
            "after_data": data_memory,
            "peak": peak_memory_mb(),
        },
        "loss": {"first": log.losses[0], "last": log.losses[-1]},
        "free_numbers": int(sum(value.size for value in scene.get().values())),
        "renderer": peer.renderer_names(observation),
    }
    if refit:
        report["seconds"]["refit_first_step_call"] = first_step_of_new_fit(kind, sources, canvas)
        report["memory_mb"]["peak_with_refit"] = peak_memory_mb()
    return report


def first_step_of_new_fit(kind: str, sources: int, canvas: int) -> float:
    """First step of a second fit in this process, on another scene of the same shapes: compiled again?"""
    scene, observation = build(kind, simulated_blend(sources, canvas, seed=1))
    with peer.StepLog() as log:
        scene.fit(observation, max_iter=1, e_rel=0.0, progress_bar=False)
    return log.step_seconds[0]


def main() -> None:
    """Parse the command line, measure, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kind", choices=("free", "sersic"), required=True)
    parser.add_argument("--n", type=int, required=True, help="number of sources")
    parser.add_argument("--canvas", type=int, help="width in pixels (default: 128, or 256 above 16 sources)")
    parser.add_argument("--steps", type=int, default=10, help="steps after the first (default: 10)")
    parser.add_argument("--refit", action="store_true", help="also time a second fit of the same shapes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    numpyro.enable_validation(False)
    sc2.set_validation(False)
    canvas = options.canvas or default_canvas(options.n)
    report = {
        "script": "scarlet2_speed",
        "status": "ok",
        "scene": {
            "kind": options.kind,
            "sources": options.n,
            "bands": BANDS,
            "canvas": canvas,
            "stamp": STAMP,
            "seed": 0,
        },
        "machine": machine(),
        "versions": installed_versions(),
    }
    write_report(options.out, report | measure(options.kind, options.n, canvas, options.steps, options.refit))


if __name__ == "__main__":
    main()
