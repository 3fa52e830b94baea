"""The numbers of a run, and what a reader must know before trusting them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import QTable

from scarlet_sed.infer import FitResult
from scarlet_sed.io.config import Config
from scarlet_sed.io.flags import Flag
from scarlet_sed.io.provenance import commit, machine, peak_memory, versions
from scarlet_sed.report.goodness import BandGoodness, as_metrics
from scarlet_sed.report.truth import Comparison


@dataclass
class Clock:
    """Seconds by stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - before


def metrics(
    config: Config,
    fit: FitResult,
    catalog: QTable,
    measured: Mapping[str, Mapping[str, BandGoodness]],
    truth: Comparison | None,
    timings: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of a run, for metrics.json."""
    return {
        "status": fit.status.name,
        "advice": fit.status.advice,
        "sources": len(catalog),
        "flagged": int(np.sum(catalog["flags"] != 0)),
        "steps": fit.steps,
        "log_posterior": fit.log_posterior,
        "free_parameters": sum(int(np.size(p.value)) for p in fit.scene.parameters.values()),
        "models": {str(name): str(model) for name, model in zip(catalog["name"], catalog["model"], strict=True)},
        "bands": as_metrics(measured),
        "truth": None if truth is None else truth.metrics(),
        "warnings": list(notes),
        "timings_s": dict(timings),
        "fit_timing": fit.timing._asdict(),
        "compilations": fit.timing.compilations,
        "peak_memory_mb": peak_memory(),
        "seed": config.seed,
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
    }


def warnings_of(catalog: QTable, measured: Mapping[str, Mapping[str, BandGoodness]]) -> Iterator[str]:
    """What a reader must know before trusting the numbers."""
    for flag in (Flag.TRUNCATED, Flag.EDGE, Flag.CENTER_MASKED, Flag.ASTRAY):
        names = [str(n) for n, value in zip(catalog["name"], catalog["flags"], strict=True) if flag in Flag(int(value))]
        if names:
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            yield f"{flag.describe()}: {', '.join(names[:12])}{more}"
    for each in measured.values():
        for band, g in each.items():
            if g.noise_given > 1.3 * g.noise_estimated or g.noise_given < 0.77 * g.noise_estimated:
                yield (
                    f"{band}: the noise that was given is {g.noise_given / g.noise_estimated:.2f} times the scatter of "
                    "blank sky; compare the two chi-squares below"
                )
