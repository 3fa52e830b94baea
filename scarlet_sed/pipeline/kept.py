"""Which sources stay free when a fit is gone on from: all, the brightest, or those that are named."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scarlet_sed.errors import ParameterError, SourceError
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.propagation import all_errors, parts_of
from scarlet_sed.parameters import resolve
from scarlet_sed.paths import replace_slots
from scarlet_sed.scene.scene import Scene


class Kept(NamedTuple):
    """A scene of which some sources are frozen where the fit left them.

    Args:
        scene: with the others.
        free, frozen: names of sources.
    """

    scene: Scene
    free: tuple[str, ...]
    frozen: tuple[str, ...]

    def sentence(self) -> str:
        """What a reader must know; nothing if all are free."""
        if not self.frozen:
            return ""
        return (
            f"free are {_listed(self.free)} and what is free of the observations (sky, shift, calibration); "
            f"{_listed(self.frozen)} {'stay' if len(self.frozen) > 1 else 'stays'} as fitted, so that errors do not "
            "hold what is uncertain there"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more sources" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more


def keep(scene: Scene, observations: Sequence[Observation], wanted: Sequence[str]) -> Kept:
    """Freeze all sources but some.

    Args:
        scene: at the fit.
        observations: whose bands brightness is summed over.
        wanted: names of sources; or one number, for that many of the brightest; or nothing, for all.

    Raises:
        SourceError: for a name that no source has, or a number below one.
        ParameterError: if nothing of what is kept is free.
    """
    names = tuple(_named(scene, observations, wanted)) if wanted else tuple(scene.sources)
    held = {path: leaf.value for path, leaf in scene.parameters.items() if path.split(".", 1)[0] not in names}
    kept = replace_slots(scene, held)
    if not kept.parameters:
        raise ParameterError(
            f"nothing is free in {_listed(names)}",
            fix="keep sources with free parameters, or free some of the scene that was fitted",
        )
    return Kept(kept, names, tuple(name for name in scene.sources if name not in names))


def _named(scene: Scene, observations: Sequence[Observation], wanted: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in wanted if name not in scene.sources]
    if len(wanted) == 1 and unknown and wanted[0].lstrip("-").isdigit():
        if int(wanted[0]) < 1:
            raise SourceError(f"{wanted[0]} sources are to be kept", fix="keep at least one")
        return brightest(scene, observations)[: int(wanted[0])]
    if unknown:
        known = _listed(tuple(scene.sources))
        raise SourceError(
            f"there is no source {unknown[0]!r}", fix=f"choose among {known}, or give a number of sources"
        )
    return [name for name in scene.sources if name in wanted]


def brightest(scene: Scene, observations: Sequence[Observation]) -> list[str]:
    """Names of sources by the sum of their fluxes in all bands, as the catalogue has them, the brightest first."""
    plain, unknown = resolve(scene), all_errors(scene, {}, None)
    total = {
        name: sum(float(np.sum(part.flux)) for part in parts_of(plain, name, observations, unknown))
        for name in plain.sources
    }
    return sorted(total, key=lambda name: -total[name])
