"""Training that goes on where it was: a file with the recipe, the record and the state of everything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic

State = TypeVar("State")
Record = list[dict[str, float]]


def save_training(path: Path, state: Any, recipe: Mapping[str, Any], record: Record) -> None:
    """Write a checkpoint, to a temporary name first.

    Args:
        path: the file.
        state: a tree of arrays.
        recipe: JSON: what training must have in common to go on.
        record: how it went.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps({"recipe": recipe, "record": record}).encode() + b"\n")
        eqx.tree_serialise_leaves(file, state)


def resume_training(path: Path, like: State, recipe: Mapping[str, Any]) -> tuple[State, Record]:
    """The state and the record of a checkpoint; those of a beginning where there is no file.

    Args:
        path: the file.
        like: a state of the same shapes, from which training would begin.
        recipe: of this training.

    Raises:
        FileFormatError: if the checkpoint belongs to another recipe, or is damaged.
    """
    if not path.exists():
        return like, []
    with path.open("rb") as file:
        try:
            header = json.loads(file.readline())
            same = header["recipe"] == json.loads(json.dumps(recipe))
            state = eqx.tree_deserialise_leaves(file, like) if same else like
        except Exception as error:
            raise FileFormatError(f"the checkpoint {str(path)!r} is damaged ({error})", fix="remove it") from error
    if not same:
        raise FileFormatError(
            f"the checkpoint {str(path)!r} comes from another recipe",
            fix="remove it, or train with the recipe in its first line",
        )
    return state, header["record"]
