"""The place of a process among those that train together, found out before torch is imported."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from gancli.errors import UsageError


class Group(NamedTuple):
    """The place of this process among those that train together.

    Args:
        rank: its number; 0 writes the files.
        world: number of processes.
        local: its number on this machine, and that of its GPU.
    """

    rank: int = 0
    world: int = 1
    local: int = 0


def started(environment: Mapping[str, str]) -> Group:
    """Return the place that torchrun gave to this process; that of one on its own without torchrun.

    Raises:
        UsageError: a part of what torchrun sets is missing.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        if int(environment.get("WORLD_SIZE", "1")) == 1:
            return Group()
        return Group(*(int(environment[name]) for name in names))
    except (KeyError, ValueError):
        raise UsageError(
            "WORLD_SIZE is set, but RANK or LOCAL_RANK is not: start several processes by torchrun "
            "--nproc-per-node=2 -m gancli train, or by gancli train runtime.gpus=2, and unset WORLD_SIZE"
        ) from None


def environment(place: Group) -> dict[str, str]:
    """Return what a process on this machine has in its environment besides, unless the user has set it.

    A share of the cores, and messages that stay on this machine, whose name need not lead anywhere.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = {"OMP_NUM_THREADS": str(max(cores // place.world, 1))}
    if os.path.isdir("/sys/class/net/lo"):
        own["GLOO_SOCKET_IFNAME"] = "lo"
    return {key: value for key, value in own.items() if not os.environ.get(key)}
