"""Whether posteriors mean what they say: truths drawn from the prior, data from the truths, and ranks of the truths.

If parameters are drawn from the prior and data from the likelihood, the truth is one more draw from the posterior of
those data: its rank among the draws is uniform (Cook, Gelman & Rubin 2006; Talts et al. 2018, arXiv:1804.06788).
"""

from scarlet_sed.infer.calibration.assess import Assessment, assess
from scarlet_sed.infer.calibration.trial import Trial, trial
from scarlet_sed.infer.calibration.uniform import Uniformity, band, spread_ranks, uniformity

__all__ = ["Assessment", "Trial", "Uniformity", "assess", "band", "spread_ranks", "trial", "uniformity"]
