"""Dust in front of light: a curve with a map of its depth."""

from typing import Any, final

import equinox as eqx

from scarlet_sed.dust.base import Curve
from scarlet_sed.errors import ParameterError
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameterized, parameter
from scarlet_sed.photometry.parts import PARTS
from scarlet_sed.ranges import check_range
from scarlet_sed.typing import Array


@final
class DustScreen(Parameterized):
    """A sheet of dust that dims what lies behind it, pixel by pixel: `light.behind(DustScreen(...))`.

    It acts before the PSF, at the redshift of its source: of a piece of light at the rest-frame wavelength w it lets
    through 10^(-0.4 A_V(x) k(w)), for old stars, young stars and lines at wavelengths of their own. A_V(x) is `av`
    times the shape, which has a peak of one as the model PSF shows it (a shape narrower than the model PSF is as wide
    as that; of `Pixels`, at the centre of a pixel of the map). What the screen takes is not emitted again.

    Args:
        curve: attenuation or extinction with wavelength, such as `Calzetti()` or `SMC()`.
        morphology: the shape; for a map of free pixels `Pixels.from_image`.
        av: A_V in mag where the screen is thickest, zero or more.
        offset: (east, north) of its centre from that of the source, in arcsec.
        nodes: wavelengths a band at which light is dimmed: 1, the mean of each piece; or 3, which is right to second
            order across the band (see `photometry.parts.in_parts`).

    Raises:
        ParameterError: if curve or morphology are something else, or for another number of nodes.
        DomainError: if `av`, or the support of its prior, reaches below zero.
    """

    curve: Curve
    morphology: Morphology
    av: Array = parameter(unit="mag", doc="A_V where the screen is thickest", shape=())
    offset: Array = parameter(unit="arcsec", doc="offset (east, north) from the source's centre", shape=(2,))
    nodes: int = eqx.field(static=True)

    def __init__(
        self, curve: Curve, morphology: Morphology, av: Any, *, offset: Any = (0.0, 0.0), nodes: int = 1
    ) -> None:
        self.curve, self.morphology = curve, morphology
        self.av, self.offset, self.nodes = av, offset, int(nodes)

    def __check_init__(self) -> None:
        for value, kind in ((self.curve, Curve), (self.morphology, Morphology)):
            if not isinstance(value, kind):
                raise ParameterError(
                    f"a DustScreen holds a {type(value).__name__} where a {kind.__name__} belongs",
                    fix="write DustScreen(curve, morphology, av)",
                )
        if isinstance(self.morphology, Starlet):
            raise ParameterError(
                "the details of a Starlet can be negative, and dust cannot", fix="give a map of Pixels, or a profile"
            )
        if self.nodes not in (1, PARTS):
            raise ParameterError(f"a DustScreen with {self.nodes} nodes a band", fix=f"choose 1 or {PARTS}")
        check_range(self.av, "DustScreen", "av", 0.0)

    def depth(self, grid: PixelGrid) -> Array:
        """(h, w) A_V in mag, for plain numbers.

        Args:
            grid: seen from the centre of the source.
        """
        return self.av * self.morphology.evaluate(grid.moved(self.offset)) / self.morphology.peak(grid)
