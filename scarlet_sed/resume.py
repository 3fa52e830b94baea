"""Training that goes on where it was: a file with the recipe, the record and the state of everything."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import equinox as eqx

from scarlet_sed.errors import FileFormatError, ParameterError
from scarlet_sed.files import atomic


class Stepped(Protocol):
    """The state of a training, which knows its step."""

    @property
    def step(self) -> Any:
        """How many steps have been taken."""


State = TypeVar("State")
Trained = TypeVar("Trained", bound=Stepped)
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


def train_on(
    begin: Trained,
    advance: Callable[[Trained], Trained],
    told: Callable[[Trained], Mapping[str, float]],
    recipe: Mapping[str, Any],
    checkpoint: Path,
    *,
    every: int,
    seconds: float,
    progress: Callable[[str], None],
    digits: int = 4,
) -> tuple[Trained, Record, bool]:
    """Train, or go on from the checkpoint, for at most some seconds.

    Args:
        begin: the state without a checkpoint.
        advance: some steps.
        told: what the record says of a state.
        recipe: JSON with `steps`, the number of the last one.
        checkpoint: a file to go on from, and to leave the state in.
        every: steps between entries of the record.
        seconds: the sitting ends then.
        progress: called with each entry as a line.
        digits: of the numbers in lines.

    Returns:
        the state, the record, and whether the last step was reached.

    Raises:
        FileFormatError: if the checkpoint belongs to another recipe, or is damaged.
        ParameterError: if what is told is not finite; nothing is written then.
    """
    state, record = resume_training(checkpoint, begin, recipe)
    start = time.monotonic()
    before = record[-1]["seconds"] if record else 0.0
    last = recipe["steps"]
    while int(state.step) < last and time.monotonic() - start < seconds:
        state = advance(state)
        step = int(state.step)
        late = step >= last or time.monotonic() - start >= seconds
        if step % every == 0 or late:
            entry = told(state)
            odd = [name for name, value in entry.items() if not math.isfinite(value)]
            if odd:
                raise ParameterError(
                    f"the training left the numbers: {odd[0]!r} is {entry[odd[0]]} after step {step}",
                    fix=f"the checkpoint {str(checkpoint)!r} is from before: lower the learning rate, and begin anew",
                )
            record.append({"step": step, "seconds": before + time.monotonic() - start, **entry})
            progress(json.dumps({name: round(value, digits) for name, value in record[-1].items()}))
            save_training(checkpoint, state, recipe, record)
    return state, record, int(state.step) >= last
