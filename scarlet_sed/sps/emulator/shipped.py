"""The emulator that ships with the package."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp

from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import read_emulator

WEIGHTS = "bc03_miles.npz"


def shipped_path() -> Path:
    """The weight file that ships."""
    return Path(str(files("scarlet_sed.sps.emulator") / "weights" / WEIGHTS))


def shipped_emulator() -> NeuralEmulator:
    """BC03 (2016, MILES) stars with Cloudy nebulae, as a network; read once in each floating type."""
    return _read(jnp.result_type(float).name)


@lru_cache(maxsize=2)
def _read(_: str) -> NeuralEmulator:
    with jax.ensure_compile_time_eval():
        return read_emulator(shipped_path())
