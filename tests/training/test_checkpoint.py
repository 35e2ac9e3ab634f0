"""Checkpoints: whole or not at all, found again, and never code."""

import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from helpers import run

from gancli.errors import UsageError
from gancli.training import checkpoint


def fake_run(folder, *images):
    for n in images:
        checkpoint.save(folder / "checkpoints" / checkpoint.name(n), {"images": n})


def test_the_newest_is_found_and_old_ones_are_pruned(tmp_path):
    fake_run(tmp_path, 5, 1000, 200)
    (tmp_path / "checkpoints" / "best.pt").write_bytes(b"x")
    assert checkpoint.find(tmp_path).name == checkpoint.name(1000)
    assert checkpoint.find(tmp_path / "checkpoints").name == checkpoint.name(1000)
    checkpoint.prune(tmp_path, keep=2)
    assert [p.name for p in checkpoint.numbered(tmp_path)] == [checkpoint.name(200), checkpoint.name(1000)]
    assert (tmp_path / "checkpoints" / "best.pt").exists()


def test_a_damaged_newest_file_does_not_cost_the_run(tmp_path):
    fake_run(tmp_path, 100, 200)
    newest = tmp_path / "checkpoints" / checkpoint.name(200)
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    assert checkpoint.find(tmp_path).name == checkpoint.name(100)


