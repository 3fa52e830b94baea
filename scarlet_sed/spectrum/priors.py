"""Populations with priors for deep JWST fields."""

from typing import Any

import numpyro.distributions as dist

from scarlet_sed.dust.attenuation_curves import Salim
from scarlet_sed.dust.base import Attenuation
from scarlet_sed.errors import ParameterError
from scarlet_sed.parameters import Parameter, as_float
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.sps.engine import Engine
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.histories.binned import Continuity, Dirichlet
from scarlet_sed.sps.histories.delayed_tau import DelayedTau

HISTORIES = ("delayed_tau", "continuity", "dirichlet")


def deep_field_population(
    history: str = "delayed_tau", *, bins: int = 7, engine: Engine | None = None, log_mass: float = 9.0
) -> StellarPopulation:
    """A population whose parameters are free under priors for galaxies of deep JWST fields.

    The priors are broad but vanish smoothly towards the ends of what the engine knows, so that a maximum lies inside:

    - total mass formed: log10 uniform from 5 to 12.5;
    - metallicity: log10 Z/Zsun normal at -0.4 with 0.4 dex, -2.2 to 0.5 (about Curti et al. 2024, A&A 684, A75);
    - ionisation: log10 U normal at -2.5 with 0.4, -4 to -1 (about Reddy et al. 2023, ApJ 952, 167);
    - history: onset Beta(1.3, 1.3) over the age of the universe and log10 tau/Gyr normal at 0 with 0.7, -2 to 2; or
      `bins` bins with log ratios of neighbouring rates under Student's t of scale 0.3 and 2 degrees of freedom (Leja et
      al. 2019); or Dirichlet with concentration one;
    - dust: Salim's curve with slope normal at -0.2 with 0.25, -1.2 to 0.5, and bump one; A_V log-normal around 0.3 mag
      with 0.9 in the natural logarithm; young stars behind 1.5 times as much, within 25 %.

    Args:
        history: `delayed_tau`, `continuity` or `dirichlet`.
        bins: of age, for the latter two.
        engine: None for the emulator that ships.
        log_mass: where a fit starts.

    Raises:
        ParameterError: for an unknown history.
    """
    dust = Attenuation(
        Salim(slope=dist.TruncatedNormal(-0.2, 0.25, low=-1.2, high=0.5), bump=as_float(1.0)),
        av=dist.LogNormal(-1.2, 0.9),
        birth_cloud=dist.LogNormal(0.4, 0.25),
    )
    return StellarPopulation(
        Parameter(log_mass, dist.Uniform(5.0, 12.5)),
        dist.TruncatedNormal(-0.4, 0.4, low=-2.2, high=0.5),
        dist.TruncatedNormal(-2.5, 0.4, low=-4.0, high=-1.0),
        history=_history(history, bins),
        attenuation=dust,
        engine=engine,
    )


def _history(name: str, bins: int) -> History:
    if name == "delayed_tau":
        return DelayedTau(age_fraction=dist.Beta(1.3, 1.3), log_tau=dist.TruncatedNormal(0.0, 0.7, low=-2.0, high=2.0))
    if name == "continuity":
        ratios: Any = Parameter(as_float([0.0] * (bins - 1)), dist.StudentT(2.0, 0.0, 0.3))
        return Continuity(log_ratios=ratios)
    if name == "dirichlet":
        shares: Any = Parameter(as_float([1.0 / bins] * bins), dist.Dirichlet(as_float([1.0] * bins)))
        return Dirichlet(fractions=shares)
    raise ParameterError(f"there is no history {name!r}", fix=f"choose {', '.join(HISTORIES)}")
