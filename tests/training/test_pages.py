"""Pages that are freed stay with the process, unless its environment says otherwise."""

import os
import subprocess
import sys

import pytest

from gancli.training import pages

CODE = """
import resource, torch
from gancli.config import compose
from gancli.training.runtime import Runtime
Runtime.from_config(compose("train", ["runtime=cpu"]).runtime)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):  # the heap grows until all of them have a place
    before = faults()
    held = [torch.ones(4_000_000) for _ in range(6)]  # 16 MB each
    del held
    print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
@pytest.mark.parametrize(("said", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_pages_are_not_cleared_again_in_each_turn(said, kept) -> None:
    free = {key: value for key, value in os.environ.items() if key not in pages.OWN}
    words = [sys.executable, "-c", CODE]
    told = subprocess.run(
        words, env=free | said | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=True
    ).stdout
    first, *_, last = map(int, told.split())
    assert first > 40  # they are new to the process; a page has 4 KB, or 2 MB where the system joins them
    assert last < first / 10 if kept else last > first / 2


def test_what_the_environment_says_is_left_alone(monkeypatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072")
    assert not pages.keep()
