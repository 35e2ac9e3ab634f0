"""Stand-ins for what the verbs of the command line run."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gancli import config
from gancli.verbs import VERBS

TYPICAL = ("train", "model=dcgan", "data=mnist", "optimizer.lr=1e-3")


def save_run(cfg: Any, folder: Path) -> dict[str, float]:
    """Write what a run of train leaves for other commands to find."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config.to_yaml(cfg))
    with __import__("zipfile").ZipFile(folder / "checkpoints" / "000000001000.pt", "w"):
        pass
    return {"loss/generator": 0.5}


def replace_verbs(monkeypatch: pytest.MonkeyPatch, call: Callable[[str, Any, Path], dict[str, float]]) -> None:
    """Let every verb call a function with its name, config and folder instead of what it runs."""
    for name, each in VERBS.items():
        monkeypatch.setitem(VERBS.imported, name, replace(each, run=partial(call, name)))
