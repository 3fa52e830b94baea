"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


MAPS = Path("/proc/self/maps")
PLAIN = "jax_disable_most_optimizations"
"""Most tests take longer to compile than to run: they, and the commands that they start, are compiled plainly."""
os.environ[PLAIN.upper()] = "1"
jax.config.update(PLAIN, True)
# XLA's older emitter compiles these programs in half the time; users keep the one that XLA chooses
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"


@pytest.fixture(autouse=True)
def plain_programs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Plain programs, but for tests marked `optimized`, where what runs takes longer than compiling it well."""
    jax.config.update(PLAIN, request.node.get_closest_marker("optimized") is None)
    yield
    jax.config.update(PLAIN, True)


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Forget compiled programs before they use up a machine's memory, or the memory maps that Linux gives a process."""
    yield
    if MAPS.exists() and (MAPS.read_bytes().count(b"\n") > 30_000 or _resident() > 5e9):
        jax.clear_caches()


def _resident() -> float:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.fixture
def x64() -> Iterator[None]:
    """Float64 for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240611)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(7)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data, which is not part of the repository."""
    folder = Path(os.environ.get("SCARLET_SED_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data: {folder / 'data'} is missing (set SCARLET_SED_SHARED)")
    return folder
