"""gancli: train, evaluate and sample generative image models from one Hydra-driven command line, or from Python.

The functions are those of ``gancli.api``, which is imported when one of them is first used: neither torch nor Hydra is
needed for ``import gancli``.
"""

import os
from typing import TYPE_CHECKING, Any

# Idle threads of libgomp, which torch loads, spin for so long that two runs on one machine more than halve each other.
# It reads this once, when it is loaded, so here is the place: every way into gancli passes it before it imports torch.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "100000"

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
