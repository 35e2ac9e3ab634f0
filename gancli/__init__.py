"""gancli: train, evaluate and sample generative image models from one Hydra-driven command line, or from Python.

The functions are those of ``gancli.api``, which is imported when one of them is first used: neither torch nor Hydra is
needed for ``import gancli``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gancli.api import LoadedModel, compose, evaluate, load, runs, train

__version__ = "0.2.0"
__all__ = ["LoadedModel", "__version__", "compose", "evaluate", "load", "runs", "train"]


def __getattr__(name: str) -> Any:
    """Return a function of ``gancli.api`` (PEP 562). Raises AttributeError."""
    if name not in __all__:
        raise AttributeError(f"module 'gancli' has no attribute {name!r}")
    from gancli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted(__all__)
