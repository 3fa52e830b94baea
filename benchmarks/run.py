"""Our own timings and accuracies (`make bench`): tables on the screen, numbers in `benchmarks/results/bench.json`.

usage: python benchmarks/run.py [--quick] [--shared FOLDER] [--only 'speed/*']

Steps and compilation of simulated blends, where a step goes, the cost of resampling, and the worst errors of Sersic
images in float64. Each part runs in a fresh process. What lacks its data is skipped with a message.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import time
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCHMARKS / "ours"))

from jobs import RESULTS, Job, Report, highest_load, ours, run_all, write_json  # noqa: E402
from table import number, plain  # noqa: E402

TIMEOUT = 900.0
PEAK_LIMITS = {"below 4": 1e-3, "from 4": 2e-3}


def jobs(quick: bool, shared: Path | None) -> list[Job]:
    """All parts of the benchmark."""
    folder = ("--shared", shared.resolve()) if shared else ()
    counts = (16,) if quick else (16, 128)
    found = []
    for kind in ("free", "sersic"):
        for n in counts:
            for oversampling in (1, 2):
                scene = ("--kind", kind, "--n", n, "--oversampling", oversampling)
                found.append(ours(f"speed/{kind}{n}x{oversampling}", "speed", *scene, "--refit"))
        found.append(ours(f"parts/{kind}{counts[-1]}", "parts", "--kind", kind, "--n", counts[-1]))
    found.append(ours("resample", "resample", *(("--sizes", 64) if quick else ())))
    found.append(ours("golden", "golden", *(("--indices", 1.0, 4.0) if quick else ()), *folder))
    return found


def speed_table(reports: dict[str, Report]) -> str:
    """One line for each scene."""
    headings = ("scene", "build s", "chunk 1 s", "compile s", "programs", "step ms", "peak MB", "again s", "programs")
    rows = []
    for name, report in reports.items():
        if "speed/" not in name:
            continue
        seconds, compiled, again = report["seconds"], report["compile"], report["refit"]
        rows.append(
            [
                name.removeprefix("ours/speed/"),
                number(seconds["build"]),
                number(seconds["first_step"]),
                number(compiled["lowering"] + compiled["backend"]),
                str(compiled["count"]),
                number(1e3 * seconds["loop_step"]["median"]),
                f"{report['memory_mb']['peak']:.0f}",
                number(again["first_step"]),
                str(again["compilations"]),
            ]
        )
    return plain(headings, rows)


def parts_table(reports: dict[str, Report]) -> str:
    """Milliseconds of each part, forward and with its gradient."""
    rows = []
    for name, report in reports.items():
        if "parts/" in name:
            for part, seconds in report["seconds"].items():
                both = [number(1e3 * seconds[pass_]["median"]) for pass_ in ("forward", "gradient")]
                rows.append([name.removeprefix("ours/parts/"), part, *both])
    return plain(("scene", "part", "forward ms", "with gradient ms"), rows)


def resample_table(report: Report) -> str:
    """Cost in convolutions and flux error, by size."""
    rows = []
    for size, operators in report["sizes"].items():
        for operator, measured in operators.items():
            cost, milliseconds = measured["cost_in_convolutions"], 1e3 * measured["call_seconds"]["median"]
            rows.append([size, operator, number(milliseconds), number(cost), f"{measured['point_flux_error']:.1e}"])
    return plain(("size", "operator", "ms", "in convolutions (<= 4)", "flux error of a point"), rows)


def golden_table(report: Report) -> str:
    """Worst errors by Sersic index."""
    rows = []
    for index, errors in report["errors"].items():
        limit = PEAK_LIMITS["from 4" if float(index) >= 4 else "below 4"]
        rows.append([index, *(f"{errors[name]:.1e}" for name in ("peak", "flux", "centroid")), f"{limit:g}"])
    return plain(("index", "of the peak", "of the flux", "centroid px", "limit (peak)"), rows)


def tables(reports: dict[str, Report]) -> str:
    """All tables that there are numbers for."""
    parts = []
    if any("speed/" in name for name in reports):
        parts.append(speed_table(reports))
    if any("parts/" in name for name in reports):
        parts.append(parts_table(reports))
    if "ours/resample" in reports:
        parts.append(resample_table(reports["ours/resample"]))
    if "ours/golden" in reports:
        parts.append(golden_table(reports["ours/golden"]))
    return "\n\n".join(parts)


def main() -> None:
    """Run every part and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small scenes only")
    parser.add_argument("--shared", type=Path, help="folder that holds data/ (default: see measuring.py)")
    parser.add_argument("--only", default="*", help="pattern of parts, e.g. 'speed/free*'")
    parser.add_argument("--out", type=Path, default=RESULTS / "bench.json")
    options = parser.parse_args()

    chosen = [j for j in jobs(options.quick, options.shared) if fnmatch.fnmatch(j.name, f"ours/{options.only}")]
    runs = {name: reports[0] for name, reports in run_all(chosen, 1, TIMEOUT).items()}
    load = highest_load(runs.values())
    session = {"date": time.strftime("%Y-%m-%d"), "cpus": os.cpu_count(), "highest_load_1min": load}
    write_json(options.out, {**session, "runs": runs})
    print(f"\n{session['date']}, {session['cpus']} CPUs, highest load {load}\n")
    print(tables({name: report for name, report in runs.items() if report["status"] == "ok"}))


if __name__ == "__main__":
    main()
