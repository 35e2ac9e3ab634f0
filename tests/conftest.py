"""What several tests need: a command line of its own per test, and no way out to the network or the user's folders."""

import gc
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Answer(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str


def pytest_collection_finish() -> None:
    """Let the collector of garbage overlook the imported modules and the tests, a tenth of the work of all tests."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests out of the user's caches, outputs and configs, and the jobs of sweeps in the test's own process."""
    monkeypatch.setattr("gancli.cli.launcher.slots.cores", lambda: 1)
    for name in ("GANCLI_CONF", "GANCLI_OUTPUTS", "GANCLI_INCEPTION", "GANCLI_TRACEBACK", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _float32() -> Iterator[None]:
    """Let ``runtime.precision=auto`` be fp32, as on a chip without bfloat16: what is compared bit for bit is exact.

    Of the whole session, so that it holds for fixtures of every scope.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gancli.training.chip.BF16", frozenset())
        yield


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


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes a package whose import leaves a file, and gives that file's path."""
    names: list[str] = []

    def write(name: str, **sources: str) -> Path:
        canary = tmp_path / f"{name}.imported"
        (tmp_path / name).mkdir()
        sources.setdefault("__init__", "")
        for module, text in sources.items():
            trap = f"open({str(canary)!r}, 'w').close()\n" if module == "__init__" else ""
            (tmp_path / name / f"{module}.py").write_text(trap + textwrap.dedent(text))
        names.append(name)
        return canary

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for module in [m for m in sys.modules if m.partition(".")[0] in names]:
        del sys.modules[module]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Path]]:
    """Replace all verbs by one that saves a run; return the list of its calls."""
    from stand_ins import replace_verbs, save_run

    calls: list[tuple[str, Any, Path]] = []

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        calls.append((name, cfg, folder))
        return save_run(cfg, folder) if name == "train" else {"fid": 1.0}

    replace_verbs(monkeypatch, call)
    return calls


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two models, two losses, three seeds; test scores at the end and at the best of validation."""
    from written_runs import MODELS, make_run, score

    for i, (model, loss, seed) in enumerate((m, n, s) for m in MODELS for n in ("hinge", "lsgan") for s in range(3)):
        folder = make_run(tmp_path / "sweep" / f"{i:02d}", model=model, loss=loss, seed=seed, fid=50 + 7 * i)
        score(folder, 3000, 60 + i**1.5)
        score(folder, 2000, 40 + i**1.5)
    return tmp_path / "sweep"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the curves and the sheet of samples of a report, which take a second."""
    from gancli.verbs.report import curves, sheet

    for name in ("scores", "losses"):
        monkeypatch.setattr(curves, name, lambda table: {})
    monkeypatch.setattr(sheet, "samples", lambda table: None)


@pytest.fixture
def fresh_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give the reader of files an empty cache, and its limit of unpacking back."""
    from gancli.data import untrusted

    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    yield
    untrusted.set_limit(2)
