"""The names by which a user types the settings of a data set, which may be nested in another one: ``data.a.root``."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PREFIX = ContextVar("prefix", default="data")  # of the data set that is built or read now


def prefix() -> str:
    """Return the node of the data set that is built or read now: ``data``, or ``data.a``."""
    return _PREFIX.get()


def typed(key: str) -> str:
    """Return the name of a setting as it is typed: ``data.size``, or ``data.a.size``."""
    return f"{prefix()}.{key}"


def chosen(option: str = "") -> str:
    """Return the choice of a data set as it is typed: ``data=mnist``, or ``data/a=mnist``."""
    return f"{prefix().replace('.', '/')}={option}"


@contextmanager
def within(node: str) -> Iterator[None]:
    """Build or read the data set of a node inside."""
    token = _PREFIX.set(node)
    try:
        yield
    finally:
        _PREFIX.reset(token)
