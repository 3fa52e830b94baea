"""Writing results so that a reader never finds half a file: a temporary name first, then a rename."""

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.figure import Figure

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes, such as those of a picture."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_catalog(folder: str | Path, table: QTable, stem: str = "catalog") -> None:
    """Write a table as `<stem>.fits` and `<stem>.ecsv`, units and metadata kept."""
    for name in (f"{stem}.fits", f"{stem}.ecsv"):
        with atomic(Path(folder) / name) as temporary:
            temporary.unlink()
            table.write(temporary, overwrite=True)


def write_figure(path: str | Path, figure: Figure, dpi: int = 110) -> None:
    """Write a figure as PNG, its background transparent as the figure has it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def output_folder(path: str | Path) -> Path:
    """Make a folder for results.

    Raises:
        FileFormatError: if it cannot be made or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise FileFormatError(
            f"cannot write to the folder {path}: {error.strerror}", fix="choose another with --out"
        ) from error
    return path


def plain(value: Any) -> Any:
    """A value made of what JSON knows: arrays become lists, paths strings, numbers that are not finite None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Path):
        return str(value)
    return plain(np.asarray(value).tolist())
