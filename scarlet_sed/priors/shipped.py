"""Files of learnt priors, and those that ship with the package."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from scarlet_sed.weights import read_weights

KIND = "scarlet_sed image prior 1"
SHIPPED = ("galaxies_32", "galaxies_64")
"""Names of priors that ship, from small boxes to large: flows for galaxies made up by `priors.procedural`, in boxes of
32 and 64 pixels. They are made by `make image-priors`; `read_prior` has recipe, seed, record of training and what the
gate of samplers found."""


def read_prior(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and header of a prior's file.

    Args:
        path: of a file, or a name among `SHIPPED`.

    Raises:
        FileFormatError: if it is missing, damaged, or of another kind.
    """
    return read_weights(prior_path(path), KIND, f"train one with `scarlet-sed prior train`, or use one of {SHIPPED}")


def prior_path(path: str | Path) -> Path:
    """Of a file, or of a name among `SHIPPED`."""
    if str(path) in SHIPPED:
        return Path(str(files("scarlet_sed.priors") / "weights" / f"{path}.npz"))
    return Path(path)
