"""Amortized posteriors from the command line: training, judging, redshifts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from scarlet_sed.amortized.assess import Assessed, assess, simulations
from scarlet_sed.amortized.file import load_amortized, read_amortized
from scarlet_sed.amortized.learn import join_amortized, train_amortized
from scarlet_sed.amortized.photoz import photoz
from scarlet_sed.amortized.posterior import ends_of
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.training import Recipe
from scarlet_sed.amortized.trust import distance_of
from scarlet_sed.distributions import LogUniformRedshift
from scarlet_sed.errors import ConfigError, DataError, UnitError
from scarlet_sed.files import atomic, user_cache
from scarlet_sed.io.outputs import write_json
from scarlet_sed.io.posterior_config import SurveyTable, read_posterior_config
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.pipeline.tables import read_table
from scarlet_sed.spectrum.priors import deep_field_population
from scarlet_sed.typing import HostArray


def train_posterior(
    config: str,
    changes: Sequence[str],
    out: str,
    folder: str | None,
    minutes: float,
    start_from: str | None,
    progress: Callable[[str], None],
) -> str:
    """Train for one sitting; returns what to do next."""
    given = read_posterior_config(config, changes)
    filters = Filters.load(list(given.survey.bands))
    training = given.training
    recipe = Recipe(
        steps=training.steps,
        batch=training.batch,
        learning_rate=training.learning_rate,
        library=training.library,
        free=given.redshift.free,
        parts=training.parts,
        seed=training.seed,
    )
    made = train_amortized(
        deep_field_population(given.spectrum.history, bins=given.spectrum.bins),
        filters,
        _survey(given.survey, filters),
        LogUniformRedshift(given.redshift.min, given.redshift.max),
        user_cache() / "amortized" if folder is None else Path(folder),
        Path(out),
        recipe,
        start_from=start_from,
        seconds=60 * minutes,
        progress=progress,
    )
    if made is None:
        return "not done yet: run the same command again to go on"
    return _written(out)


def join_posterior(numbers: str, redshift: str, out: str) -> str:
    """Write one posterior of two parts; returns what it wrote."""
    join_amortized(numbers, redshift, Path(out))
    return _written(out)


def _written(out: str) -> str:
    return f"  {out}  posterior, {Path(out).stat().st_size / 1e6:.1f} MB"


def evaluate_posterior(
    path: str,
    *,
    objects: int,
    draws: int,
    missing: list[int],
    free: bool,
    seed: int,
    out: str | None,
    progress: Callable[[str], None],
) -> str:
    """Judge a posterior on simulated objects of the survey that it was trained for; returns a table."""
    posterior, record = read_amortized(path)
    survey = Survey.of_plain(record["record"]["survey"])
    made = simulations(posterior, survey, objects, seed)
    found = assess(posterior, made, missing=missing, known=not free, draws=draws, seed=seed, progress=progress)
    if out is not None:
        rows, joint = ([row._asdict() for row in each] for each in (found.rows, found.joint))
        write_json(Path(out), {"posterior": str(path), "free": free, "rows": rows, "joint": joint})
    return "\n".join(table_of(found))


def table_of(found: Assessed) -> Iterator[str]:
    """The lines of a table."""
    yield f"{'':34s}     S/N missing      n    bias     rms     R2  68 %  95 %  width    PIT"
    for r in found.rows:
        yield (
            f"{r.quantity:34s}{r.signal[0]:4.0f}-{r.signal[1]:<3.0f}{r.missing:8d}{r.objects:7d}{r.bias:+8.3f}"
            f"{r.rms:8.3f}{r.r2:7.3f}{r.within68:6.2f}{r.within95:6.2f}{r.width:7.3f}{r.pit:7.3f}"
        )
    for j in found.joint:
        yield (
            f"{'all together (TARP)':34s}{j.signal[0]:4.0f}-{j.signal[1]:<3.0f}{j.missing:8d}{j.objects:7d}"
            f"   largest deviation {j.deviation:.3f} +- {j.error:.3f}"
        )


def run_photoz(
    catalog: str, posterior: str, out: str, columns: tuple[str, str], identity: str | None, known: str | None = None
) -> str:
    """Redshifts of a catalogue of fluxes, as a table with the densities in it; returns a summary.

    Rows without a flux, or with an error that is none, have no redshift: NaN, and the summary counts them.

    Args:
        catalog: a table with fluxes and errors in the posterior's bands (nJy where it has no units).
        posterior: a file of `train_posterior`.
        out: a FITS file.
        columns: how the table calls fluxes and errors, with {band} in them.
        identity: a column to copy; row numbers by default.
        known: a column of spectroscopic redshifts, by which all densities are made as wide as they should be.
    """
    learnt, rows = load_amortized(posterior), read_table(Path(catalog), "the working directory")
    assert rows is not None
    for name in (identity, known):
        if name is not None and name not in rows.colnames:
            raise ConfigError(f"{catalog} has no column {name!r}", fix=f"choose among {', '.join(rows.colnames[:20])}")
    fluxes, errors = (
        _columns(rows, name, learnt.filters.names, Path(catalog), f"say with {flag} how they are called")
        for name, flag in zip(columns, ("--flux", "--error"), strict=True)
    )
    own = learnt.usable(fluxes, errors)
    if not own.any():
        raise DataError(f"no row of {catalog} has a flux with an error", fix="check columns and units")
    found = photoz(learnt, fluxes[own], errors[own])
    wider = ""
    if known is not None:
        power = found.power_of(np.ma.filled(np.ma.asarray(rows[known], float), np.nan)[own])
        found = found.tempered(power)
        wider = f"densities to the power of {power:.2f}, as the redshifts of {known} ask for"
    places = np.stack([*found.quantiles, found.mode], axis=1)
    unusual = distance_of(learnt, fluxes[own], errors[own], np.clip(places, *ends_of(learnt.redshift))) > 1

    def every(values: np.ndarray, otherwise: Any = np.nan) -> np.ndarray:
        whole = np.full((len(rows), *values.shape[1:]), otherwise, values.dtype)
        whole[own] = values
        return whole

    present = np.isfinite(fluxes) & np.isfinite(errors)
    table = QTable(
        {
            "id": np.arange(len(rows)) if identity is None else rows[identity],
            "redshift": every(found.quantiles[1]),
            "redshift_p16": every(found.quantiles[0]),
            "redshift_p84": every(found.quantiles[2]),
            "redshift_mode": every(found.mode),
            "odds": every(found.odds),
            "bands": present.sum(axis=1).astype(np.int16),
            "unusual": every(unusual, True),
            "density": every(found.density),
        }
    )
    with atomic(Path(out)) as temporary:
        tables = [fits.table_to_hdu(table), fits.table_to_hdu(QTable({"redshift": found.grid}))]
        tables[0].name, tables[1].name = "PHOTOZ", "GRID"
        for line in (*_PHOTOZ_COLUMNS, *([wider] if wider else [])):
            tables[0].header.add_comment(line)
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(temporary, overwrite=True)
    sure = 100 * np.mean(found.odds > 0.9)
    lost = "" if own.all() else f", {np.sum(~own)} rows without (no flux, or an error that is none)"
    return (
        f"  {out}  {own.sum()} redshifts, {sure:.0f} % of them with odds above 0.9, "
        f"{100 * np.mean(unusual):.0f} % of objects unlike the training{lost}{wider and '; '}{wider}"
    )


_PHOTOZ_COLUMNS = (
    "redshift, redshift_p16, redshift_p84: median, 16 and 84 percent; redshift_mode: of the highest density",
    "odds: probability within 0.06 (1 + z) of the mode",
    "bands: how many have a flux; unusual: fluxes or errors unlike those of the training",
    "density: probability per unit redshift, at the redshifts of the table GRID",
)


def _survey(table: SurveyTable, filters: Filters) -> Survey:
    others: dict[str, Any] = {
        "floor": table.floor,
        "missing": table.missing,
        "most": table.most,
        "least": table.least,
        "detecting": tuple(Filters.load(list(table.detecting)).names) if table.detecting else None,
    }
    given = {"common": table.common, "scatter": table.scatter}
    others |= {name: value for name, value in given.items() if value is not None}
    if table.catalog is None:
        return Survey.of(filters, table.depth, **others)
    rows = read_table(table.catalog)
    assert rows is not None
    cure = "say in `survey.columns` how they are called"
    columns = [_columns(rows, name, table.bands, table.catalog, cure) for name in table.columns]
    return Survey.fitted(filters, *columns, **others)


def _columns(rows: QTable, name: str, bands: Sequence[str], path: Path, cure: str) -> HostArray:
    """(row, band) nJy."""
    return np.stack([_column(rows, name.replace("{band}", band), path, cure) for band in bands], axis=1)


def _column(rows: QTable, name: str, path: Path, cure: str) -> HostArray:
    """(row,) nJy; a column without a unit is taken to be in nJy."""
    if name not in rows.colnames:
        raise ConfigError(f"{path} has no column {name!r}", fix=cure)
    column = rows[name]
    if getattr(column, "unit", None) is not None:
        try:
            column = u.Quantity(column).to(u.nJy).value
        except (u.UnitConversionError, u.UnitTypeError, TypeError) as error:
            raise UnitError(
                f"{path} has the column {name!r} in {column.unit}", fix="give fluxes in a unit such as nJy"
            ) from error
    found: HostArray = np.ma.filled(np.ma.asarray(column, float), np.nan)
    return found
