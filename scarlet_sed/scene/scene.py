"""A scene: named sources on a frame."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from scarlet_sed.errors import ParameterError, SourceError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.light import Component, path_of
from scarlet_sed.parameters import Parameter, Parameterized, Tied, current_values, resolve
from scarlet_sed.paths import transparent
from scarlet_sed.scene.boxes import Box, merge, place, requested_width
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.scene.source import Source


class Scene(Parameterized):
    """A sum of sources, ready to be rendered, fitted or sampled.

    Args:
        sources: sources by name; names are the first part of every parameter's path, and their alphabetical order
            is that of catalogues.
        frame: the model grid.
        error_budget: fraction of a component's flux that may fall outside the box it is drawn in, where the source
            does not set its own box. `truncated` reports what does.
        flux_guard: how strongly free images (`Pixels`, `Starlet`) of neighbours are kept from taking each other's
            light: the log-posterior loses this times the similarity of each pair, the cosine between their images
            where they lie on the sky (0 if they share no pixel, 1 if they are the same). It belongs to the prior, so
            that fits and samplers see one density, but priors of single parameters know nothing of it. Real
            neighbours overlap: take the least that helps, or better a prior that knows galaxies.

    Raises:
        ParameterError: for names that cannot be part of a path, or a guard that is no positive number or zero.
        SourceError: for a source whose position lies outside the frame.
    """

    sources: dict[str, Source] = transparent()
    frame: Frame
    error_budget: float = eqx.field(static=True)
    flux_guard: float = eqx.field(static=True, default=0.0)

    def __init__(
        self, sources: Mapping[str, Source], frame: Frame, error_budget: float = 1e-3, flux_guard: float = 0.0
    ) -> None:
        if not sources:
            raise SourceError("a scene without sources", fix="give at least one ss.Source")
        if not 0 < error_budget < 1:
            raise ParameterError(f"error_budget is {error_budget}", fix="give a fraction between 0 and 1")
        if not 0 <= flux_guard < np.inf:
            raise ParameterError(f"flux_guard is {flux_guard}", fix="give a positive number, or zero for none")
        # alphabetical, because that is the order in which JAX rebuilds dictionaries
        self.sources = {name: _checked(name, sources[name], frame) for name in sorted(sources, key=str)}
        self.frame = frame
        self.error_budget = float(error_budget)
        self.flux_guard = float(flux_guard)
        current_values(self)  # follows every tie, so that broken ones are found here

    def __getitem__(self, name: str) -> Source:
        return self.sources[name]

    def __len__(self) -> int:
        return len(self.sources)

    def components(self) -> list[tuple[str, str, Component]]:
        """(source name, component name, component), in order; the only component of a source is named ''."""
        return [(name, part, comp) for name, source in self.sources.items() for part, comp in source.components()]

    def component_paths(self) -> list[str]:
        """The path of each of `components`: `source.component`, or the source's name for its only one."""
        return [path_of(name, part) for name, part, _ in self.components()]

    def screens(self) -> list[tuple[tuple[str, DustScreen], ...]]:
        """For each of `components`, the screens in front of it with their paths in the source, from the inside out."""
        return [screens for source in self.sources.values() for screens in source.screens()]

    def boxes(self) -> list[Box]:
        """The box of each component, in the order of `components`, from the present values."""
        resolved = resolve(self)
        drawn = [(name, component) for name, _, component in resolved.components()]
        widths = [requested_width(c, self.sources[n].box, self.frame, self.error_budget) for n, c in drawn]
        kinds = zip((component for _, component in drawn), resolved.screens(), strict=True)
        merged = merge(widths, [jax.tree.structure((c, [screen for _, screen in s])) for c, s in kinds])
        positions = [self.frame.pixel(np.asarray(resolved[name].position, float)) for name, _ in drawn]
        return [
            place(width, (float(x), float(y)), self.frame.shape)
            for width, (x, y) in zip(merged, positions, strict=True)
        ]

    def with_sources(self, sources: Mapping[str, Source]) -> "Scene":
        """The same frame, budget and guard with other sources."""
        return Scene(sources, self.frame, self.error_budget, self.flux_guard)

    def sky_positions(self) -> SkyCoord | None:
        """The sources' sky coordinates, or None where the frame has no WCS."""
        if self.frame.reference is None:
            return None
        values = current_values(self)
        return self.frame.sky(np.stack([np.asarray(values[f"{name}.position"], float) for name in self.sources]))


def _checked(name: str, source: Any, frame: Frame) -> Source:
    if not isinstance(name, str) or not name or "." in name:
        raise ParameterError(f"{name!r} cannot name a source", fix="use a non-empty name without dots")
    if not isinstance(source, Source):
        raise ParameterError(f"{name!r} is a {type(source).__name__}, not a Source", fix="wrap light in ss.Source(...)")
    if source.sky is not None:
        if frame.reference is None:
            raise SourceError(
                f"source {name!r} has a sky position but the frame has no WCS",
                fix="give offsets in arcsec instead",
            )
        offset = frame.from_sky(SkyCoord(source.sky[0] * u.deg, source.sky[1] * u.deg))
        source = source.placed(offset)
    position = source.position.value if isinstance(source.position, Parameter) else source.position
    if not isinstance(position, Tied) and not bool(np.all(frame.contains(np.asarray(position, float)))):
        raise SourceError(
            f"source {name!r} at (east, north) = {np.asarray(position).tolist()} arcsec lies outside the frame",
            fix="drop the source, or make a larger frame (Frame.covering(..., margin=...))",
        )
    return source
