"""What is unlike the training, or fits nothing, is said to be so."""

import numpy as np

from scarlet_sed.amortized.assess import simulations
from scarlet_sed.amortized.trust import trust
from tests.amortized import small


def test_what_the_training_never_saw_is_unusual_and_what_fits_nothing_is_a_misfit():
    posterior = small.posterior()
    made = simulations(posterior, small.survey(), 400, 7)
    redshift = made.values["redshift"]
    found = posterior.sample(made.fluxes, made.errors, redshift, draws=8)
    usual = trust(posterior, found, made.fluxes, made.errors, redshift)
    # of a training with two thousand spectra, whose ranges are narrower than the truth
    assert usual.unusual.mean() < 0.05
    # what fits is judged by the truth itself, for random networks draw nothing that fits
    true = found._replace(
        values={path: np.repeat(v[:, None], 8, axis=1) for path, v in made.values.items() if path != "redshift"}
    )
    fits = trust(posterior, true, made.fluxes, made.errors, redshift)
    assert fits.misfit.mean() < 0.02
    assert abs(np.mean(fits.p_value) - 0.5) < 0.07
    # one band a hundred times too bright, at good signal-to-noise
    bright = np.flatnonzero(made.signal > 10)[:50]
    spoiled = made.fluxes[bright].copy()
    spoiled[:, 2] *= 100
    own = true._replace(values={path: v[bright] for path, v in true.values.items()}, log_prob=true.log_prob[bright])
    own = own._replace(leak=true.leak[bright])
    spoilt = trust(posterior, own, spoiled, made.errors[bright], redshift[bright])
    assert spoilt.misfit.mean() > 0.98
    # brighter than anything in the training by a factor of a hundred thousand
    far = trust(posterior, own, made.fluxes[bright] * 1e5, made.errors[bright], redshift[bright])
    assert np.all(far.unusual)