@pytest.mark.parametrize("moment", ["while writing", "before the rename"])
def test_killed_in_the_middle_of_a_save_the_old_checkpoint_stays(tmp_path, moment):
    """A subprocess saves, then dies by SIGKILL inside its second save."""
    code = f"""
        import os, signal, torch
        from pathlib import Path
        from gancli.training import checkpoint
        path = Path({str(tmp_path)!r}) / "checkpoints" / checkpoint.name(100)
        checkpoint.save(path, {{"images": 100}})
        def die(*args): os.kill(os.getpid(), signal.SIGKILL)
        if {moment!r} == "while writing":
            def torn(state, file): file.write(b"PK half a checkpoint"); file.flush(); die()
            torch.save = torn
        else:
            os.replace = die
        checkpoint.save(path.with_name(checkpoint.name(200)), {{"images": 200}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert done.returncode == -signal.SIGKILL
    assert checkpoint.find(tmp_path).name == checkpoint.name(100)
    assert torch.load(checkpoint.find(tmp_path), weights_only=True)["images"] == 100
    assert list((tmp_path / "checkpoints").glob(".*.tmp"))
    checkpoint.prune(tmp_path, keep=3)
    assert not list((tmp_path / "checkpoints").glob(".*.tmp"))


def test_a_full_disk_leaves_the_old_checkpoint_and_no_rubbish(tmp_path):
    fake_run(tmp_path, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError):
            checkpoint.save(tmp_path / "checkpoints" / checkpoint.name(200), {"x": torch.zeros(10**6)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [checkpoint.name(100)]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, write):
    file = tmp_path / "evil.pt"
    write({"format": checkpoint.FORMAT, "model": Bomb(tmp_path / "ran")}, file)
    with pytest.raises(UsageError, match="evil.pt") as error:
        checkpoint.load(file)
    assert not (tmp_path / "ran").exists() and "\n" not in str(error.value)


SPEC = {"channels": 1, "height": 8, "width": 8}
LOADER = {"seed": 0, "given": 0, "size": 1, "flips": torch.zeros(1, dtype=torch.uint8)}
WHOLE = {
    "format": checkpoint.FORMAT, "config": "model: {_target_: x.Y}\ndata: {_target_: x.Z}", "spec": SPEC, "images": 1,
    "model": {}, "ema": {}, "optimizers": {}, "loss": {}, "rng": {"cpu": torch.zeros(1), "cuda": []}, "loader": LOADER,
    "metrics": {"best": None}, "versions": {},
}  # fmt: skip


def test_a_checkpoint_without_names_of_classes_is_read(tmp_path):
    torch.save(WHOLE, tmp_path / "x.pt")
    assert checkpoint.load(tmp_path / "x.pt").classes == []


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "cannot be read"),
        (b"not a checkpoint at all", "cannot be read"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "cannot be read"),
        ({"format": checkpoint.FORMAT}, "not as gancli writes"),
        ({"format": checkpoint.FORMAT, "config": "a: 1", "spec": {"depth": 3}, "images": 1}, "not as gancli writes"),
        (WHOLE | {"classes": [3, 4]}, "not as gancli writes"),
        (WHOLE | {"classes": 7}, "not as gancli writes"),
        ({"format": "gancli-99"}, "gancli-99.*gancli-3"),
        ({"state_dict": {}}, "not a gancli checkpoint"),
        ([1, 2], "not a gancli checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_named_in_one_line(tmp_path, content, says):
    file = tmp_path / "x.pt"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(UsageError, match=says) as error:
        checkpoint.load(file)
    assert "\n" not in str(error.value) and "x.pt" in str(error.value)


@pytest.mark.parametrize("path, says", [("nowhere", "no checkpoint or run folder"), (".", "no checkpoint in")])
def test_nothing_there(tmp_path, path, says):
    with pytest.raises(UsageError, match=says):
        checkpoint.find(tmp_path / path)


@pytest.mark.parametrize(
    "target", ["os.system", "gancli.cli.sys.exit", "torch.hub.load", "builtins.eval", "gancli.config.Path"]
)
def test_a_checkpoint_whose_model_is_not_a_model_is_refused(tmp_path, target):
    run(tmp_path, "images=16")
    file = checkpoint.find(tmp_path)
    state = torch.load(file, weights_only=True)
    state["config"] = (
        state["config"].replace("gancli.models.dcgan.DCGAN", target) + "\ntrust: [os, builtins, torch, gancli]\n"
    )
    state["config"] = state["config"].replace("\ntrust: []", "")
    torch.save(state, file)
    with pytest.raises(UsageError, match=target.replace(".", r"\.")) as error:
        checkpoint.rebuild(file)
    assert "\n" not in str(error.value)


def test_a_checkpoint_stands_alone(tmp_path):
    """Moved away from its run, the file still is the model, and its results go beside it."""
    run(tmp_path / "run", "images=16")
    lone = tmp_path / "lone.pt"
    checkpoint.find(tmp_path / "run").rename(lone)
    assert checkpoint.rebuild(lone).sample(2).shape == (2, 1, 8, 8)
    assert checkpoint.run_dir(lone) == tmp_path


def test_bytes_changed_at_random_end_in_one_line_or_in_the_same_checkpoint(tmp_path):
    """200 files, each with a few bytes of its archive changed: nothing but a UsageError ever comes out."""
    run(tmp_path / "run", "images=16")
    good = checkpoint.find(tmp_path / "run").read_bytes()
    rng = random.Random(0)
    refused = 0
    for i in range(200):
        data = bytearray(good)
        spots = range(4096) if i % 2 else range(len(data))  # the pickle lies at the front
        for _ in range(rng.randint(1, 6)):
            data[rng.choice(spots)] = rng.randrange(256)
        file = tmp_path / "changed.pt"
        file.write_bytes(data)
        try:
            checkpoint.rebuild(file)
        except UsageError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def test_what_a_stop_saved_between_two_checkpoints_goes_first(tmp_path):
    def left(*images: int) -> list[int]:
        folder = tmp_path / "-".join(map(str, images)) / checkpoint.FOLDER
        folder.mkdir(parents=True)
        for each in images:
            (folder / checkpoint.name(each)).touch()
        checkpoint.prune(folder.parent, 2, 48)
        return sorted(int(path.stem) for path in folder.iterdir())

    assert left(48, 56, 96) == [48, 96] == left(20, 48, 96)
    assert left(48, 56) == [48, 56] and left(20) == [20]  # the newest is the run's state
    assert left(16, 24) == [16, 24] and left(8, 16, 24) == [16, 24]  # nothing goes without need
    assert left(48, 96, 144) == [96, 144] == left(48, 96, 100, 144)
