"""One module reads what others made, and files are written aside: what the source itself says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "gancli"


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("name", ["Image.open", "np.load", "zipfile.ZipFile", "tarfile.open", "shutil.unpack_archive"])
def test_only_one_module_opens_what_others_made(name) -> None:
    # The cache of decoded pixels, and the checksums of checkpoints, which are no pictures.
    own = {"np.load": {"gancli/data/cache.py"}, "zipfile.ZipFile": {"gancli/training/integrity.py"}}
    found = {str(f.relative_to(ROOT)) for f in PACKAGE.rglob("*.py") if name in {call for call, _ in calls(f)}}
    assert found - own.get(name, set()) <= {"gancli/data/untrusted.py"}


def test_files_are_written_aside_and_renamed_or_in_a_folder_that_was_looked_at() -> None:
    """What else is opened for writing lies in a run folder behind guard.writing(), or in gancli's own cache."""
    found, aside = set(), ("temporary.", "archive.")  # the file that replacing() makes, and members of a zip in it
    for file in PACKAGE.rglob("*.py"):
        for name, call in calls(file):
            modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            opens = name.split(".")[-1] == "open" and any(set(mode) & set("wax+") and len(mode) < 4 for mode in modes)
            if (opens or name.endswith((".write_text", ".write_bytes"))) and not name.startswith(aside):
                found.add(str(file.relative_to(PACKAGE)))
    assert found == {"data/cache.py", "training/tracker.py", "cli/launcher/pool.py"}
