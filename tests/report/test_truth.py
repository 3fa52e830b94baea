"""Results beside truth: matching and numbers."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from scarlet_sed.errors import DataError
from scarlet_sed.report.truth import compare


def catalog():
    return QTable(
        {
            "name": ["s1", "s2", "s3"],
            "model": ["point", "sersic", "sersic"],
            "ra": [53.0, 53.0, 53.01] * u.deg,
            "dec": [-27.0, -27.0 + 0.1 / 3600, -27.0] * u.deg,
            "flux_A": [11.0, 50.0, 1.0] * u.nJy,
            "flux_error_A": [1.0, 5.0, 1.0] * u.nJy,
        }
    )


def truth():
    return QTable(
        {
            "name": ["one", "two", "gone"],
            "ra": [53.0, 53.0, 52.99] * u.deg,
            "dec": [-27.0 + 0.02 / 3600, -27.0 + 0.11 / 3600, -27.0] * u.deg,
            "flux_A": [0.01, 0.05, 1.0] * u.uJy,
        }
    )


def test_sources_are_matched_once_each_and_fluxes_compared_in_one_unit():
    found = compare(catalog(), truth())
    assert found.match.tolist() == [0, 1, -1] and found.extra == (2,)
    np.testing.assert_allclose(found.ratio[:2, 0], [1.1, 1.0])
    np.testing.assert_allclose(found.pull[:2, 0], [1.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.separation[:2], [0.02, 0.01], atol=1e-5)
    assert found.metrics()["spurious"] == 1
    assert found.metrics()["median_flux_bias"]["A"] == pytest.approx(0.05)
    assert "2 of 3" in found.summary()
    grid = found.grid(catalog())
    assert grid.rows[0][-1] == "1.100 (+1.0)" and grid.rows[2][1] == "not found"


def test_a_truth_without_common_ground_is_an_error():
    table = truth()
    table.rename_column("flux_A", "flux_B")
    with pytest.raises(DataError, match="flux_A"):
        compare(catalog(), table)
    with pytest.raises(DataError, match="coordinates"):
        compare(catalog(), QTable({"flux_A": [1.0] * u.nJy}))
