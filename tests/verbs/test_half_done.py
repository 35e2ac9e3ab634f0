"""Folders of results are whole or empty, however the job ended."""

import os
import signal

import numpy as np
import pytest
from forks import exit_code
from helpers import run
from PIL import Image

from gancli.cli import main
from gancli.views import pictures


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cyclegan")
    run(folder, "images=8", "samples.every=0", "data.a.channels=3", "data.b.channels=3", model="cyclegan")
    return folder


@pytest.mark.parametrize("how", ["a kill", "a signal", "an error"])
def test_a_job_that_ended_half_way_can_be_repeated(trained, tmp_path, how, monkeypatch, capsys):
    """One mechanism for folders of pictures, npz files and completions (guard.filling)."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(6):
        Image.fromarray(np.full((16, 16, 3), 40 * i, np.uint8)).save(photos / f"{i}.png")
    words = ["sample", f"ckpt={trained}", f"source={photos}", f"out={tmp_path / 'out'}", "runtime=cpu"]
    save, calls = pictures.save_png, []

    def ending(*args):
        calls.append(save(*args))
        if len(calls) == 3:
            {"a kill": kill, "a signal": lambda: signal.raise_signal(15), "an error": lambda: 1 / 0}[how]()

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "save_png", ending)
        code = exit_code(lambda: main(words)) if how == "a kill" else main(words)
    assert code == {"a kill": -9, "a signal": 143, "an error": 1}[how]
    said = capsys.readouterr().err
    if how == "a signal":
        assert "interrupted: stopped by signal 15" in said and "Traceback" not in said
    assert not list((tmp_path / "out").glob("*.png"))  # nobody takes the half for the whole
    assert main(words) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{i}.png" for i in range(6)]
