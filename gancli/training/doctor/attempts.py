"""Computations that may fail: a failure is kept and raised where the result is used, so that it costs nothing else."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

# What a computation may raise, memory and devices included; a signal or an exit is none of them.
FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip
T = TypeVar("T")


class Attempt(Generic[T]):
    """The result of a computation, which is made once and at once, or its failure."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self.error: Exception | None = None
        try:
            self.result = compute()
        except FAILURES as error:
            self.error = error

    def __call__(self) -> T:
        """Return the result. Raises what the computation raised."""
        if self.error is not None:
            raise self.error
        return self.result


def attempted(computations: Mapping[str, Callable[[], T]]) -> dict[str, T | Exception]:
    """Return the results by name, or the failures of those that failed."""
    found: dict[str, T | Exception] = {}
    for name, compute in computations.items():
        attempt = Attempt(compute)
        found[name] = attempt.result if attempt.error is None else attempt.error
    return found
