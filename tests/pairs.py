"""Two processes in one group: how tests start them, and how each can act as the only one for comparison."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from conftest import ROOT
from helpers import compose, overrides

from gancli.training import ranks
from gancli.training.build import build
from gancli.training.place import Group


@contextmanager
def alone() -> Iterator[None]:
    """Let this process be the only one."""
    before, ranks._group = ranks._group, Group()
    try:
        yield
    finally:
        ranks._group = before


def first_alone(work: Callable[[], Any]) -> Any:
    """Let the first process do something as the only one, while the other waits; return what it returns, or None."""
    found = None
    if ranks.group().rank == 0:
        with alone():
            found = work()
    ranks.agreed(None)
    return found


def main(checks: Callable[[Path], dict[str, Any]]) -> None:
    """Make checks in two processes and let the first write what was found, as JSON, into the folder of argv.

    Everything is imported once, before there are two.
    """
    folder = Path(sys.argv[1])
    build(compose("train", overrides("toy_gan")))  # what torch imports late
    rank = int(os.fork() == 0)  # before the first backward pass, whose threads do not survive it
    code = 1
    try:
        torch.set_num_threads(1)
        ranks.join(Group(rank, 2, rank), f"file://{folder / 'meeting'}")
        found = checks(folder)
        if rank == 0:
            (folder / "found.json").write_text(json.dumps(found))
        ranks.leave()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def found_by(script: str, folder: Path) -> dict[str, Any]:
    """Run ``python tests/<script> FOLDER`` and return what its two processes found."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, str(ROOT / "tests" / script), str(folder)]
    environment = {**os.environ, "PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo", "GANCLI_CACHE": str(folder / "cache")}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
    return {**json.loads((folder / "found.json").read_text()), "folder": folder, "said": ended.stderr}
