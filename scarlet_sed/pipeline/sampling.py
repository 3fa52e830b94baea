"""From a fit on disk to draws from its posterior on disk."""

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from scarlet_sed.errors import FileFormatError
from scarlet_sed.infer.sampling.check import Check, check
from scarlet_sed.infer.sampling.derived import Derived, derived
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.export import save_posterior
from scarlet_sed.infer.sampling.proper import Proper, with_proper_priors
from scarlet_sed.infer.sampling.sample import sample
from scarlet_sed.infer.sampling.status import SampleStatus
from scarlet_sed.infer.sampling.summary import summary_table
from scarlet_sed.io.fit_folder import OBSERVATIONS, SCENE, load_fit
from scarlet_sed.io.outputs import output_folder, plain, write_bytes, write_catalog, write_json, write_text
from scarlet_sed.io.provenance import commit, machine, peak_memory, versions
from scarlet_sed.pipeline.kept import Kept, brightest, keep
from scarlet_sed.pipeline.metrics import Clock
from scarlet_sed.pipeline.sample_options import SampleOptions
from scarlet_sed.report.pictures import embed_png, png
from scarlet_sed.report.posterior import PosteriorContent, posterior_figures, render_posterior

CHAINS = "chains"
SETTINGS = "settings.json"

WRITTEN = {
    "posterior.nc": "draws, and what follows from them, for xarray.open_datatree or ArviZ",
    "summary.fits": "one row a number, sampled or derived: mean, quantiles, R-hat, effective draws; also as .ecsv",
    "diagnostics.json": "numbers of the run",
    SETTINGS: "what was sampled: options, sources that are free, priors that gave way",
    "residuals.png": "picture: data against the posterior's predictions",
    "chains.png": "picture: the numbers that are hardest to sample, draw by draw",
    "ranks.png": "picture: ranks of their draws, chain by chain",
    "posterior.html": "report: open it in a browser",
}
"""What sampling may leave in its folder, beside a corner plot of each source, maps of dust, and the chains."""
_DPI = 100


@dataclass(frozen=True, eq=False)
class Sampled:
    """What sampling left.

    Args:
        folder: where the files are.
        posterior: the draws.
        check: what is to be said of them; None without draws.
        kept: which sources were free.
        proper: which priors gave way.
        timings: seconds by stage.
    """

    folder: Path
    posterior: Posterior
    check: Check | None
    kept: Kept
    proper: Proper
    timings: Mapping[str, float]

    @property
    def interrupted(self) -> bool:
        """Whether the user ended it early."""
        return self.posterior.status in (SampleStatus.INTERRUPTED, SampleStatus.WARMING_UP)

    def summary(self) -> str:
        """A few lines for a terminal."""
        status = self.posterior.status
        lines = [f"{status.name}: {status.advice}" if self.check is None else self.check.summary()]
        lines += [f"note: {note}" for note in notes_of(self.kept, self.proper)]
        lines.append(f"{'stopped' if self.interrupted else 'finished'} after {self.timings['total']:.0f} s; wrote")
        files = {**WRITTEN, CHAINS: "chains: the same command goes on from them"}
        lines += [f"  {self.folder / name} ({what})" for name, what in files.items() if (self.folder / name).exists()]
        if self.interrupted:
            lines.append("run the same command again to go on from here")
        return "\n".join(lines)


def run_sample(
    fit: str | Path, out: str | Path | None = None, options: SampleOptions | None = None, *, progress: bool = True
) -> Sampled:
    """Sample the posterior of a fit that `run_fit` left in a folder, and write draws, table and report.

    Chains are kept as they grow: the same call goes on from them, to more draws if it asks for more.

    Args:
        fit: the folder of the fit.
        out: for the results; `posterior` in the fit's folder by default.
        options: how; the defaults if None.
        progress: whether to show a progress bar on a terminal.

    Raises:
        ScarletSEDError: for a folder without a fit, sources that do not exist, chains of something else.
    """
    began, clock, asked = time.perf_counter(), Clock(), options or SampleOptions()
    with clock.stage("read"):
        fitted = load_fit(fit)
        kept = keep(fitted.scene, fitted.observations, asked.sources)
        proper = with_proper_priors(kept.scene, fitted.observations)
    folder = output_folder(Path(fit) / "posterior" if out is None else out)
    settings = _settings(Path(fit), asked, kept, proper)
    _require_same(folder, settings)
    write_json(folder / SETTINGS, settings)
    with clock.stage("sample"):
        posterior = sample(
            proper.scene,
            proper.observations,
            chains=asked.chains,
            warmup=asked.warmup,
            draws=asked.draws,
            seed=asked.seed,
            target_accept=asked.target_accept,
            marginalize=asked.marginalize,
            moves=None if asked.moves is None else _moves(asked.moves),
            checkpoint=folder / CHAINS,
            progress=progress,
        )
    found = None
    if posterior.diagnosis is not None:
        with clock.stage("check"):
            found = check(posterior, seed=asked.seed)
        with clock.stage("derive"):
            quantities = derived(posterior, sources=kept.free)
        content = PosteriorContent(
            title=Path(fit).resolve().name,
            posterior=posterior,
            check=found,
            table=summary_table(posterior, quantities),
            sources=[name for name in brightest(fitted.scene, fitted.observations) if name in kept.free],
            notes=notes_of(kept, proper),
            replaced=proper.replaced,
            settings={_flag(name): _said(value) for name, value in settings["options"].items()},
        )
        write(folder, content, quantities, settings, clock, began)
    timings = clock.seconds | {"total": time.perf_counter() - began}
    return Sampled(folder, posterior, found, kept, proper, timings)


