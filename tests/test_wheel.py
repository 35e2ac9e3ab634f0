"""The wheel works where there is no checkout: conf/ inside, the console script, any folder to run in; no network."""

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("build")
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the checkout, with machine settings in it that must not travel."""
    source, out = tmp_path_factory.mktemp("source") / "gancli", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns(".git", ".venv*", "outputs", "__pycache__", "dist", "build")
    shutil.copytree(ROOT, source, ignore=ignored)
    (source / "conf" / "local").mkdir(exist_ok=True)
    (source / "conf" / "local" / "default.yaml").write_text("seed: 777\n")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, which sees this one's torch and Hydra but not its gancli."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True, with_pip=False)
    packages = next(folder.glob("lib*/python*/site-packages"))
    # --python and not --prefix: pip would then uninstall the gancli of the environment that runs the tests.
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    command += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    # A path in a .pth file is searched after this folder, and its own .pth files (the editable gancli) are not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return folder


def run(installed: Path, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "GANCLI_CONF")}
    script = installed / "bin" / "gancli"
    python = installed / "bin" / "python"
    return subprocess.run([python, script, *argv], capture_output=True, text=True, cwd=folder, env=environment)


def test_holds_every_config_and_no_machine_settings(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    found = [p for p in (ROOT / "conf").rglob("*") if p.suffix in (".yaml", ".md") and "local" not in p.parts]
    files = {p.relative_to(ROOT).as_posix() for p in found}  # a README.md too: `gancli help` reads them
    assert "conf/data/README.md" in files
    assert {f"gancli/{name}" for name in files} <= names
    assert not [name for name in names if "local/" in name or name.startswith(("conf/", "tests/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_composes_from_another_folder(installed: Path, tmp_path: Path) -> None:
    answer = run(installed, tmp_path, "train", "--cfg", "job", "model=mlp_gan", "data=mnist")
    assert answer.returncode == 0, answer.stderr
    assert "_target_: gancli.models.mlp_gan.MLPGAN" in answer.stdout and "seed: 0" in answer.stdout
    where = run(installed, tmp_path, "train", "--info", "searchpath").stdout
    assert str(installed.resolve()) in where and str(ROOT / "conf") not in where


def test_checks_targets_from_another_folder(installed: Path, tmp_path: Path) -> None:
    answer = run(installed, tmp_path, "train", "+optimizer.lrr=1")
    assert answer.returncode == 2 and "did you mean 'lr'?" in answer.stderr
