"""Tables that a configuration names."""

from pathlib import Path

from astropy.table import QTable

from scarlet_sed.errors import FileFormatError


def read_table(path: Path | None, place: str = "the TOML file") -> QTable | None:
    """A table in any format astropy reads; None for no path.

    Args:
        path: of the table.
        place: what relative paths begin at, for the error.

    Raises:
        FileFormatError: if it does not exist or cannot be read.
    """
    if path is None:
        return None
    if not path.is_file():
        raise FileFormatError(f"the table {path} does not exist", fix=f"give a path relative to {place}")
    try:
        return QTable.read(path)
    except Exception as error:
        raise FileFormatError(f"cannot read the table {path}: {error}", fix="give a FITS, ECSV or CSV table") from error
