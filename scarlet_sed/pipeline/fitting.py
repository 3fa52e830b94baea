"""From a configuration to results on disk."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import QTable

from scarlet_sed.demo_scene import write_demo
from scarlet_sed.infer import FitResult, truncated
from scarlet_sed.io.catalog import build_catalog, component_table
from scarlet_sed.io.config import read_config
from scarlet_sed.io.fit_folder import save_fit
from scarlet_sed.io.inputs import read_observations
from scarlet_sed.io.outputs import output_folder, write_catalog, write_figure, write_json, write_text
from scarlet_sed.io.propagation import Correlations
from scarlet_sed.io.provenance import commit, machine, versions
from scarlet_sed.pipeline.metrics import Clock, metrics, warnings_of
from scarlet_sed.pipeline.starting import start_and_fit
from scarlet_sed.pipeline.tables import read_table
from scarlet_sed.report.goodness import BandGoodness, goodness
from scarlet_sed.report.page import Content, field_figures, render_report
from scarlet_sed.report.truth import Comparison, compare

WRITTEN = {
    "field.png": "picture: data, model, residual",
    "residuals.png": "picture: residual of each band in sigma",
    "catalog.fits": "catalogue, also as .ecsv",
    "components.fits": "components of sources that are sums, also as .ecsv",
    "scene": "the fitted scene, for ss.load_scene",
    "observations": "the data as they were fitted, for ss.load_scene and `scarlet-sed sample`",
    "metrics.json": "numbers of the run",
    "report.html": "report: open it in a browser",
}
"""What a run may leave in its folder."""


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        folder: where the files are.
        fit: the result.
        catalog: as written.
        goodness: by observation and band.
        truth: the comparison with the truth table, if one was given.
        warnings: what to read first.
        timings: seconds by stage.
    """

    folder: Path
    fit: FitResult
    catalog: QTable
    goodness: Mapping[str, Mapping[str, BandGoodness]]
    truth: Comparison | None
    warnings: tuple[str, ...]
    timings: Mapping[str, float]

    def summary(self) -> str:
        """A few lines for a terminal."""
        chi2 = [g.chi2_estimated for each in self.goodness.values() for g in each.values()]
        lines = [
            f"{len(self.catalog)} sources, {self.fit.steps} steps, {self.fit.status.name}: {self.fit.status.advice}",
            f"chi-square against the estimated noise {np.mean(chi2):.3f} (mean of {len(chi2)} bands)",
            *([self.truth.summary()] if self.truth else []),
            *(f"note: {warning}" for warning in self.warnings),
            f"finished after {self.timings['total']:.0f} s; wrote",
            *(f"  {self.folder / name} ({what})" for name, what in WRITTEN.items() if (self.folder / name).exists()),
        ]
        return "\n".join(lines)


def run_fit(config_path: str | Path, out: str | Path, *, progress: bool = True) -> Outcome:
    """Read, detect, start, fit, and write catalogue, scene, metrics and report.

    Args:
        config_path: the TOML file.
        out: folder for the results, made if needed.
        progress: whether to show progress bars on a terminal.

    Raises:
        ScarletSEDError: for bad input, naming the cure. Nothing is left half-written.
    """
    began, clock = time.perf_counter(), Clock()
    config = read_config(config_path)
    folder = output_folder(out)
    with clock.stage("read"):
        given = read_observations(config)
        truth_table = read_table(config.output.truth)
    begun = start_and_fit(config, given, clock.stage, progress=progress)
    fit = begun.fit
    with clock.stage("catalogue"):
        lost = truncated(fit.scene, fit.observations)
        laplace = fit.laplace
        catalog = build_catalog(
            fit.scene,
            fit.observations,
            uncertainties=fit.uncertainties,
            correlations=None if laplace is None else Correlations(laplace.order, laplace.covariance),
            truncated=lost,
            converged=fit.status.success,
        )
        by_name = {o.name: o for o in given}
        measured = {o.name: goodness(by_name[o.name], o, fit.models[o.name]) for o in fit.observations}
        truth = None if truth_table is None else compare(catalog, truth_table)
        write_catalog(folder, catalog)
        components = component_table(fit.scene, fit.observations, uncertainties=fit.uncertainties)
        if len(components) > len(catalog):
            write_catalog(folder, components, "components")
        if config.output.scene:
            save_fit(folder, fit.scene, fit.observations)
    notes = (*begun.notes, *warnings_of(catalog, measured))
    if config.output.report:
        with clock.stage("report"):
            software = versions() | {"commit": commit() or "not a checkout", "device": str(machine()["device"])}
            content = Content(
                title=config.output.title or Path(config_path).resolve().parent.name,
                fit=fit,
                catalog=catalog,
                goodness=measured,
                warnings=notes,
                timings=clock.seconds | {"total": time.perf_counter() - began},
                software=software,
                truth=truth,
                populated=begun.populated,
                config_text=Path(config_path).read_text(encoding="utf-8"),
            )
            figures = field_figures(fit)
            write_text(folder / "report.html", render_report(content, figures))
            for name, figure in figures.items():
                write_figure(folder / f"{name}.png", figure)
    timings = clock.seconds | {"total": time.perf_counter() - began}
    write_json(folder / "metrics.json", metrics(config, fit, catalog, measured, truth, timings, notes))
    return Outcome(folder, fit, catalog, measured, truth, notes, timings)


def run_demo(out: str | Path, seed: int = 1, *, progress: bool = True) -> Outcome:
    """Draw a field with GalSim into `out`/images and fit it as `run_fit` would anyone's files.

    Args:
        out: folder for the images and the results.
        seed: of everything random.
        progress: whether to show progress bars on a terminal.
    """
    return run_fit(write_demo(output_folder(out) / "images", seed), out, progress=progress)
