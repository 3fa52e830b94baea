"""What every peer script needs to measure and to report: clocks, memory, versions, JSON."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("scarlet2", "jax", "jaxlib", "equinox", "optax", "numpyro", "numpy")


def use_plain_cpu() -> None:
    """Choose the CPU backend and no persistent compilation cache, unless the caller chose otherwise.

    Call it before jax is imported. A cache left over from another run would hide the compilation that
    these scripts are there to measure, so it is switched off whatever the caller's environment says.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)


def shared_folder(given: Path | None) -> Path:
    """Folder that holds `data/`: the argument, else $SCARLET_SED_SHARED, else `../shared`."""
    if given is not None:
        return given
    from_environment = os.environ.get("SCARLET_SED_SHARED")
    return Path(from_environment) if from_environment else REPOSITORY.parent / "shared"


def peak_memory_mb() -> float:
    """Largest resident size that this process ever had, in MB (10^6 bytes)."""
    bytes_per_unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * bytes_per_unit / 1e6


def installed_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Version of each package, None for those that are not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code: cores, and how busy they are (load over one minute)."""
    return {
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of some timings, and how many there were."""
    ordered = sorted(seconds)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1], "count": len(ordered)}


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as strict JSON (a number that is not finite becomes null) and print where it lies.

    Adds `at_end`: the load, and the processor time of the whole process, which other work on the machine
    disturbs less than the clock.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    at_end = {
        "load_1min": round(os.getloadavg()[0], 2),
        "processor_seconds": usage.ru_utime + usage.ru_stime,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_strict({**report, "at_end": at_end}), indent=1, allow_nan=False) + "\n")
    print(f"{report.get('script', 'report')}: {report.get('status')} -> {path}")


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if hasattr(value, "tolist"):
        return _strict(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
