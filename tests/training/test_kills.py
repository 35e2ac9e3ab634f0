"""A slice of ``make kills``: runs of two kinds, killed and resumed, end like those that were not."""

import subprocess
import sys

from conftest import ROOT


def test_killed_runs_end_like_those_that_were_not_interrupted():
    """In processes of its own, as a kill ends the whole process."""
    kinds = ["dcgan", "pixelcnn"]
    command = [sys.executable, str(ROOT / "tests" / "kills.py"), "--n", "2", "--seed", "1", "--kinds", *kinds]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs killed and resumed, 0 ended otherwise" in done.stdout
