"""Reading everything and fitting nothing."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from scarlet_sed.io.config import read_config
from scarlet_sed.io.inputs import read_observations
from scarlet_sed.io.outputs import output_folder, write_text
from scarlet_sed.pipeline.tables import read_table
from scarlet_sed.report.check import BandInput, band_inputs, render_check


def run_check(config_path: str | Path, out: str | Path | None = None) -> str:
    """Read and validate everything that a fit would read, draw the inputs, and fit nothing.

    Args:
        config_path: the TOML file.
        out: folder for check.html; nothing is drawn without it.

    Returns:
        a table of the bands for a terminal.

    Raises:
        ScarletSEDError: for bad input, naming the cure.
    """
    config = read_config(config_path)
    folder = None if out is None else output_folder(out)
    observations = read_observations(config)
    read_table(config.output.truth)
    if config.catalog is not None:
        read_table(config.catalog.path)
    bands = [band for o in observations for band in band_inputs(o)]
    if folder is not None:
        title = config.output.title or Path(config_path).resolve().parent.name
        write_text(folder / "check.html", render_check(title, observations, bands))
    return "\n".join(_check_lines(bands))


def _check_lines(bands: Sequence[BandInput]) -> Iterator[str]:
    rows = [BandInput.heads(), *(band.cells() for band in bands)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for band in bands:
        for warning in band.warnings():
            yield f"note: {warning}"
