"""One image inside a FITS file, of which any part can be read without the rest."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from astropy.io import fits

from scarlet_sed.errors import FileFormatError
from scarlet_sed.typing import HostArray

_SUFFIX = re.compile(r"^(?P<path>.+)\[(?P<extension>[^\[\],]+)(?:,\s*(?P<plane>\d+))?\]$")


@final
@dataclass(frozen=True)
class FitsImage:
    """A two-dimensional image: a file, the extension (None: the first that holds an image), the plane of a stack."""

    path: str
    extension: int | str | None = None
    plane: int | None = None

    @staticmethod
    def parse(name: Any) -> "FitsImage":
        """From `file.fits`, `file.fits[SCI]`, `file.fits[1]` or `file.fits[0,2]` (extension 0, plane 2).

        Raises:
            FileFormatError: if the file does not exist.
        """
        text = str(name)
        image = FitsImage(text)
        found = _SUFFIX.match(text)
        if found and not Path(text).is_file():
            extension, plane = found["extension"].strip(), found["plane"]
            image = FitsImage(
                found["path"],
                int(extension) if extension.isdigit() else extension,
                None if plane is None else int(plane),
            )
        if not Path(image.path).is_file():
            raise FileFormatError(
                f"there is no file {image.path!r}", fix="check the path (file.fits[EXT] names an extension)"
            )
        return image

    def __str__(self) -> str:
        inside = ",".join(str(part) for part in (self.extension, self.plane) if part is not None)
        return f"{self.path}[{inside}]" if inside else self.path

    def open(self) -> fits.HDUList:
        """The file, memory-mapped where it can be.

        Raises:
            FileFormatError: if it is not FITS.
        """
        try:
            return fits.open(self.path, memmap=True, lazy_load_hdus=True)
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{self.path!r} is not a FITS file ({error})", fix="give a FITS file") from error

    def header(self) -> tuple[fits.Header, tuple[int, int]]:
        """The header and (height, width); no pixels are read."""
        with self.open() as hdus:
            hdu = self._hdu(hdus)
            return hdu.header.copy(), (int(hdu.shape[-2]), int(hdu.shape[-1]))

    def read(self, rows: slice, columns: slice) -> HostArray:
        """(h, w) float64 pixels of a window; only these are read from the file (or its compressed tiles)."""
        with self.open() as hdus:
            hdu = self._hdu(hdus)
            part = (*self._planes(hdu.shape), rows, columns)
            try:
                # asarray would give a view of the memory map: copy, as the file is closed after this
                return np.array(hdu.section[part], dtype=np.float64)
            except (OSError, TypeError, ValueError) as error:
                raise FileFormatError(
                    f"cannot read the pixels of {self} ({error})", fix="check that the file is complete"
                ) from error

    def _planes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        stack = shape[:-2]
        count = int(np.prod(stack, dtype=int))
        if self.plane is None and count != 1:
            raise FileFormatError(
                f"{self} is a stack of {count} images", fix=f"choose one: {self.path}[0,0] to [0,{count - 1}]"
            )
        plane = self.plane or 0
        if plane >= count:
            raise FileFormatError(f"{self} has only {count} images", fix=f"choose a plane from 0 to {count - 1}")
        return tuple(int(i) for i in np.unravel_index(plane, stack)) if stack else ()

    def _hdu(self, hdus: fits.HDUList) -> Any:
        try:
            candidates = list(hdus) if self.extension is None else [hdus[self.extension]]
        except (KeyError, IndexError) as error:
            names = ", ".join(f"{i} {hdu.name}".strip() for i, hdu in enumerate(hdus))
            raise FileFormatError(
                f"{self.path!r} has no extension {self.extension!r}", fix=f"choose among {names}"
            ) from error
        for hdu in candidates:
            if hdu.is_image and len(hdu.shape) >= 2:
                return hdu
        raise FileFormatError(f"{self} holds no image", fix="name the extension that does, as in file.fits[SCI]")
