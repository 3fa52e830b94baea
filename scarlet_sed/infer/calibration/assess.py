"""What many trials say together: whether ranks are uniform, and how much the data taught."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scarlet_sed.errors import ShapeError
from scarlet_sed.infer.calibration.trial import Trial
from scarlet_sed.infer.calibration.uniform import Uniformity, spread_ranks, uniformity
from scarlet_sed.typing import HostArray

LEVELS = (0.5, 0.68, 0.9, 0.95)


class Row(NamedTuple):
    """One number of the scene.

    Args:
        name: a path, with an index where there are several.
        test: of the ranks.
        coverage: by level of `LEVELS`, share of truths inside of the central interval.
        contraction: one less the median ratio of posterior to prior variance: zero where data teach nothing.
    """

    name: str
    test: Uniformity
    coverage: tuple[float, ...]
    contraction: float


class Assessment(NamedTuple):
    """All numbers of a scene.

    Args:
        rows: by number, the log-likelihood last.
        joint: of the shares of draws that lie nearer to random places than the truth (TARP, Lemos et al. 2023).
        places: (trial, number) of the truths among the draws, uniform between zero and one if calibrated.
        nearer: (trial,).
        statuses: how many trials ended how.
    """

    rows: list[Row]
    joint: Uniformity
    places: HostArray
    nearer: HostArray
    statuses: dict[str, int]

    @property
    def least(self) -> float:
        """The smallest p-value of all tests."""
        return min([self.joint.least, *(row.test.least for row in self.rows)])

    def passed(self, level: float = 0.01) -> bool:
        """Whether no Kolmogorov-Smirnov or spread test falls below level / (number of rows), Bonferroni's bound."""
        return all(min(row.test.ks, row.test.spread) > level / len(self.rows) for row in self.rows)

    def table(self) -> str:
        """A line for each number."""
        lines = [
            f"{'number':<44} {'KS p':>8} {'spread p':>9} {'band p':>8} {'var':>5} {'bias':>6} {'90 %':>5} {'learnt':>6}"
        ]
        for row in self.rows:
            t = row.test
            lines.append(
                f"{row.name:<44} {t.ks:8.3g} {t.spread:9.2g} {t.band:8.2g} {t.variance:5.2f} {t.bias:+6.2f} "
                f"{row.coverage[2]:5.2f} {row.contraction:6.2f}"
            )
        joint = self.joint
        lines.append(f"{'all together (TARP)':<44} {joint.ks:8.3g} {joint.spread:9.2g} {joint.band:8.2g}")
        return "\n".join(lines)


def assess(trials: Sequence[Trial]) -> Assessment:
    """Test the ranks of trials of one kind of scene.

    Raises:
        ShapeError: if there are none, or they are of different scenes.
    """
    if not trials or any(t.names != trials[0].names or t.draws != trials[0].draws for t in trials):
        raise ShapeError("trials of one kind of scene are needed, with as many draws", fix="assess each kind apart")
    places = spread_ranks(np.array([t.ranks for t in trials]), trials[0].draws)
    truth = np.array([t.truth for t in trials])
    deviation = np.array([t.deviation for t in trials])
    inside = np.abs(2 * places - 1)
    rows = []
    for column, name in enumerate(trials[0].names):
        prior = max(float(np.var(truth[:, column])), np.finfo(float).tiny)
        rows.append(
            Row(
                name,
                uniformity(places[:, column]),
                tuple(float(np.mean(inside[:, column] < level)) for level in LEVELS),
                1 - float(np.median(deviation[:, column] ** 2)) / prior,
            )
        )
    statuses = {status: sum(t.status == status for t in trials) for status in sorted({t.status for t in trials})}
    nearer = np.array([t.nearer for t in trials])
    return Assessment(rows, uniformity(nearer), places, nearer, statuses)
