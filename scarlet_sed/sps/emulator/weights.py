"""The weight file of an emulator."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.parameters import as_float
from scarlet_sed.sps.domain import DOMAIN, Domain
from scarlet_sed.sps.emulator.features import Features
from scarlet_sed.sps.emulator.network import LineNetwork, LineTable, Perceptron, SpectrumNetwork
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.typing import HostArray
from scarlet_sed.weights import read_weights, write_weights

FORMAT = "scarlet_sed emulator 1"
_SPECTRA = ("delayed", "constant", "young")
_FIX = "install the package again, or train with `scarlet-sed emulator train`"


def write_emulator(path: Path, arrays: Mapping[str, HostArray], header: Mapping[str, Any]) -> str:
    """Write the weight file of an emulator.

    Args:
        path: an .npz file.
        arrays: by name.
        header: JSON: engine fields (`log_start`, `cells`, lines), the domain, and the record of training.

    Returns:
        the SHA-256 of its content.
    """
    return write_weights(path, arrays, header, FORMAT)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a weight file, after its hash was checked."""
    return read_weights(path, FORMAT, _FIX)[1]


def read_emulator(path: Path) -> NeuralEmulator:
    """The emulator of a weight file.

    Raises:
        FileFormatError: if the file is missing, truncated, of another format, or its content was altered.
    """
    arrays, header = read_weights(path, FORMAT, _FIX)
    try:
        spectra = {name: _spectrum(name, arrays) for name in _SPECTRA}
        lines = _lines(arrays)
        axes = ("old_ages", "young_ages", "metallicity", "log_ionization")
        return NeuralEmulator(
            **spectra,
            lines=lines,
            features=Features(*(as_float(arrays[f"features/{name}"]) for name in axes)),
            domain=Domain(*(tuple(header["domain"][name]) for name in DOMAIN)),
            log_start=int(header["log_start"]),
            cells=int(header["cells"]),
            line_wavelength=tuple(float(w) for w in header["line_wavelength"]),
            line_names=tuple(str(n) for n in header["line_names"]),
            name=str(arrays["sha256"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise FileFormatError(f"the weight file {str(path)!r} is incomplete ({error})", fix=_FIX) from error


def _perceptron(name: str, arrays: Mapping[str, Any]) -> Perceptron:
    layers = sum(key.startswith(f"{name}/matrix") for key in arrays)
    return Perceptron(
        tuple(as_float(arrays[f"{name}/matrix{i}"]) for i in range(layers)),
        tuple(as_float(arrays[f"{name}/bias{i}"]) for i in range(layers)),
        as_float(arrays[f"{name}/centre"]),
        as_float(arrays[f"{name}/scale"]),
    )


def _lines(arrays: Mapping[str, Any]) -> LineNetwork | LineTable:
    if "lines/table" in arrays:
        return LineTable(as_float(arrays["lines/table"]))
    return LineNetwork(_perceptron("lines", arrays), as_float(arrays["lines/spread"]), as_float(arrays["lines/mean"]))


def _spectrum(name: str, arrays: Mapping[str, Any]) -> SpectrumNetwork:
    basis = arrays[f"{name}/basis"].astype(np.float64) * arrays[f"{name}/basis_scale"][:, None]
    return SpectrumNetwork(_perceptron(name, arrays), as_float(basis), as_float(arrays[f"{name}/mean"]))


def perceptron_arrays(name: str, perceptron: Perceptron) -> dict[str, HostArray]:
    """A perceptron as arrays of the file."""
    found = {f"{name}/matrix{i}": np.asarray(m, np.float32) for i, m in enumerate(perceptron.matrices)}
    found |= {f"{name}/bias{i}": np.asarray(b, np.float32) for i, b in enumerate(perceptron.biases)}
    found[f"{name}/centre"] = np.asarray(perceptron.centre, np.float32)
    found[f"{name}/scale"] = np.asarray(perceptron.scale, np.float32)
    return found


def basis_arrays(name: str, basis: HostArray, mean: HostArray) -> dict[str, HostArray]:
    """Components of log flux as arrays of the file: 16-bit integers, each component in its own unit."""
    scale = np.abs(basis).max(axis=1) / np.iinfo(np.int16).max
    return {
        f"{name}/basis": np.rint(basis / scale[:, None]).astype(np.int16),
        f"{name}/basis_scale": scale.astype(np.float32),
        f"{name}/mean": np.asarray(mean, np.float32),
    }
