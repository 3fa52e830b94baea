"""The real field and the hand-made list of its sources."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.start.detections import Detections

LIST = Path(__file__).resolve().parent.parent / "data" / "ring_sources.ecsv"
PIXEL = 0.03
RADIUS = 0.15  # arcsec within which a detection and a listed source are the same


def ring_observations(shared: Path) -> list[Observation]:
    """Both grids of the COSMOS-Web ring."""
    folder = shared / "data" / "cosmos_web_ring"
    found = []
    for name, bands, scale in (("sw", ("F115W", "F150W"), PIXEL), ("lw", ("F277W", "F444W"), 2 * PIXEL)):
        data, sigma = (
            np.stack([fits.getdata(folder / band / f"{kind}.fits").astype(float) for band in bands])
            for kind in ("data", "noise_map")
        )
        psfs = [PSF(fits.getdata(folder / band / "psf.fits").astype(float)) for band in bands]
        found.append(Observation(data, bands, psfs, sigma=sigma, pixel_scale=scale, unit="MJy/sr", name=name))
    return found


def score(found: Detections) -> dict[str, float | int | list[str]]:
    """Recall and precision against the list.

    Recall: share of the real sources with a detection within 0.15 arcsec. Precision: share of real ones among the
    detections that are real or nothing; listed ambiguous sources and parts of the ring count neither way.
    """
    table = Table.read(LIST, format="ascii.ecsv")
    distance = np.hypot(table["x"][:, None] - found.x[None, :], table["y"][:, None] - found.y[None, :]) * PIXEL
    near = distance <= RADIUS
    kind = np.asarray(table["kind"])
    real, neutral, artefact = kind == "real", np.isin(kind, ["ambiguous", "part"]), kind == "artefact"
    hit = near[real].any(axis=1)
    is_real, is_neutral = near[real].any(axis=0), near[neutral].any(axis=0)
    false = ~is_real & ~is_neutral
    return {
        "real": int(real.sum()),
        "found": int(hit.sum()),
        "recall": float(hit.mean()),
        "precision": float(is_real.sum() / max((is_real | false).sum(), 1)),
        "parts": int(near[kind == "part"].any(axis=0).sum()),
        "artefacts": int(near[artefact].any(axis=0).sum()),
        "missed": [str(note) for note in table["note"][real][~hit]],
        "false": [f"({found.x[i]:.1f}, {found.y[i]:.1f}) snr {found.snr[i]:.1f}" for i in np.flatnonzero(false)],
    }
