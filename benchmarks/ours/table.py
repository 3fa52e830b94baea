"""Tables of benchmark results, as plain text and as markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One line: what was measured, both sides, their ratio, and what was asked for.

    Args:
        what: the quantity.
        unit: of both numbers.
        theirs, ours: medians over repeats, None where there is none.
        target: smallest wanted `theirs / ours`; or the largest wanted value of `ours` if `limit` is set.
        limit: whether `target` limits our number itself, for quantities that have no peer.
    """

    what: str
    unit: str
    theirs: float | None
    ours: float | None
    target: float | None = None
    limit: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times ours is smaller."""
        return self.theirs / self.ours if self.theirs is not None and self.ours else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where it cannot be said."""
        if self.target is None:
            return None
        if self.limit:
            return None if self.ours is None else self.ours <= self.target
        return None if self.ratio is None else self.ratio >= self.target

    def as_json(self) -> dict[str, Any]:
        """The row with what follows from it; strict JSON has no infinity."""
        never = self.ours is not None and math.isinf(self.ours)
        ours = "never" if never else self.ours
        return {**self._asdict(), "ours": ours, "ratio": self.ratio, "met": self.met}

    @staticmethod
    def from_json(saved: dict[str, Any]) -> Row:
        """The row that `as_json` saved."""
        fields = {name: saved[name] for name in Row._fields}
        return Row(**{**fields, "ours": math.inf if fields["ours"] == "never" else fields["ours"]})

    def cells(self) -> list[str]:
        """The row as text."""
        wanted = "" if self.target is None else f"{'<=' if self.limit else '>='} {self.target:g}"
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.3g}"
        return [self.what, self.unit, number(self.theirs), number(self.ours), ratio, wanted, verdict]


HEADINGS = ("quantity", "unit", "scarlet2", "scarlet_sed", "ratio", "wanted", "met")


def number(value: float | None) -> str:
    """Three digits; a dash for nothing."""
    if value is None:
        return "-"
    return "never" if math.isinf(value) else f"{value:.3g}"


def plain(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [headings, *rows]]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows]]
    return "\n".join(lines)
