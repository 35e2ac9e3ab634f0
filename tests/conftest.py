"""What several tests need: a command line of its own per test, and no way out to the network or the user's folders."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Answer(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests out of the user's caches, outputs and configs."""
    for name in ("GANCLI_CONF", "GANCLI_OUTPUTS", "GANCLI_INCEPTION", "GANCLI_TRACEBACK", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Answer]]:
    """Return a function that runs a command line in this process, in an empty folder."""
    from gancli.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> Answer:
        capsys.readouterr()
        code = main(list(argv))
        return Answer(code, *capsys.readouterr())

    before = list(sys.argv)
    yield run
    assert sys.argv == before