def write(
    folder: Path,
    content: PosteriorContent,
    quantities: Mapping[str, Derived],
    settings: Mapping[str, Any],
    clock: Clock,
    began: float,
) -> None:
    """Write draws, table, pictures, report and numbers.

    Args:
        folder: that there is.
        content: of the report.
        quantities: what `derived` made of the draws.
        settings: what was sampled.
        clock: of the stages so far.
        began: `time.perf_counter` then.
    """
    with clock.stage("write"):
        save_posterior(content.posterior, folder / "posterior.nc", quantities)
        write_catalog(folder, content.table, "summary")
    with clock.stage("pictures"):
        pictures = {}
        for name, figure in posterior_figures(content):
            made = png(figure, _DPI)
            write_bytes(folder / f"{file_stem(name)}.png", made)
            pictures[name] = embed_png(made)
    timings = clock.seconds | {"total": time.perf_counter() - began}
    software = versions() | {"commit": commit() or "not a checkout", "device": str(machine()["device"])}
    page = replace(content, timings=timings, software=software)
    write_text(folder / "posterior.html", render_posterior(page, pictures))
    write_json(folder / "diagnostics.json", _numbers(content, settings, timings))


def file_stem(name: str) -> str:
    """A picture's name as one of a file; names of sources may hold anything."""
    return re.sub(r"[^\w+-]", "_", name)


def _numbers(content: PosteriorContent, settings: Mapping[str, Any], timings: Mapping[str, float]) -> dict[str, Any]:
    """The numbers of a run, for diagnostics.json."""
    posterior, found = content.posterior, content.check
    diagnosis = posterior.diagnosis
    assert diagnosis is not None and found.residuals is not None
    return {
        "status": posterior.status.name,
        "advice": posterior.status.advice,
        "chains": posterior.shape[0],
        "draws": posterior.shape[1],
        "numbers": int((~content.table["derived"]).sum()),
        "worst_rhat": diagnosis.worst_rhat,
        "least_ess_bulk": diagnosis.least_bulk,
        "least_ess_tail": diagnosis.least_tail,
        "divergences": diagnosis.divergences,
        "energy": diagnosis.energy,
        "leapfrogs": diagnosis.leapfrogs,
        "warmup_leapfrogs": posterior.warmup_leapfrogs,
        "hardest": found.hardest,
        "p_values": found.p_values,
        "p_value_draws": found.residuals.size,
        "doubts": found.doubts,
        "outstanding": [block._asdict() for block in found.residuals.outstanding()],
        "settings": settings,
        "timings_s": timings,
        "sample_timing": posterior.timing._asdict(),
        "peak_memory_mb": peak_memory(),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
    }


def notes_of(kept: Kept, proper: Proper) -> list[str]:
    """What a reader must know of what was sampled."""
    notes = [kept.sentence()] if kept.frozen else []
    if proper.replaced:
        names = [each.path for each in proper.replaced]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        notes.append(
            f"flat priors gave way to weak ones, listed with their reasons in {SETTINGS}: {', '.join(names[:8])}{more}"
        )
    return notes


def _moves(posterior: str) -> Any:
    """Moves that an amortized posterior proposes."""
    # imported here, for flows take a second, which other samplers do without
    moves, file = (import_module(f"scarlet_sed.amortized.{name}") for name in ("moves", "file"))
    return moves.spectrum_moves(file.load_amortized(posterior))


def _settings(fit: Path, asked: SampleOptions, kept: Kept, proper: Proper) -> dict[str, Any]:
    """What draws depend on, and what else a reader wants to know."""
    options = asdict(asked) | {"sources": list(asked.sources) or "all"}
    return {
        "options": options,
        "fit": str(fit),
        "digest": _digest(fit),
        "free": list(kept.free),
        "frozen": list(kept.frozen),
        "priors_replaced": [each._asdict() for each in proper.replaced],
    }


def _digest(fit: Path) -> str:
    """Of the fit; the structures that are read name their arrays by content."""
    structures = [(fit / name / "scene.json").read_bytes() for name in (SCENE, OBSERVATIONS)]
    return hashlib.sha256(b"".join(structures)).hexdigest()


def _require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise `FileFormatError` if the folder holds chains that were begun with other settings, naming them."""
    path = folder / SETTINGS
    if not (path.exists() and any((folder / CHAINS).glob("*.npz"))):
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        old, digest = dict(before["options"]), before["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path} is damaged ({error}), so that nobody knows what the chains beside it are",
            fix=f"give another folder with --out, or delete {folder} to begin anew",
        ) from error
    now = plain(settings["options"])
    other = [name for name in now if name != "draws" and old.get(name) != now[name]]
    changes = [f"{_flag(name)} was {_said(old.get(name))} and is {_said(now[name])}" for name in other]
    if digest != settings["digest"]:
        changes.append("the fit is another one")
    if changes:
        raise FileFormatError(
            f"the chains in {folder / CHAINS} were begun otherwise: {'; '.join(changes)}",
            fix=f"ask for the same (only --draws may change), give another folder with --out, or delete {folder}",
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _said(value: Any) -> str:
    return (
        " ".join(str(each) for each in value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )
