"""Weight files: arrays, the record of their training, and a hash of both; without pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.typing import HostArray


def write_weights(path: Path, arrays: Mapping[str, HostArray], header: Mapping[str, Any], kind: str) -> str:
    """Write a weight file, to a temporary name first.

    Args:
        path: an .npz file.
        arrays: by name.
        header: JSON: what belongs to the arrays, and the record of training.
        kind: what the file is, with the number of its format.

    Returns:
        the SHA-256 of its content.
    """
    text = json.dumps(dict(header), sort_keys=True)
    digest = content_hash(arrays, text)
    stored: dict[str, Any] = {
        **arrays,
        "header": np.array(text),
        "sha256": np.array(digest),
        "format": np.array(kind),
    }
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **stored)
    return digest


def read_weights(path: Path, kind: str, fix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays, the hash as `sha256` among them, and the header of a weight file.

    Args:
        path: an .npz file.
        kind: what it must be.
        fix: what to do about a bad one.

    Raises:
        FileFormatError: if the file is missing, truncated, of another kind, or its content was altered.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = str(arrays.pop("header"))
        digest, found = str(arrays.pop("sha256")), str(arrays.pop("format"))
    except Exception as error:
        raise FileFormatError(f"cannot read the weight file {str(path)!r} ({error})", fix=fix) from error
    if found != kind:
        raise FileFormatError(f"{str(path)!r} is {found!r}, not {kind!r}", fix=fix)
    if content_hash(arrays, header) != digest:
        raise FileFormatError(f"the weight file {str(path)!r} was altered: its hash does not match", fix=fix)
    return {**arrays, "sha256": digest}, json.loads(header)


def content_hash(arrays: Mapping[str, HostArray], header: str) -> str:
    """SHA-256 over names, types, shapes and bytes of the arrays, and the header."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
