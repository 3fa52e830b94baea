"""What there is to say of a posterior before it is used: did the chains converge, and does the model fit the data?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.residuals import Block, Residuals, residuals
from scarlet_sed.infer.sampling.scalars import hardest
from scarlet_sed.infer.sampling.status import APART, ENERGETIC, ENOUGH, HELD, MIXED, RARE, SampleStatus, heaviest, worth

DOUBTFUL = 0.01
"""A p-value below this, or as close to one, is worth a doubt."""
_LISTED = 5


class Row(NamedTuple):
    """A diagnostic: what it is, what it is here, what it should be, and whether that is so."""

    name: str
    value: str
    wanted: str
    good: bool


@dataclass(frozen=True, eq=False)
class Check:
    """What `check` found.

    Args:
        status: of the draws, with advice.
        rows: diagnostics of chains or of an approximation; none where there are none.
        p_values: posterior predictive, by observation and band; empty without draws.
        hardest: names of the numbers with the fewest effective draws.
        doubts: sentences; none if all is well.
        residuals: what p-values come from; None without draws.
    """

    status: SampleStatus
    rows: tuple[Row, ...]
    p_values: dict[str, dict[str, float]]
    hardest: tuple[str, ...]
    doubts: tuple[str, ...]
    residuals: Residuals | None

    @property
    def success(self) -> bool:
        """Whether the chains converged and nothing is in doubt."""
        return self.status.success and not self.doubts

    @property
    def table(self) -> str:
        """The diagnostics as text."""
        cells = [("", "", "wanted"), *((r.name, r.value, r.wanted + ("" if r.good else "  !")) for r in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(3)]
        return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}".rstrip() for a, b, c in cells)

    def summary(self) -> str:
        """A few lines for a terminal."""
        lines = [f"{self.status.name}: {self.status.advice}"]
        lines += [self.table] if self.rows else []
        for name, each in self.p_values.items():
            said = "p-values" if tuple(each) == (name,) else f"p-values, {name}"
            lines.append(f"{said}: " + ", ".join(f"{band} {p:.2f}" for band, p in each.items()))
        lines += [f"fewest effective draws: {', '.join(self.hardest)}"] if self.hardest else []
        lines += [f"doubt: {doubt}" for doubt in self.doubts]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def check(posterior: Posterior, count: int = 100, seed: int = 0) -> Check:
    """Look at chains and at what they predict.

    Args:
        posterior: draws, of any kind.
        count: of draws that are compared with the data; each costs a rendering.
        seed: of which ones.
    """
    drawn = posterior.shape[1] > 0
    found = residuals(posterior, count, seed) if drawn else None
    observed = {} if found is None else found.observed
    p_values = {name: dict(zip(own.bands, own.p_values.tolist(), strict=True)) for name, own in observed.items()}
    return Check(
        posterior.status,
        tuple(_rows(posterior)),
        p_values,
        tuple(s.name for s in hardest(posterior, _LISTED)) if posterior.diagnosis else (),
        tuple(_doubts(posterior, p_values, found, count)),
        found,
    )


def _rows(posterior: Posterior) -> Iterator[Row]:
    found = posterior.diagnosis
    chains, draws = posterior.shape
    count = chains * draws
    if posterior.khat is not None:
        limit = heaviest(count)
        yield Row("draws", f"{count:,}", "", True)
        yield Row("Pareto k-hat", f"{posterior.khat:.2f}", f"{limit:.2g} or less", posterior.khat <= limit)
        yield Row("a draw's worth, by its weight", f"{worth(posterior.statistics['log_weight']):.0%}", "", True)
    if found is None:
        return
    least = min(found.least_bulk, found.least_tail)
    limit = MIXED if least >= ENOUGH else APART
    yield Row("chains", f"{chains}", "4 or more", chains >= 4)
    yield Row("draws kept", f"{count:,}", "", True)
    yield Row("largest R-hat", f"{found.worst_rhat:.4f}", f"{limit:g} or less", found.worst_rhat <= limit)
    for name, value in (("bulk", found.least_bulk), ("tails", found.least_tail)):
        yield Row(f"fewest effective draws, {name}", f"{value:,.0f}", f"{ENOUGH} or more", value >= ENOUGH)
    if "held" in posterior.statistics:
        share = float(np.mean(posterior.statistics["held"]))
        yield Row("steps held back", f"{share:.2%}", f"{HELD:.1%} or less", share <= HELD)
        return
    share = found.divergences / max(count, 1)
    yield Row("divergent trajectories", f"{found.divergences} ({share:.2%})", f"{RARE:.1%} or less", share <= RARE)
    energy = float(np.min(found.energy))
    yield Row("least E-BFMI", f"{energy:.2f}", f"{ENERGETIC:g} or more", energy >= ENERGETIC)
    accept = float(np.mean(posterior.statistics["accept"]))
    yield Row("mean acceptance", f"{accept:.2f}", "", True)
    yield Row("steps a trajectory", f"{found.leapfrogs / max(count, 1):.1f}", "", True)


def _doubts(
    posterior: Posterior, p_values: dict[str, dict[str, float]], found: Residuals | None, count: int
) -> Iterator[str]:
    for name, each in p_values.items():
        for band, p in each.items():
            least = f"p = {p:.2g}" if p > 0 else f"p < {1 / count:.2g}"
            if p < DOUBTFUL:
                yield f"{name} {band}: the residual is larger than the noise explains ({least})"
            elif p > 1 - DOUBTFUL:
                yield f"{name} {band}: the residual is smaller than the noise that is assumed (p = {p:.2g})"
    blocks = [] if found is None else found.outstanding()
    if blocks:
        places = f"{len(blocks)} places have" if len(blocks) > 1 else "one place has"
        worst = describe(posterior, blocks[0])
        yield f"{places} more chi-square than chance allows in 99 of 100 fields; the worst: {worst}"


def describe(posterior: Posterior, block: Block) -> str:
    """Where a block is, and which source is nearest."""
    model = posterior.posterior
    observation = next(o for o in model.observations if o.name == block.observation)
    frame, values = model.scene.frame, model.scene.values
    names = list(model.scene.sources)
    places = np.stack([np.asarray(values[f"{name}.position"], float) for name in names])
    pixels = np.asarray(observation.grid.pixels(places, frame.tangent_point), float)
    distance = np.hypot(*(pixels - [block.x, block.y]).T) * observation.grid.pixel_scale
    near = int(np.argmin(distance))
    return (
        f"{block.sigma:.1f} sigma in {block.band} at pixel ({block.x:.0f}, {block.y:.0f}) of {block.observation}, "
        f"{distance[near]:.2f} arcsec from {names[near]}"
    )
