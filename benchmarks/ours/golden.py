"""Worst errors of Sersic images through real NIRCam PSFs, in float64: the numbers behind the tests in `tests/golden`.

usage: python golden.py --out result.json [--indices 0.5 1 2.5 4 6] [--shared FOLDER]

Errors are the largest difference over the peak, the relative error of the flux inside the image, and the error of the
centroid in native pixels; each the worst over radii, axis ratios, angles, sub-pixel offsets, image shapes and bands.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ["JAX_ENABLE_X64"] = "1"

from common import OUR_PACKAGES, REPOSITORY, np
from measuring import installed_versions, machine, shared_folder, write_report

BANDS = ("F115W", "F200W", "F444W")
OVERSAMPLING = 2


def worst_errors(indices: list[float]) -> dict[str, dict[str, float]]:
    """By Sersic index, the worst `peak`, `flux` and `centroid` errors."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "golden"))
    import test_sersic as golden

    psfs = [golden.PSF(golden.band_limited(psf.image), oversampling=OVERSAMPLING) for psf in golden.load(BANDS)]
    chain = golden.Chain(psfs, OVERSAMPLING)
    found = {}
    for index in indices:
        errors = np.array([golden.compare(chain, index, *case) for case in golden.cases(index)])
        found[str(index)] = dict(zip(("peak", "flux", "centroid"), errors.max(axis=0).tolist(), strict=True))
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The errors, or why there are none."""
    folder = shared_folder(options.shared)
    if not (folder / "data" / "ceers_psf").is_dir():
        return {"status": "skipped", "skipped": f"no PSFs in {folder / 'data' / 'ceers_psf'}: give --shared"}
    os.environ["SCARLET_SED_SHARED"] = str(folder)
    try:
        return {"status": "ok", "bands": BANDS, "errors": worst_errors(options.indices)}
    except ImportError as missing:
        return {"status": "skipped", "skipped": f"tests/golden cannot be used: {missing}"}


def main() -> None:
    """Parse the command line, compare, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--indices", type=float, nargs="+", default=[0.5, 1.0, 2.5, 4.0, 6.0])
    parser.add_argument("--shared", type=Path, help="folder that holds data/")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    header = {"script": "golden", "machine": machine(), "versions": installed_versions(OUR_PACKAGES)}
    write_report(options.out, header | run(options))


if __name__ == "__main__":
    main()
