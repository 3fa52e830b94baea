"""What made a result: versions, machine, commit, memory."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

PACKAGES = ("scarlet_sed", "jax", "jaxlib", "equinox", "optax", "numpyro", "numpy", "scipy", "astropy")


def versions() -> dict[str, str]:
    """Version of Python and of each package that a result depends on; "unknown" where not installed as a package."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def commit() -> str | None:
    """The git commit of the source tree this package runs from, with "+" if files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+" if dirty else head


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def machine() -> dict[str, str | int]:
    """Where a result was made: platform, processors, JAX device."""
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count() or 1,
        "device": str(jax.devices()[0].device_kind),
    }


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
