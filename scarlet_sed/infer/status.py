"""How a fit ended, as values whose text is advice."""

from enum import Enum


class FitStatus(Enum):
    """Why the optimiser stopped."""

    CONVERGED = "the log-posterior no longer improves at the smallest step size"
    MAX_STEPS = "the step limit came first: raise `steps`, or start closer (ss.initialize)"
    NOT_FINITE = (
        "the log-posterior or its gradient became infinite or NaN and the best finite iterate is returned: "
        "check priors whose density diverges, lower `learning_rate`, or try float64"
    )
    INTERRUPTED = "interrupted by the user: the best iterate so far is returned; call fit again from it to go on"

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return self.value

    @property
    def success(self) -> bool:
        """Whether the result can be trusted to be a maximum."""
        return self is FitStatus.CONVERGED
