"""The posteriors that ship do what their records say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.amortized.assess import assess, simulations
from scarlet_sed.amortized.file import SHIPPED, read_amortized, read_record
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.amortized.trust import trust

KNOWN = {"jades_delayed": (0.97, 0.88, 0.8), "jades_binned": (0.97, 0.7, 0.8)}
"""R2 of mass, age and A_V at a signal-to-noise above ten: of mean ages of binned histories no data know as much."""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_posteriors_are_right_about_objects_that_they_have_never_seen(name):
    posterior, record = read_amortized(name)
    assert record["record"]["training"][-1]["step"] == record["recipe"]["steps"]
    made = simulations(posterior, Survey.of_plain(record["record"]["survey"]), 800, 21)
    rows = {(r.quantity, r.signal[0]): r for r in assess(posterior, made, draws=60).rows}
    bright = {name: rows[name, 10.0] for name in ("log_mass", "log_age", "attenuation.av")}
    assert all(row.r2 > least for row, least in zip(bright.values(), KNOWN[name], strict=True))
    for row in bright.values():
        assert row.within68 == pytest.approx(0.68, abs=0.06) and row.within95 == pytest.approx(0.95, abs=0.03)
    found = posterior.sample(made.fluxes, made.errors, draws=60)
    z = made.values["redshift"]
    away = np.abs(np.median(found.values["redshift"], axis=1) - z) / (1 + z)
    assert np.median(away[made.signal > 10]) < 0.03
    judged = trust(posterior, found, made.fluxes, made.errors)
    assert judged.unusual.mean() < 0.02 and judged.misfit.mean() < 0.2


@pytest.mark.parametrize("name", SHIPPED)
def test_no_number_of_shipped_posteriors_stays_at_its_prior(name):
    flow = ss.load_amortized(name).networks.flow
    slopes = jax.jacfwd(lambda told: flow.bijection.transform(jnp.zeros(flow.shape), told))(jnp.zeros(flow.cond_shape))
    assert np.all(np.abs(slopes).max(axis=1) > 1e-3)


def test_a_name_that_does_not_ship_is_a_file_that_is_not_there():
    assert "survey" in read_record(SHIPPED[0])["record"]
    with pytest.raises(ss.ScarletSEDError, match="nothing_like_it"):
        ss.load_amortized("nothing_like_it")
