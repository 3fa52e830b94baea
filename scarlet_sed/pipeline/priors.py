"""Priors on images: from galaxies made up by rules, or from a user's own, to a file."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.errors import DataError, FileFormatError
from scarlet_sed.files import atomic, user_cache
from scarlet_sed.io.scene_file import digest_of
from scarlet_sed.pipeline.prior_options import PriorOptions
from scarlet_sed.pipeline.relearning import relearnt
from scarlet_sed.priors.base import MorphologyPrior
from scarlet_sed.priors.energy import EnergyPrior
from scarlet_sed.priors.flow import FlowPrior
from scarlet_sed.priors.gate import sampling_gate
from scarlet_sed.priors.gaussian import GaussianImages
from scarlet_sed.priors.learning import HELD, Recipe, train_energy, train_flow
from scarlet_sed.priors.procedural import GALAXIES, stamps
from scarlet_sed.priors.shipped import KIND
from scarlet_sed.typing import HostArray
from scarlet_sed.weights import write_weights

Progress = Callable[[str], None]
_PART = 500
_OF_BASE = 6000
"""Images that the normal distribution is learnt from: more of them do not change it."""


def train_prior(options: PriorOptions, out: str, folder: str | None, minutes: float, progress: Progress) -> str:
    """Learn a prior for one sitting; returns what to do next.

    Args:
        options: what and how.
        out: an .npz file.
        folder: for images and checkpoint; run again with the same to go on.
        minutes: length of the sitting.
        progress: called with a line at times.

    Raises:
        DataError: if there are too few images.
        FileFormatError: for a name that does not end in `.npz`, or files that cannot be read.
    """
    start = time.monotonic()
    if Path(out).suffix != ".npz":
        raise FileFormatError(f"{out!r} is no .npz file", fix="give a name that ends in .npz")
    keep = user_cache() / "priors" if folder is None else Path(folder)
    keep.mkdir(parents=True, exist_ok=True)
    again = "not done: run the same command again to go on"
    known = _known(options, keep, start + 60 * minutes, progress)
    if known is None:
        return again
    base, images = known
    header: dict[str, Any] = {"shape": list(base.shape), "knee": base.knee}
    header |= {"options": options._asdict(), "images": digest_of([images[::97]])}
    header |= {"held": 0 if options.kind == "normal" and _of_stamps(options) else HELD}
    header |= {"recipe": GALAXIES._asdict()} if options.images is None else {}
    arrays = base.arrays()
    if options.kind != "normal":
        seconds = start + 60 * minutes - time.monotonic()
        learnt, told = _learnt(options, base, images, keep, seconds, progress)
        if not learnt:
            return again
        arrays |= learnt
        header |= told
    digest = write_weights(Path(out), arrays, header, KIND)
    verdict = f"; for fits only: {header['refusal']}" if header.get("refusal") else ""
    return f"wrote {out}, {Path(out).stat().st_size / 1e6:.1f} MB, {digest[:12]}{verdict}"


def _of_stamps(options: PriorOptions) -> bool:
    return options.images is not None and Path(options.images).suffix == ".npz"


def _known(
    options: PriorOptions, folder: Path, end: float, progress: Progress
) -> tuple[GaussianImages, HostArray] | None:
    """The normal distribution, and images for what builds on it; None if time was up."""
    if _of_stamps(options):
        return relearnt(options, folder, end, progress)
    images = _made(options, folder, end, progress) if options.images is None else _read(options.images)
    if images is None:
        return None
    if len(images) <= HELD:
        raise DataError(f"{len(images)} images", fix=f"give more than {HELD}: so many are held back")
    base = GaussianImages.of(images[HELD:_OF_BASE], rank=options.axes)
    progress(f"normal distribution of {len(images[HELD:_OF_BASE])} images along {base.deviations.size} axes")
    return base, images


def _learnt(
    options: PriorOptions, base: GaussianImages, images: HostArray, folder: Path, seconds: float, progress: Progress
) -> tuple[dict[str, HostArray], dict[str, Any]]:
    """Weights of a flow or an energy and what the header says of them; nothing where training has not ended."""
    recipe = Recipe(width=options.width, steps=options.steps)
    checkpoint = folder / f"{options.kind}-{digest_of([options._asdict()])[:12]}.checkpoint"
    prior: MorphologyPrior
    if options.kind == "flow":
        flow, record, finished = train_flow(
            base, images, options.level, recipe, checkpoint, seconds=seconds, progress=progress
        )
        prior, arrays = FlowPrior(flow), flow.bends.arrays()
    else:
        energy, record, finished = train_energy(base, images, recipe, checkpoint, seconds=seconds, progress=progress)
        energy = energy.at(options.level)
        prior, arrays = EnergyPrior(energy), energy.network.arrays()
    if not finished:
        return {}, {}
    gate = sampling_gate(prior, images[:HELD], progress=progress)
    progress(", ".join(f"{name} {value:.3g}" for name, value in gate._asdict().items()))
    told = {"training": asdict(recipe), "record": record, "gate": gate._asdict(), "refusal": gate.refusal}
    return arrays, {"level": options.level, **told}


def _made(options: PriorOptions, folder: Path, end: float, progress: Progress) -> HostArray | None:
    """Images by the rules, some at a time; None if time was up."""
    parts = []
    for first in range(0, options.galaxies, _PART):
        path = folder / f"galaxies-{options.side}-{options.seed}-{first:06d}.npy"
        if not path.exists():
            if time.monotonic() > end:
                return None
            made = stamps(_PART, options.side, options.seed, first=first)
            with atomic(path) as temporary:
                np.save(temporary, made)
            progress(f"{first + _PART} galaxies of {options.galaxies}")
        parts.append(np.load(path, allow_pickle=False))
    return np.concatenate(parts)[: options.galaxies]


def _read(path: str) -> HostArray:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:
        raise FileFormatError(f"cannot read images from {path!r} ({error})", fix="give a .npy file") from error
