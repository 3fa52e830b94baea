"""Priors on images from stamps with PSF and noise: a file of them to draws, round by round."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.errors import DataError, FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.infer.relearning import Round, draws_of_stamps, relearn
from scarlet_sed.infer.stamps import Stamps
from scarlet_sed.io.scene_file import digest_of
from scarlet_sed.pipeline.prior_options import PriorOptions
from scarlet_sed.priors.gaussian import GaussianImages
from scarlet_sed.priors.procedural import stamps as galaxies
from scarlet_sed.priors.shipped import KIND, read_prior
from scarlet_sed.typing import HostArray
from scarlet_sed.weights import write_weights

_NEEDED, _KNOWN = ("images", "weights", "psf"), ("images", "weights", "psf", "level")
_STARTING = 300
"""Galaxies made up that rounds begin with where no other prior is named."""
_WIDER = 1.0
"""Noise, in units of the coordinates, that these are seen through: a prior that is too narrow grows slowly."""


def read_stamps(path: str) -> Stamps:
    """Stamps from a file.

    Args:
        path: an .npz file without pickle: `images` (stamp, side, side) in any unit, `weights`, their inverse variances,
            `psf` (ny, nx), or (stamp, ny, nx) with one for each, sampled at the stamps' pixels and with these included;
            and, if the sky was left in, the deviation of its `level`, () or (stamp,).

    Raises:
        FileFormatError: if it cannot be read, or an array is missing or unknown.
        DataError, PSFError, ShapeError: see `Stamps.of`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:
        raise FileFormatError(f"cannot read stamps from {path!r} ({error})", fix="give an .npz file") from error
    missing, unknown = (sorted(set(a) - set(b)) for a, b in ((_NEEDED, arrays), (arrays, _KNOWN)))
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}, which nobody knows"
        raise FileFormatError(f"{path!r} {wrong}", fix="give images, weights, psf, and level if the sky was left in")
    if any(array.dtype.kind not in "biuf" for array in arrays.values()):
        raise DataError(f"an array in {path!r} holds no numbers", fix="give numbers")
    return Stamps.of(arrays["images"], arrays["weights"], arrays["psf"], arrays.get("level", 0.0))


def relearnt(
    options: PriorOptions, folder: Path, end: float, progress: Callable[[str], None]
) -> tuple[GaussianImages, HostArray] | None:
    """The prior of the last round, and the (galaxy draw, side, side) images that it was learnt from.

    Every round is kept in the folder, as a prior that can be loaded, and gone on from.

    Args:
        options: with `images`, a file for `read_stamps`.
        folder: for the rounds.
        end: of the sitting, by `time.monotonic`: no round begins after it.
        progress: called with a line for each round.

    Returns:
        both, or None if there is a round to be done.

    Raises:
        FileFormatError, DataError, PSFError, ShapeError: see `read_stamps`.
        ParameterError: for options that make no sense, or a first prior of other pixels.
    """
    assert options.images is not None
    stamps = read_stamps(options.images)
    made = {name: getattr(options, name) for name in ("axes", "draws", "start", "worth", "seed")}
    told = {**made, "stamps": digest_of([stamps])}
    name = f"relearnt-{digest_of([told])[:12]}"
    after, images = _last(folder, name, options.rounds), _path(folder, name, options.rounds).with_suffix(".npy")
    if after is not None and after[0] == options.rounds:
        if images.exists():
            return after[1], np.load(images, allow_pickle=False)
        after = _last(folder, name, options.rounds - 1)
    if time.monotonic() > end:
        return None
    rounds = relearn(
        _first(options, stamps),
        draws_of_stamps(stamps, options.draws),
        rounds=options.rounds,
        rank=options.axes,
        worth=options.worth,
        seed=options.seed,
        after=after,
    )
    for now in rounds:
        if now.number == options.rounds:
            with atomic(images) as temporary:
                np.save(temporary, now.drawn.by_galaxy)
        _keep(folder, name, now, told)
        progress(str(now))
        if now.number == options.rounds:
            return now.prior, now.drawn.by_galaxy
        if time.monotonic() > end:
            break
    return None


def _first(options: PriorOptions, stamps: Stamps) -> GaussianImages:
    """The prior that rounds begin with."""
    if options.start is not None:
        return GaussianImages.from_arrays(*read_prior(options.start))
    made = galaxies(_STARTING, stamps.shape[0], options.seed)
    return GaussianImages.of(made, rank=min(options.axes, 4 * _STARTING)).seen_through(_WIDER)


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}-{number:03d}.npz"


def _last(folder: Path, name: str, most: int) -> tuple[int, GaussianImages] | None:
    """Number and prior of the last round that is there."""
    for number in range(most, 0, -1):
        path = _path(folder, name, number)
        if path.exists():
            return number, GaussianImages.from_arrays(*read_prior(path))
    return None


def _keep(folder: Path, name: str, now: Round, told: dict[str, Any]) -> None:
    header = {"shape": list(now.prior.shape), "knee": now.prior.knee, "round": now.number, "relearnt": told}
    write_weights(_path(folder, name, now.number), now.prior.arrays(), header, KIND)
