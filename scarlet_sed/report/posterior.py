"""The report of a posterior: can the chains be trusted, does the model fit the data, and what came out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from astropy.table import QTable
from astropy.time import Time
from matplotlib.figure import Figure

import scarlet_sed.plot as plot
from scarlet_sed.infer.sampling.check import Check, describe
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.proper import Replaced
from scarlet_sed.infer.sampling.scalars import chosen, telling
from scarlet_sed.plot.predictions import p_text
from scarlet_sed.report.page import environment, style
from scarlet_sed.report.tables import Grid, seconds

MOST_CORNERS = 20
"""Sources that get a corner plot; the numbers of further ones are in the table only."""
MOST_MAPS = 12
"""Sources whose dust is drawn."""
_MOST_ROWS = 600
_MOST_BLOCKS = 12


@dataclass(frozen=True, eq=False)
class PosteriorContent:
    """What a report of a posterior shows.

    Args:
        title: of the page.
        posterior: the draws.
        check: what `check` found.
        table: from `summary_table`.
        sources: names, those to show first in front.
        notes: sentences to read first.
        replaced: priors that gave way.
        settings: how it was sampled, by option.
        timings: seconds by stage.
        software: versions and the like.
    """

    title: str
    posterior: Posterior
    check: Check
    table: QTable
    sources: Sequence[str]
    notes: Sequence[str] = ()
    replaced: Sequence[Replaced] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)


def posterior_figures(content: PosteriorContent) -> Iterator[tuple[str, Figure]]:
    """Pictures one by one: "residuals", "chains", "ranks", and "corner" or "dust" with a source's name."""
    assert content.check.residuals is not None
    yield "residuals", plot.predictive(content.check.residuals)
    yield "chains", plot.trace(content.posterior)
    yield "ranks", plot.rank(content.posterior)
    for name in shown_sources(content)[:MOST_CORNERS]:
        yield f"corner {name}", plot.corner(content.posterior, name)
    for name in dusty_sources(content)[:MOST_MAPS]:
        yield f"dust {name}", plot.property_maps(content.posterior, name)


def dusty_sources(content: PosteriorContent) -> list[str]:
    """The sources with light behind screens."""
    scene = content.posterior.posterior.scene
    return [name for name in content.sources if any(scene[name].screens())]


def shown_sources(content: PosteriorContent) -> list[str]:
    """The sources with two or more free numbers to show together."""
    drawn = {path.split(".", 1)[0] for path in content.posterior.draws}
    return [n for n in content.sources if n in drawn and len(telling(chosen(content.posterior, n))) > 1]


def render_posterior(content: PosteriorContent, pictures: Mapping[str, str]) -> str:
    """The report as HTML that needs no other file.

    Args:
        content: what it shows.
        pictures: `posterior_figures` as base64 of PNG.
    """
    status = content.posterior.status
    corners, maps = (
        {name.removeprefix(kind): image for name, image in pictures.items() if name.startswith(kind)}
        for kind in ("corner ", "dust ")
    )
    return (
        environment()
        .get_template("posterior.html")
        .render(
            css=style(),
            title=content.title,
            subtitle=f"posterior, drawn by scarlet_sed on {Time.now().utc.strftime('%Y-%m-%d at %H:%M')} UTC",
            status={"name": status.name.replace("_", " ").lower(), "advice": status.advice, "good": status.success},
            warnings=[*content.notes, *content.check.doubts],
            facts=_facts(content),
            diagnostics=[(row.name, row.value, row.wanted, row.good) for row in content.check.rows],
            p_values=_p_values(content.check),
            blocks=_blocks(content),
            count=0 if content.check.residuals is None else content.check.residuals.size,
            pictures=pictures,
            corners=corners,
            corners_left_out=max(len(shown_sources(content)) - len(corners), 0),
            maps=maps,
            maps_left_out=max(len(dusty_sources(content)) - len(maps), 0),
            parameters=_numbers(_sampled(content.table), with_prior=True),
            derived=_numbers(_follows(content.table), with_prior=False),
            images=_images(content),
            rows_left_out=max(len(_sampled(content.table)) - _MOST_ROWS, 0),
            derived_left_out=max(len(_follows(content.table)) - _MOST_ROWS, 0),
            replaced=Grid(
                ["parameter", "prior now", "unit", "chosen as"],
                [[each.path, each.prior, each.unit, each.why] for each in content.replaced],
                text_columns=4,
            ),
            settings=Grid(["option", ""], [[name, str(value)] for name, value in content.settings.items()], 1),
            timings=Grid(["stage", "time"], [[name, seconds(value)] for name, value in content.timings.items()]),
            software=Grid(["software", ""], [[name, value[:24]] for name, value in content.software.items()], 2),
        )
    )


def _facts(content: PosteriorContent) -> list[tuple[str, str]]:
    posterior, found = content.posterior, content.posterior.diagnosis
    chains, draws = posterior.shape
    facts = [("draws", f"{chains} chains of {draws:,}"), ("free numbers", f"{np.sum(~content.table['derived']):,}")]
    if found is not None:
        facts += [
            ("largest R-hat", f"{found.worst_rhat:.3f}"),
            ("fewest effective draws", f"{min(found.least_bulk, found.least_tail):,.0f}"),
            ("divergent", f"{found.divergences}"),
        ]
    if posterior.khat is not None:
        facts.append(("Pareto k-hat", f"{posterior.khat:.2f}"))
    if content.timings:
        facts.append(("total time", seconds(content.timings.get("total", sum(content.timings.values())))))
    return facts


def _p_values(check: Check) -> Grid:
    heads = ["observation", "band", "p-value", "blocks above 3σ", "largest (σ)"]
    rows: list[list[str]] = []
    found = check.residuals
    if found is None:
        return Grid(heads, rows, text_columns=2)
    for name, own in found.observed.items():
        for band, p, excess in zip(own.bands, own.p_values, own.excess, strict=True):
            known = excess[np.isfinite(excess)]
            worst = f"{known.max():.1f}" if known.size else "–"
            said = p_text(float(p), found.size).removeprefix("= ")
            rows.append([name, band, said, f"{int(np.sum(known > 3))} of {known.size:,}", worst])
    return Grid(heads, rows, text_columns=2)


def _blocks(content: PosteriorContent) -> list[str]:
    found = content.check.residuals
    blocks = [] if found is None else found.outstanding()
    said = [describe(content.posterior, block) for block in blocks[:_MOST_BLOCKS]]
    return [*said, f"and {len(blocks) - _MOST_BLOCKS} more"] if len(blocks) > _MOST_BLOCKS else said


def _is_image(table: QTable) -> np.ndarray:
    return np.asarray(table["image"], bool)


def _sampled(table: QTable) -> QTable:
    return table[~_is_image(table) & ~np.asarray(table["derived"], bool)]


def _follows(table: QTable) -> QTable:
    return table[np.asarray(table["derived"], bool)]


def _numbers(table: QTable, *, with_prior: bool) -> Grid:
    heads = ["parameter" if with_prior else "quantity", "unit", "mean", "sd", "5 %", "16 %", "median", "84 %", "95 %"]
    heads += ["R-hat", "bulk", "tails", *(["prior"] if with_prior else [])]
    rows = []
    for row in table[:_MOST_ROWS]:
        name = f"{row['parameter']}[{row['element']}]" if row["element"] else str(row["parameter"])
        digits = int(np.clip(1 - np.floor(np.log10(row["sd"])), 0, 9)) if row["sd"] > 0 else 4
        numbers = [f"{float(row[key]):.{digits}f}" for key in ("mean", "sd", "p05", "p16", "p50", "p84", "p95")]
        quality = [_known(row["rhat"], ".3f"), _known(row["ess_bulk"], ",.0f"), _known(row["ess_tail"], ",.0f")]
        rows.append([name, str(row["unit"]), *numbers, *quality, *([str(row["prior"])] if with_prior else [])])
    return Grid(heads, rows, text_columns=2)


def _known(value: float, form: str) -> str:
    return format(float(value), form) if np.isfinite(value) else "–"


def _images(content: PosteriorContent) -> list[str]:
    """A sentence on the pixels of each free image."""
    table = content.table[_is_image(content.table)]
    return [
        f"{path}: {len(own):,} pixels, largest R-hat {_known(np.max(own['rhat']), '.3f')}, "
        f"fewest effective draws {_known(np.min(own['ess_bulk']), ',.0f')}"
        for path in dict.fromkeys(table["parameter"].tolist())
        for own in [table[table["parameter"] == path]]
    ]
