"""Typed errors. Every one names the thing that is wrong and says how to mend it.

Raise the most specific class. `problem` says what is wrong and with which object; `fix` says what to do about it.
"""


class ScarletSEDError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        problem: what is wrong, naming the object, key or file.
        fix: what the user can do about it.
    """

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem.rstrip('.')}. Fix: {self.fix.rstrip('.')}."

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.problem, self.fix)


def _rebuild(cls: type[ScarletSEDError], problem: str, fix: str) -> ScarletSEDError:
    return cls(problem, fix=fix)


class ParameterError(ScarletSEDError, ValueError):
    """A parameter has a bad value, prior, shape or path."""


class ImproperPriorError(ParameterError):
    """A proper density is needed, and a prior has none."""


class DataError(ScarletSEDError, ValueError):
    """Image data, weights, noise or masks cannot be used."""


class PSFError(ScarletSEDError, ValueError):
    """A point-spread function cannot be used."""


class WCSError(ScarletSEDError, ValueError):
    """A world coordinate system is missing, or cannot be used."""


class UnitError(ScarletSEDError, ValueError):
    """A unit is missing, unknown, or of the wrong kind."""


class FilterError(ScarletSEDError, ValueError):
    """A filter is unknown, or lacks what a spectrum needs."""


class SourceError(ScarletSEDError, ValueError):
    """A source cannot be placed or evaluated."""


class ShapeError(ScarletSEDError, ValueError):
    """Arrays that belong together have different shapes."""


class DomainError(ScarletSEDError, ValueError):
    """A parameter lies outside the domain in which a formula or emulator is valid."""


class ConfigError(ScarletSEDError, ValueError):
    """A configuration file has an unknown key or a bad value."""


class FileFormatError(ScarletSEDError, ValueError):
    """A file is missing, corrupt, or of an unknown kind or version."""
