"""What detection found: a catalogue and the images it was made from."""

from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from numpy.typing import NDArray

from scarlet_sed.errors import ShapeError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.start.combine import Combined
from scarlet_sed.typing import HostArray


@dataclass(frozen=True, eq=False)
class Detections:
    """Sources on the combined image of all bands, the most significant first.

    Args:
        position: (n, 2) offset (east, north) in arcsec from the frame's reference point.
        x, y: (n,) pixel of the finest observation.
        snr: (n,) signal-to-noise of the peak, matched to the PSF or to three times its width, whichever is higher.
        flux: (n,) nJy, mean over the bands with inverse-variance weights.
        radius: (n,) circularised half-light radius in arcsec, corrected for the PSF.
        ellipticity: (n, 2) (e1, e2) on the sky, corrected for the PSF.
        extent: (n,) circularised radius in arcsec at which the light is lost in the noise.
        labels: (h, w) 0, or 1 + index of the source whose territory a pixel of the combined image is.
        combined: the images on which the sources were measured; None where they were not.
        frame: the model grid that positions refer to.
        position_error: arcsec, of positions that a catalogue knows; None leaves room for detection's own errors.
    """

    position: HostArray
    x: HostArray
    y: HostArray
    snr: HostArray
    flux: HostArray
    radius: HostArray
    ellipticity: HostArray
    extent: HostArray
    labels: NDArray[np.int32] | None
    combined: Combined | None
    frame: Frame
    position_error: float | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def names(self) -> list[str]:
        """Names for the sources: s01, s02, ..., the most significant first."""
        digits = max(2, len(str(len(self))))
        return [f"s{index + 1:0{digits}d}" for index in range(len(self))]

    @property
    def sky(self) -> SkyCoord | None:
        """ICRS coordinates, or None without a WCS."""
        return None if self.frame.reference is None else self.frame.sky(self.position)

    @property
    def outliers(self) -> dict[str, NDArray[np.bool_]]:
        """By observation's name, (band, h, w) true where no source can make what a pixel shows: mask these in fits."""
        return {} if self.combined is None else self.combined.outliers

    @classmethod
    def from_catalog(
        cls,
        frame: Frame,
        position: HostArray,
        *,
        radius: float | HostArray = 0.15,
        flux: float | HostArray = np.nan,
        position_error: float | None = None,
    ) -> "Detections":
        """A list of known sources that no image has measured; `measure` makes better ones.

        Args:
            frame: the model grid.
            position: (n, 2) offsets (east, north) in arcsec; `frame.from_sky` makes them of sky coordinates.
            radius: half-light radii in arcsec, one or (n,).
            flux: nJy, one or (n,), NaN where unknown; only used to order and weigh.
            position_error: standard deviation of each coordinate in arcsec, for the prior of positions.

        Raises:
            ShapeError: if positions are not pairs.
        """
        position = np.asarray(position, dtype=float)
        if position.ndim != 2 or position.shape[1] != 2:
            raise ShapeError(f"positions of shape {position.shape}", fix="give (n, 2): east and north in arcsec")
        count = len(position)
        # model pixels over the oversampling are native pixels of the finest observation, up to where they start
        pixel = np.asarray(frame.pixel(position)) / frame.oversampling
        radius = np.broadcast_to(np.asarray(radius, dtype=float), (count,))
        flux = np.broadcast_to(np.asarray(flux, dtype=float), (count,))
        return cls(
            position=position,
            x=pixel[:, 0],
            y=pixel[:, 1],
            snr=np.full(count, np.nan),
            flux=flux,
            radius=radius,
            ellipticity=np.zeros((count, 2)),
            extent=4 * radius,
            labels=None,
            combined=None,
            frame=frame,
            position_error=position_error,
        )

    def select(self, keep: HostArray | list[int]) -> "Detections":
        """Some of the sources: indices, or a (n,) mask. Territories of the others become empty."""
        index = np.arange(len(self))[np.asarray(keep)]
        names = ("position", "x", "y", "snr", "flux", "radius", "ellipticity", "extent")
        labels = self.labels
        if labels is not None:
            table = np.zeros(len(self) + 1, dtype=np.int32)
            table[index + 1] = np.arange(1, len(index) + 1)
            labels = table[labels]
        return replace(self, labels=labels, **{name: getattr(self, name)[index] for name in names})

    def to_table(self) -> QTable:
        """A table with units, and sky coordinates where there is a WCS."""
        table = QTable()
        table["id"] = self.names
        if self.sky is not None:
            table["ra"], table["dec"] = self.sky.ra, self.sky.dec
        table["east"], table["north"] = self.position.T * u.arcsec
        table["x"], table["y"] = self.x * u.pix, self.y * u.pix
        table["snr"] = self.snr
        table["flux"] = self.flux * u.nJy
        table["radius"] = self.radius * u.arcsec
        table["e1"], table["e2"] = self.ellipticity.T
        table["extent"] = self.extent * u.arcsec
        return table
