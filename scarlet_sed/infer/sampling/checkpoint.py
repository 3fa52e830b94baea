"""Chains on disk: one file a piece, each with the state that the next piece follows from.

A file appears under its name when it is whole, so that a run may be killed at any moment: what comes back is a number
of whole pieces, and the draws that follow are the ones that would have followed.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.infer.program import Program
from scarlet_sed.infer.sampling.anchor import Anchor
from scarlet_sed.infer.sampling.bend import Bend
from scarlet_sed.infer.sampling.chains import Piece
from scarlet_sed.infer.sampling.nuts import Draws
from scarlet_sed.infer.sampling.target import Coordinates, Stretch
from scarlet_sed.parameters import to_device
from scarlet_sed.typing import HostArray

_START = "start.npz"
_VERSION = 7


def fingerprint(program: Program, paths: Sequence[str], *settings: Any) -> str:
    """A digest of the data, the model and everything else that draws depend on, the starting point excepted."""
    # NumPyro's distributions give their leaves in an order that may differ from process to process
    rest = eqx.tree_at(lambda p: p.families, program, ())
    leaves, structure = jax.tree.flatten(rest)
    model = (re.sub(r" at 0x[0-9a-f]+", "", str(structure)), [_digest(leaf) for leaf in leaves])
    priors = [(f.shape, _digest(f.valid), _described(f.prior)) for f in program.families]
    return hashlib.sha256(repr((_VERSION, tuple(paths), settings, model, priors)).encode()).hexdigest()


def digest(tree: Any) -> str:
    """A digest of the class and the arrays of a tree, and of what is static in it."""
    own = fields(tree) if is_dataclass(tree) else ()
    static = [repr(getattr(tree, field.name)) for field in own if field.metadata.get("static")]
    # sorted, for the order of NumPyro's leaves may differ from process to process
    arrays = sorted(_digest(leaf) for leaf in jax.tree.leaves(tree))
    return _digest(np.array([type(tree).__name__, *static, *arrays]))


def _described(prior: dist.Distribution) -> tuple[Any, ...]:
    """Class, arguments and leaves of a distribution and of what it is made of."""
    arguments = sorted((name, _digest(value)) for name, value in prior.get_args().items())
    leaves = sorted(_digest(leaf) for leaf in jax.tree.leaves(prior))
    base = getattr(prior, "base_dist", None)
    below = _described(base) if isinstance(base, dist.Distribution) else ()
    return type(prior).__name__, tuple(prior.batch_shape), tuple(prior.event_shape), arguments, leaves, below


def _digest(leaf: Any) -> str:
    array = np.ascontiguousarray(leaf)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()


class Checkpoint:
    """A folder that keeps chains.

    Args:
        folder: is made when something is written.
        fingerprint: of what is sampled, which what lies in the folder must have.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint

    def begin(self, coordinates: Coordinates) -> None:
        """Write where the chains begin.

        Raises:
            FileFormatError: if the disk does not take it.
        """
        stored = {jax.tree_util.keystr(at): np.asarray(leaf) for at, leaf in jax.tree.leaves_with_path(coordinates)}
        counts = {"families": len(coordinates.origin), "groups": len(coordinates.anchor.row)}
        header = {"fingerprint": self.fingerprint, "observations": len(coordinates.anchor.share), **counts}
        self._write(_START, stored | {"header": np.array(json.dumps(header))})

    def coordinates(self) -> Coordinates | None:
        """Where the chains in the folder began; None if there are none.

        Raises:
            FileFormatError: if they sample something else, or the file is damaged.
        """
        path = self.folder / _START
        if not path.exists():
            if any(self.folder.glob("piece-*.npz")):
                raise FileFormatError(f"{path} is missing beside pieces of chains", fix="give another folder")
            return None
        stored = self._read(path)
        header = json.loads(str(stored["header"]))
        if header["fingerprint"] != self.fingerprint:
            raise FileFormatError(
                f"the chains in {self.folder} belong to other data, another model or other settings",
                fix="give another folder, or sample with what they were begun with (draws may be more)",
            )
        leaf: Any = 0
        families, groups = ((leaf,) * header[name] for name in ("families", "groups"))
        anchor = Anchor((groups,) * header["observations"], groups, groups)
        shape = Coordinates(
            families, families, leaf, leaf, Bend(*[leaf] * len(Bend._fields)), anchor, Stretch(leaf, leaf)
        )
        names = [jax.tree_util.keystr(at) for at, _ in jax.tree.leaves_with_path(shape)]
        if set(names) != set(stored) - {"header"}:
            raise FileFormatError(
                f"the chains in {self.folder} are of another version of scarlet_sed, with other coordinates",
                fix="give another folder, or go on with the version that began them",
            )
        leaves = [to_device(stored[name], stored[name].dtype) for name in names]
        found: Coordinates = jax.tree.unflatten(jax.tree.structure(shape), leaves)
        return found

    def append(self, number: int, piece: Piece) -> None:
        """Write a piece.

        Raises:
            FileFormatError: if the disk does not take it.
        """
        stored = dict(piece.draws._asdict())
        stored |= {f"state{i}": leaf for i, leaf in enumerate(jax.tree.leaves(piece.state))}
        self._write(f"piece-{number:06d}.npz", {name: np.asarray(value) for name, value in stored.items()})

    def pieces(self) -> list[tuple[Draws, list[HostArray]]]:
        """The draws of all pieces in their order, each with the leaves of the state after it.

        Raises:
            FileFormatError: if a piece is missing or damaged.
        """
        found = []
        for number, path in enumerate(sorted(self.folder.glob("piece-*.npz"))):
            if path.name != f"piece-{number:06d}.npz":
                raise FileFormatError(
                    f"{self.folder} lacks piece {number} of its chains",
                    fix=f"bring it back, or delete {path.name} and later ones to go on from the one before",
                )
            stored = self._read(path)
            try:
                draws = Draws(**{name: jnp.asarray(stored[name]) for name in Draws._fields})
                leaves = [stored[f"state{i}"] for i in range(len(stored) - len(Draws._fields))]
            except KeyError as error:
                raise self._damaged(path, str(error)) from error
            found.append((draws, leaves))
        return found

    def _write(self, name: str, stored: dict[str, HostArray]) -> None:
        try:
            with atomic(self.folder / name) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **stored)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileFormatError(
                f"{self.folder / name} could not be written ({error}); everything before it is kept",
                fix="make room on the disk (or the folder writable), and sample again with the same checkpoint",
            ) from error

    def _read(self, path: Path) -> dict[str, HostArray]:
        try:
            # an open file of our own: np.load leaves its own open when the content is no archive
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # zipfile, zlib, struct, json and numpy all have errors of their own
            raise self._damaged(path, str(error)) from error

    def _damaged(self, path: Path, why: str) -> FileFormatError:
        return FileFormatError(
            f"{path} is damaged ({why})",
            fix="delete it and the pieces after it: sampling goes on from the one before",
        )
