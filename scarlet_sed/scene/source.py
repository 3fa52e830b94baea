"""A source: light at a position, at a redshift."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
import numpyro.distributions as dist
from astropy.coordinates import SkyCoord

from scarlet_sed.errors import ParameterError, SourceError
from scarlet_sed.light import Blend, Component, Light
from scarlet_sed.parameters import Parameter, Parameterized, parameter
from scarlet_sed.paths import transparent
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.typing import Array


class Source(Parameterized):
    """Light that belongs together: one position, one redshift, one or more components.

    Args:
        position: (east, north) offset in arcsec from the frame's reference point, or a SkyCoord; a number pair fixes
            it, a prior or `Parameter` frees it.
        light: `spectrum * morphology`, a sum of those, or a dict that names them; any of it may be behind
            a `DustScreen` (`light.behind(screen)`).
        redshift: shared by all components.
        box: full width in arcsec of the square in which the source is drawn; None takes it from the scene's error
            budget.
    """

    position: Array = parameter(unit="arcsec", shape=(2,), doc="offset (east, north) from the reference point")
    light: Light = transparent()
    redshift: Array = parameter(doc="redshift")
    box: float | None = eqx.field(static=True)
    sky: tuple[float, float] | None = eqx.field(static=True)

    def __init__(
        self,
        position: Any,
        light: Light | Mapping[str, Light],
        redshift: Any = 0.0,
        box: float | None = None,
    ) -> None:
        self.sky = None
        if isinstance(position, SkyCoord):
            icrs = position.icrs
            self.sky = (float(icrs.ra.deg), float(icrs.dec.deg))
            position = (0.0, 0.0)
        self.position = position
        self.light = Blend(light) if isinstance(light, Mapping) else light
        if not isinstance(self.light, Light):
            raise ParameterError(
                f"a source's light is a {type(light).__name__}", fix="make light as spectrum * morphology"
            )
        self.redshift = redshift
        if box is not None and not box > 0:
            raise SourceError(f"a source's box is {box} arcsec wide", fix="give a positive width, or None")
        self.box = None if box is None else float(box)

    def components(self) -> list[tuple[str, Component]]:
        """The components with their names ('' for the only one)."""
        return list(self.light.components())

    def screens(self) -> list[tuple[tuple[str, DustScreen], ...]]:
        """For each component the screens in front of it with their paths, from the inside out."""
        return list(self.light.screens())

    def placed(self, position: Any) -> "Source":
        """The same source at another position, which may be free."""
        return Source(position, self.light, self.redshift, self.box)

    def boxed(self, width: float | None) -> "Source":
        """The same source drawn in a square of another width in arcsec; None for the error budget's."""
        return Source(self.position, self.light, self.redshift, width)

    @property
    def free_position(self) -> bool:
        """Whether the position is a free parameter."""
        return isinstance(self.position, Parameter)

    @property
    def position_pull(self) -> float:
        """Standard deviations of its prior by which the position is off the prior's mean; 0 where nothing says so."""
        if not isinstance(self.position, Parameter) or not isinstance(self.position.prior, dist.Distribution):
            return 0.0
        try:
            mean, variance = self.position.prior.mean, self.position.prior.variance
        except NotImplementedError:  # flat without bounds
            return 0.0
        off = np.abs(np.asarray(self.position.value, float) - np.asarray(mean, float))
        return float(np.max(off / np.sqrt(np.asarray(variance, float))))
