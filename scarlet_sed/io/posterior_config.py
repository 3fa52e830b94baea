"""What an amortized posterior is trained for: a TOML file, checked before anything is drawn."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scarlet_sed.errors import ConfigError
from scarlet_sed.io.schema import build, option
from scarlet_sed.spectrum.priors import HISTORIES

_PARTS = ("numbers", "redshift")
"""Of networks; the first is always there."""


@dataclass(frozen=True)
class SpectrumTable:
    """The stellar population, with the priors of `ss.deep_field_population`."""

    history: str = option("delayed_tau", doc="the star-formation history", choices=HISTORIES)
    bins: int = option(7, doc="of age, for histories in bins", at_least=2)


@dataclass(frozen=True)
class RedshiftTable:
    """The redshift: uniform in ln(1 + z)."""

    min: float = option(0.02, doc="the lowest redshift", above=0)
    max: float = option(12.0, doc="the highest redshift", above=0, at_most=20)
    free: bool = option(True, doc="whether the posterior can be asked for redshifts too")


@dataclass(frozen=True)
class SurveyTable:
    """How well fluxes are measured."""

    bands: tuple[str, ...] = option(doc="names of filters")
    depth: tuple[float, ...] = option((), doc="standard deviation of each band's background in nJy")
    catalog: Path | None = option(None, doc="a table to take depths from, in place of `depth`")
    columns: tuple[str, str] = option(
        ("flux_{band}", "flux_error_{band}"), doc="how the table names fluxes and errors in nJy"
    )
    scatter: float | None = option(None, doc="dex by which depths vary from band to band (0.1)", at_least=0)
    common: tuple[float, float] | None = option(
        None, doc="dex, range of the factor of all depths of an object (-1 to 1, or what the table has)"
    )
    floor: tuple[float, float] = option((0.01, 0.05), doc="range of the relative error of zero points and models")
    missing: float = option(0.5, doc="share of objects that miss bands", at_least=0, at_most=1)
    most: float = option(0.7, doc="share of bands that may be missing", at_least=0, at_most=0.95)
    detecting: tuple[str, ...] = option((), doc="bands whose mean signal-to-noise makes an object; all by default")
    least: float = option(1.0, doc="that signal-to-noise", above=0)


@dataclass(frozen=True)
class TrainingTable:
    """How networks are trained."""

    steps: int = option(200_000, doc="of the optimiser", at_least=1)
    batch: int = option(256, doc="objects a step", at_least=8)
    learning_rate: float = option(1e-3, doc="after warm-up", above=0)
    library: int = option(1_000_000, doc="spectra drawn", at_least=1000)
    parts: tuple[str, ...] = option(_PARTS, doc="what is trained; the rest stays as it begins")
    seed: int = option(0, doc="of everything random", at_least=0)


@dataclass(frozen=True)
class PosteriorConfig:
    """The whole file."""

    survey: SurveyTable = option(doc="the survey")
    spectrum: SpectrumTable = option(doc="the spectrum", factory=SpectrumTable)
    redshift: RedshiftTable = option(doc="the redshift", factory=RedshiftTable)
    training: TrainingTable = option(doc="training", factory=TrainingTable)


def read_posterior_config(path: str | Path, changes: Sequence[str] = ()) -> PosteriorConfig:
    """Read and check a file.

    Args:
        path: of a TOML file.
        changes: lines of TOML that replace what it says, such as `training.steps = 1000`.

    Raises:
        ConfigError: if it cannot be read, or says something that makes no sense.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {str(path)!r} ({error})", fix="give a TOML file") from error
    for change in changes:
        try:
            _update(table, tomllib.loads(change))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"cannot read the change {change!r} ({error})", fix="give TOML such as training.steps=1000"
            ) from error
    config = build(PosteriorConfig, table, "", path.parent)
    if config.redshift.min >= config.redshift.max:
        raise ConfigError("`redshift.min` is not below `redshift.max`", fix="give an interval of redshift")
    if bool(config.survey.depth) == (config.survey.catalog is not None):
        raise ConfigError("give either `survey.depth` or `survey.catalog`", fix="depths in nJy, or a table of fluxes")
    if config.survey.catalog is not None and config.survey.scatter is not None:
        raise ConfigError("`survey.scatter` beside `survey.catalog`", fix="leave it out: the table says it")
    known = set(_PARTS if config.redshift.free else _PARTS[:1])
    parts = set(config.training.parts)
    if not (parts & known and parts <= set(_PARTS)):
        raise ConfigError(
            f"`training.parts` is {list(config.training.parts)}", fix=f"name some of {sorted(known)}, or leave it out"
        )
    if config.survey.depth and len(config.survey.depth) != len(config.survey.bands):
        raise ConfigError(
            f"`survey.depth` has {len(config.survey.depth)} numbers for {len(config.survey.bands)} bands",
            fix="give one for each",
        )
    return config


def _update(table: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            _update(table[key], value)
        else:
            table[key] = value
