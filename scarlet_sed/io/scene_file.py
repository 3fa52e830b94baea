"""Scenes on disk, without pickle: `scene.json` holds the structure, an `.npz` beside it holds the arrays.

A path that ends in `.zip` gives one file with both, any other path a folder. Reading creates only objects of this
package, of an allow-list of numpyro distributions, and of classes that the caller passes; it never runs a constructor
of a module, so that what was saved comes back bit by bit.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.io.encoding import Classes, decode, encode

FORMAT = "scarlet_sed scene"
VERSION = 1
_STRUCTURE = "scene.json"


def save_scene(scene: Any, path: str | Path, *, classes: Iterable[type] = ()) -> Path:
    """Write a scene (or any module of this package: a source, observations), replacing what was there in one move.

    Args:
        scene: modules, dicts, lists and tuples of arrays, numbers, strings, parameters, priors and ties.
        path: a name that ends in `.zip` for one file, any other for a folder.
        classes: your own classes in it; pass the same ones to `load_scene`.

    Returns:
        The path.

    Raises:
        FileFormatError: for something that cannot be stored, named by where it is, or a path of another kind.
    """
    path = Path(path)
    arrays: dict[str, np.ndarray] = {}
    tree = encode(scene, arrays, Classes(classes))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    document = {
        "format": FORMAT,
        "version": VERSION,
        "arrays": f"arrays-{digest[:16]}.npz",
        "sha256": digest,
        "tree": tree,
    }
    structure = json.dumps(document, indent=1, allow_nan=False).encode()
    if path.suffix == ".zip":
        _write_zip(path, {_STRUCTURE: structure, document["arrays"]: content})
    else:
        _write_folder(path, structure, document["arrays"], content)
    return path


def digest_of(scene: Any) -> str:
    """A hash of everything that `save_scene` would keep, the same in every process.

    The leaves of numpyro's distributions come in an order that differs from process to process; what is stored does
    not.

    Args:
        scene: as for `save_scene`.

    Raises:
        FileFormatError: for something that cannot be stored.
    """
    arrays: dict[str, np.ndarray] = {}
    found = hashlib.sha256(json.dumps(encode(scene, arrays, Classes(())), sort_keys=True).encode())
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def load_scene(path: str | Path, *, classes: Iterable[type] = ()) -> Any:
    """Read what `save_scene` wrote.

    Args:
        path: the folder or `.zip` file.
        classes: your own classes that the scene holds.

    Raises:
        FileFormatError: if the file is missing, damaged, of another kind or version, or names a class that is neither
            this package's nor in `classes`.
    """
    path = Path(path)
    read = _ZipReader(path) if path.is_file() else _FolderReader(path)
    try:
        document = json.loads(read(_STRUCTURE))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(path, f"its structure is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FileFormatError(f"{str(path)!r} does not hold a {FORMAT}", fix="give a path that save_scene wrote")
    if document.get("version") != VERSION:
        raise FileFormatError(
            f"{str(path)!r} has version {document.get('version')!r}, and this package reads version {VERSION}",
            fix="read it with the version of scarlet_sed that wrote it, or upgrade scarlet_sed",
        )
    arrays_name, digest = document.get("arrays"), document.get("sha256")
    if not isinstance(arrays_name, str) or Path(arrays_name).name != arrays_name or "tree" not in document:
        raise _damaged(path, "keys are missing from its structure")
    content = read(arrays_name)
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(path, "its arrays are not those that were written")
    return decode(document["tree"], _arrays(path, content), Classes(classes), where=str(path))


def _damaged(path: Path, problem: str) -> FileFormatError:
    return FileFormatError(f"the scene file {str(path)!r} is damaged: {problem}", fix="save the scene again")


def _arrays(path: Path, content: bytes) -> Mapping[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, f"its arrays cannot be read ({error})") from error


def _replace(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, then rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    if path.is_dir():
        raise FileFormatError(f"{str(path)!r} is a folder", fix="choose another name, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    _replace(path, buffer.getvalue())


def _write_folder(path: Path, structure: bytes, arrays_name: str, content: bytes) -> None:
    if path.exists() and not path.is_dir():
        raise FileFormatError(
            f"{str(path)!r} is a file", fix="choose another name, one that ends in .zip, or remove it"
        )
    path.mkdir(parents=True, exist_ok=True)
    # the structure names its arrays, so the scene changes at the moment the structure is renamed
    _replace(path / arrays_name, content)
    _replace(path / _STRUCTURE, structure)
    for old in path.glob("arrays-*.npz"):
        if old.name != arrays_name:
            old.unlink(missing_ok=True)


class _FolderReader:
    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise FileFormatError(f"there is no scene at {str(path)!r}", fix="check the path")
        self.path = path

    def __call__(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise FileFormatError(
                f"the scene folder {str(self.path)!r} lacks {name}", fix="give a folder that save_scene wrote"
            ) from error


class _ZipReader:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, name: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise _damaged(self.path, f"it is not a zip file that holds {name}") from error
