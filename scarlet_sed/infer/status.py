"""How a fit, or something else that converges, ended, as values whose text is advice."""

from enum import Enum


class Status(Enum):
    """An ending whose text is advice; the good one is called CONVERGED."""

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        text: str = self.value
        return text

    @property
    def success(self) -> bool:
        """Whether the result can be used as it is."""
        return self.name == "CONVERGED"


class FitStatus(Status):
    """Why the optimiser stopped: a CONVERGED fit can be trusted to be a maximum."""

    CONVERGED = "the log-posterior no longer improves at the smallest step size"
    MAX_STEPS = "the step limit came first: raise `steps`, or start closer (ss.initialize)"
    NOT_FINITE = (
        "the log-posterior or its gradient became infinite or NaN and the best finite iterate is returned: "
        "check priors whose density diverges, lower `learning_rate`, or try float64"
    )
    INTERRUPTED = "interrupted by the user: the best iterate so far is returned; call fit again from it to go on"
