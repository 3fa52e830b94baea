"""From a spectrum and a survey to an amortized posterior in a file, in as many sittings as it takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import numpyro.distributions as dist

from scarlet_sed.amortized.file import read_amortized, recipe_of, save_amortized
from scarlet_sed.amortized.model import Described, Library, library
from scarlet_sed.amortized.networks import PARTS, Networks
from scarlet_sed.amortized.posterior import AmortizedPosterior, ends_of
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.training import Recipe, begin, train, usual_of
from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.io.scene_file import digest_of
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.base import Spectrum

Progress = Callable[[str], None]


def train_amortized(
    spectrum: Spectrum,
    filters: Filters,
    survey: Survey,
    redshift: dist.Distribution,
    folder: Path,
    out: Path,
    recipe: Recipe,
    *,
    start_from: str | Path | None = None,
    seconds: float = 3300.0,
    progress: Progress = lambda _: None,
) -> AmortizedPosterior | None:
    """Draw a library of spectra, train on it, and write the posterior once the last step is reached.

    Args:
        spectrum: with priors on what is free, such as `ss.deep_field_population()`.
        filters: the bands.
        survey: how well they are measured.
        redshift: its prior, bounded above zero.
        folder: for library and checkpoint; run again with the same folder to go on.
        out: a name that ends in `.zip`.
        recipe: how.
        start_from: a posterior of the same spectrum, bands and sizes whose networks to go on from: with another seed,
            on other spectra.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the posterior, or None if there is training left to do.

    Raises:
        ParameterError: for a spectrum whose amplitude has no uniform prior.
        FileFormatError: if library or checkpoint belong to something else, or `start_from` does.
    """
    start = time.monotonic()
    described = Described.of(spectrum)
    tag = _tag(described, filters, redshift, recipe.library, recipe.seed)
    spectra = _kept_library(
        folder / f"library-{tag}.npz", described, redshift, filters, recipe.library, recipe.seed, progress
    )
    before: list[Any] = []
    if start_from is None:
        trained: tuple[str, ...] = ()
        standard, networks = begin(described, survey, spectra, ends_of(redshift), recipe)
    else:
        standard, networks, trained, before = _begun(start_from, described, filters, redshift, recipe)
    networks, record, finished = train(
        standard,
        survey,
        spectra,
        networks,
        recipe,
        folder / f"networks-{tag}-{digest_of([survey.plain, before, *recipe.parts])[:8]}.checkpoint",
        seconds=seconds - (time.monotonic() - start),
        progress=progress,
    )
    if not finished:
        return None
    usual = usual_of(standard, survey, spectra, networks, recipe)
    own = tuple(part for part in PARTS if part in {*recipe.parts, *trained})
    posterior = AmortizedPosterior(standard, networks, filters, redshift, usual, own)
    told = {"library": tag, "survey": survey.plain, "training": record, "before": before}
    save_amortized(posterior, out, recipe, told)
    return posterior


def join_amortized(numbers: str | Path, redshift: str | Path, out: Path) -> AmortizedPosterior:
    """Write one posterior of two, each of which knows a part: they share nothing, and may be trained side by side.

    Args:
        numbers: where the flow was trained.
        redshift: where the density of redshift was.
        out: a name that ends in `.zip`.

    Raises:
        FileFormatError: if a part was not trained, or they are not of one library, survey and size.
    """
    (first, told), (second, other) = read_amortized(numbers), read_amortized(redshift)
    for path, posterior, part in ((numbers, first, "numbers"), (redshift, second, "redshift")):
        if part not in posterior.trained:
            raise FileFormatError(
                f"the posterior {str(path)!r} was not trained on its {part}",
                fix="give the one of the numbers first, and that of the redshift second",
            )
    alike = (
        eqx.tree_equal((first.described, first.networks.expected), (second.described, second.networks.expected))
        and all(told["record"][key] == other["record"][key] for key in ("library", "survey"))
        and told["recipe"]["sizes"] == other["recipe"]["sizes"]
    )
    if not alike:
        raise FileFormatError(
            f"the posteriors {str(numbers)!r} and {str(redshift)!r} are of other spectra or surveys, or of other sizes",
            fix="train both with one configuration and seed but for training.parts, steps and batch",
        )
    networks = replace(first.networks, redshift=second.networks.redshift)
    joined = replace(first, networks=networks, trained=PARTS)
    record = {**other["record"], "before": [*other["record"].get("before", []), *_sittings(told)]}
    save_amortized(joined, out, recipe_of(other), record)
    return joined


def _sittings(told: dict[str, Any]) -> list[Any]:
    """How a posterior was trained, the last time last."""
    own = told["record"]
    last = {"recipe": told["recipe"], "library": own.get("library"), "last": own["training"][-1]}
    return [*own.get("before", []), last]


def _begun(
    path: str | Path, described: Described, filters: Filters, redshift: dist.Distribution, recipe: Recipe
) -> tuple[Described, Networks, tuple[str, ...], list[Any]]:
    """The spectrum and the networks of a posterior, which of them were trained, and how."""
    first, told = read_amortized(path)
    sizes = {name: list(v) if isinstance(v, tuple) else v for name, v in recipe.sizes._asdict().items()}
    # parameters of one name under other priors are other numbers to the networks
    theirs, ours = (
        digest_of([of.model.spectrum, bands, far])
        for of, bands, far in ((first.described, first.filters, first.redshift), (described, filters, redshift))
    )
    alike = theirs == ours and told["recipe"]["sizes"] == sizes and (first.networks.redshift is not None) == recipe.free
    if not alike:
        raise FileFormatError(
            f"the posterior {str(path)!r} is of another spectrum, other bands, priors, redshifts or sizes",
            fix="start from one of the same, or from nothing",
        )
    return first.described, first.networks, first.trained, _sittings(told)


def _tag(described: Described, filters: Filters, redshift: Any, count: int, seed: int) -> str:
    """A name for a library: a hash of what it is drawn from."""
    made = [described.model.spectrum, described.prior, filters, redshift, count, seed]
    return digest_of(made)[:12]


def _kept_library(
    path: Path, described: Described, redshift: Any, filters: Filters, count: int, seed: int, progress: Progress
) -> Library:
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as kept:
                return Library(*(as_float(kept[name]) for name in ("normal", "redshift", "flux")))
        except Exception as error:
            raise FileFormatError(f"cannot read the library {str(path)!r} ({error})", fix="remove it") from error

    def shown(done: int, of: int) -> None:
        if done % 64_000 == 0 or done == of:
            progress(f"spectra: {done} of {of}")

    found = library(described, redshift, filters, count, seed, shown)
    with atomic(path) as temporary:
        np.savez(temporary, normal=found.normal, redshift=found.redshift, flux=found.flux)
    return found
