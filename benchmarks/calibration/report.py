"""The report of a calibration study, complete or not: tables as markdown, and figures.

usage: python benchmarks/calibration/report.py

Reads the archived trials of benchmarks/calibration/trials, and writes REPORT.md and figures/ beside them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import figures
import numpy as np
from archive import FOLDER, Archive, load
from kinds import KINDS, Kind
from scipy import stats

from scarlet_sed.infer.calibration.assess import LEVELS, Assessment, assess
from scarlet_sed.infer.sampling.status import ENOUGH

sys.path.insert(0, str(FOLDER.parents[1] / "ours"))
from table import markdown

CAUGHT = 1e-6
"""The p-value below which a planted bias counts as caught."""
LEVEL = 0.01
"""Of all numbers together."""
FEW = 100
"""Trials below which their truths do not tell the width of a prior."""
TESTS = {"ks": "Kolmogorov-Smirnov", "spread": "chi-square of normal scores", "band": "band of the distribution"}
JOINT = "all together (TARP)"
HEAD = """Truths are drawn from the priors of a scene, images from the truths, and draws from the posteriors of these
images. If all is right, the rank of a truth among its draws is uniform (Talts et al. 2018, arXiv:1804.06788), for every
number and for the log-likelihood. Ranks are spread over their own share of the unit interval, so that tests for
continuous numbers are exact. *KS p* sees shifts, *spread p* (the sum of squared normal scores against chi-square)
posteriors that are too narrow (*variance* above one) or too wide, *band p* anything (but it is never below 1/4001);
*bias* is the mean normal score. *68 %* and *95 %* are the shares of truths in central intervals. *Learnt* is one less
the ratio of posterior to prior variance; as variances come from few draws, it is about 0.05 where nothing is learnt.
TARP (Lemos et al. 2023, arXiv:2302.03026) looks at all parameters at once. A kind **passes** if no KS p and no spread p
falls below 0.01 / (number of numbers). Draws that hang together make ranks pile up at both ends, as if posteriors were
too narrow: therefore the shares of trials with too few effective draws, of their worst number."""


class Study(NamedTuple):
    """What is known of a kind.

    Args:
        name: of the kind.
        kind: what it is.
        archive: its trials.
        found: what they say together.
    """

    name: str
    kind: Kind
    archive: Archive
    found: Assessment

    @property
    def limit(self) -> float:
        """Below which a p-value of one number is too small."""
        return LEVEL / len(self.found.rows)

    @property
    def counted(self) -> str:
        """How many trials of how many."""
        return f"{len(self.archive.trials)} of {self.kind.wanted}"

    def least(self, test: str) -> tuple[float, str]:
        """The least p-value of a test, and of which number."""
        return min((getattr(row.test, test), row.name) for row in self.found.rows)

    def culprit(self) -> tuple[float, str, str]:
        """The least of all p-values, by which test, and of which number."""
        every = [(row.name, row.test) for row in self.found.rows] + [(JOINT, self.found.joint)]
        return min((getattr(found, test), label, name) for name, found in every for test, label in TESTS.items())

    def verdict(self) -> str:
        """In a word or two."""
        part = "" if len(self.archive.trials) >= self.kind.wanted else " so far"
        if self.kind.planted:
            return "caught" if self.culprit()[0] < CAUGHT else f"NOT CAUGHT{part}"
        return f"passed{part}" if self.found.passed(LEVEL) else f"FAILED{part}"


def summary(studies: dict[str, Study | None]) -> str:
    """A line a kind."""
    headings = ("kind", "trials", "verdict", "least KS p", "least spread p", "limit", "TARP KS p", "too few draws")
    rows = []
    for name, study in studies.items():
        if study is None:
            rows.append([name, f"0 of {KINDS[name].wanted}", "not begun", *["-"] * 5])
            continue
        least = (study.least("ks")[0], study.least("spread")[0], study.limit, study.found.joint.ks)
        rows.append([name, study.counted, study.verdict(), *(f"{p:.2g}" for p in least), f"{_few(study):.0%}"])
    return markdown(headings, rows)


def section(study: Study) -> list[str]:
    """All about one kind."""
    return [
        f"## {study.name}",
        f"{study.kind.what.capitalize()}. {_said(study)}",
        _sampling(study),
        _table(study),
        "Empirical less uniform distributions of ranks with simultaneous 99 % bands (red: a test of the table is below "
        "its limit); a bow is a shift, an S that rises first a posterior that is too narrow. Expected coverage by "
        "TARP. Coverage of each number, with 99 % bands for all numbers together (red: outside).",
        *(f"![{name} of {study.name}](figures/{study.name}-{name}.png)" for name in ("ranks", "tarp", "coverage")),
    ]


def _said(study: Study) -> str:
    joint = study.found.joint
    texts = [f"**{study.verdict()[0].upper()}{study.verdict()[1:]}**, {study.counted} trials."]
    if study.kind.planted:
        least, test, name = study.culprit()
        texts.append(f"The least p is {least:.2g}, by the {test} of {name}; below {CAUGHT:.0e} is asked for.")
    for test in ("ks", "spread"):
        least, name = study.least(test)
        texts.append(f"Least {TESTS[test]} p {least:.2g} ({name}), limit {study.limit:.2g}.")
    texts.append(f"TARP: KS p {joint.ks:.2g}, spread p {joint.spread:.2g}, band p {joint.band:.2g}.")
    return " ".join(texts)


def _sampling(study: Study) -> str:
    trials, settings = study.archive.trials, study.archive.settings
    drawn = settings["chains"] * settings["draws"]
    statuses = ", ".join(f"{count} {status}" for status, count in study.found.statuses.items())
    effective = np.array([t.effective for t in trials])
    never = f" (CONVERGED, which asks for {ENOUGH} effective draws, cannot be had)" if drawn < ENOUGH else ""
    texts = [
        f"{settings['chains']} chains of {settings['draws']} draws after {settings['warmup']} of warm-up, "
        f"{settings['keep']} of them ranked: {statuses}{never}.",
        f"{_few(study):.0%} of the trials have fewer effective draws of their worst number than are ranked; the median "
        f"is {np.median(effective):.0f}, that of the worst R-hat {np.median([t.rhat for t in trials]):.3f}.",
        f"{np.mean([t.divergences > 0 for t in trials]):.0%} have divergences.",
    ]
    few = effective < settings["keep"]
    if 0 < np.sum(few) < len(few):
        scores = stats.norm.ppf(study.found.places) ** 2
        texts.append(
            f"Mean squared normal score (one if uniform): {np.mean(scores[few]):.2f} of the trials with too few, "
            f"{np.mean(scores[~few]):.2f} of the others."
        )
    return " ".join(texts)


def _few(study: Study) -> float:
    """Share of trials with fewer effective draws than are ranked; not a number is too few."""
    return float(np.mean([not t.effective >= study.archive.settings["keep"] for t in study.archive.trials]))


def _table(study: Study) -> str:
    rows = []
    for row in study.found.rows:
        test, known = row.test, row is not study.found.rows[-1] and len(study.archive.trials) >= FEW
        small = [f"**{p:.2g}**" if p <= study.limit else f"{p:.2g}" for p in (test.ks, test.spread)]
        shares = [f"{row.coverage[LEVELS.index(level)]:.2f}" for level in figures.SHOWN]
        shares.append(f"{row.contraction:.2f}" if known else "-")
        rows.append([row.name, *small, f"{test.band:.2g}", f"{test.variance:.2f}", f"{test.bias:+.2f}", *shares])
    rows.append([JOINT, *(f"{value:.2g}" for value in study.found.joint), "-", "-", "-"])
    return markdown(("number", "KS p", "spread p", "band p", "variance", "bias", "68 %", "95 %", "learnt"), rows)


def write(folder: Path, path: Path) -> None:
    """Write the report of the archives in a folder, and its figures beside it."""
    studies: dict[str, Study | None] = {}
    for name, kind in KINDS.items():
        archive = load(folder / f"{name}.npz")
        studies[name] = None if archive is None else Study(name, kind, archive, assess(archive.trials))
    parts = ["# Calibration: whether posteriors mean what they say", HEAD, summary(studies)]
    for name, study in studies.items():
        if study is not None:
            for draw in (figures.ranks, figures.tarp, figures.coverage):
                draw(path.parent / "figures" / f"{name}-{draw.__name__}.png", study.found)
            parts += section(study)
    parts.append("By `make calibrate`, or by report.py alone from the archived trials.")
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(f"written: {path}")


def main() -> int:
    """Report what is archived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=Path, default=FOLDER, help="folder of the archives")
    parser.add_argument("--report", type=Path, default=FOLDER.parent / "REPORT.md")
    options = parser.parse_args()
    write(options.trials, options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
