"""Compilation with less effort on a CPU, where LLVM takes longer than what it saves."""

from collections.abc import Callable
from typing import Any

import jax


class Compiled:
    """A jitted function with a level of LLVM's optimisation on CPUs, and XLA's own choice elsewhere.

    Args:
        function: to be called outside of other compiled functions only.
        level: 0 for what runs once a fit; at 1 a fit's steps are no slower than at XLA's own level.
        static: names of static arguments.
    """

    def __init__(self, function: Callable[..., Any], level: int, static: tuple[str, ...] = ()) -> None:
        self.function, self.level, self.static = function, level, static
        self._jitted: dict[str, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The function's result, compiled for the default device."""
        return self._for_platform()(*arguments)

    def shapes(self, *arguments: Any) -> Any:
        """Shapes and types of the function's result, without computing it."""
        return jax.eval_shape(self._for_platform(), *arguments)

    def _for_platform(self) -> Any:
        platform = jax.default_backend()
        if platform not in self._jitted:
            options = {"xla_backend_optimization_level": self.level} if platform == "cpu" else None
            self._jitted[platform] = jax.jit(self.function, static_argnames=self.static, compiler_options=options)
        return self._jitted[platform]

    @property
    def count(self) -> int:
        """How many programs have been compiled so far."""
        return sum(jitted._cache_size() for jitted in self._jitted.values())
