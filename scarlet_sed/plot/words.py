"""Names and numbers of a posterior as pictures write them."""

from collections.abc import Sequence

import numpy as np

from scarlet_sed.infer.sampling.scalars import Scalar

_DULL = ("spectrum", "morphology", "attenuation", "curve", "history")
"""Parts of paths that say nothing about what a number is."""


def short_labels(chosen: Sequence[Scalar]) -> list[str]:
    """Labels with units, without what they have in common or what goes without saying, as long as they stay distinct.

    Args:
        chosen: the numbers of one picture.
    """
    owners = {scalar.path.split(".", 1)[0] for scalar in chosen}
    labels = [_label(scalar, with_owner=len(owners) > 1) for scalar in chosen]
    repeated = {label for label in labels if labels.count(label) > 1}
    return [scalar.label if label in repeated else label for label, scalar in zip(labels, chosen, strict=True)]


def _label(scalar: Scalar, *, with_owner: bool) -> str:
    owner, *rest = scalar.path.split(".")
    kept = [part for part in rest if part not in _DULL or part is rest[-1]]
    words = " ".join([owner, *kept] if with_owner else kept or [owner]).replace("_", " ")
    named = f"{words} {scalar.element}".strip()
    return f"{named} ({scalar.unit})" if scalar.unit else named


def with_spread(median: float, low: float, high: float) -> str:
    """A median with its distances to a lower and an upper quantile, as mathtext, with digits to tell them.

    Args:
        median, low, high: quantiles.
    """
    below, above = median - low, high - median
    least = min(d for d in (below, above, np.inf) if d > 0)
    if not np.isfinite(least):
        return f"{median:.4g}"
    digits = int(np.clip(1 - np.floor(np.log10(least)), 0, 8))
    if max(abs(low), abs(high)) >= 1e6 or digits > 6:
        power = int(np.floor(np.log10(max(abs(low), abs(high)))))
        inner = with_spread(*(value / 10.0**power for value in (median, low, high)))
        return f"({inner}) $\\times 10^{{{power}}}$"
    return f"${median:.{digits}f}_{{-{below:.{digits}f}}}^{{+{above:.{digits}f}}}$"
