"""A run folder that is moved, removed or on a full disk while it is written into: one line that names it."""

import errno
import os
import shlex
import shutil

import pytest
from helpers import compose, overrides, run

from gancli.errors import UsageError
from gancli.training import checkpoint, loop
from gancli.training.folder import resuming
from gancli.training.guard import writing

OFTEN = ["images=800", "log.every=16", "checkpoint.every=16"]


def at_turn(monkeypatch, number, act):
    """Let something happen to the folder between two turns."""
    turn = loop.run_turn

    def acting(run, *args, **options):
        if run.turn == number:
            act()
        return turn(run, *args, **options)

    monkeypatch.setattr(loop, "run_turn", acting)


@pytest.mark.parametrize("deeper", [False, True])
def test_a_folder_that_moves_is_named_where_it_is(tmp_path, monkeypatch, cli, deeper):
    """Itself, or one above it."""
    old, new = tmp_path / "a" / "run", tmp_path / "b" / ("run" if deeper else "")
    moved = (tmp_path / "a", tmp_path / "b") if deeper else (old, new)
    at_turn(monkeypatch, 6, lambda: moved[0].rename(moved[1]))
    answer = cli("train", *overrides("dcgan", *OFTEN), f"hydra.run.dir={old}")
    assert answer.code == 2 and "Traceback" not in answer.err
    assert f"gancli: {old} was moved to {new} while it was written into" in answer.err
    assert not old.exists() and checkpoint.load(new).images == 48
    monkeypatch.undo()
    run(new, "images=64", f"resume={new}")


@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_removed_is_not_made_again(tmp_path, monkeypatch, cli, again):
    """Also if there is another folder of that name by then."""

    def remove():
        shutil.rmtree(tmp_path / "run")
        if again:
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "mine").touch()

    at_turn(monkeypatch, 6, remove)
    answer = cli("train", *overrides("dcgan", *OFTEN), f"hydra.run.dir={tmp_path / 'run'}")
    assert answer.code == 2 and f"gancli: {tmp_path / 'run'} was removed while it was written into" in answer.err
    assert [path.name for path in (tmp_path / "run").glob("*")] == ["mine"] * again


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("what", ["checkpoint.save", "write_samples", "Tracker.write"])
def test_a_full_disk_leaves_the_last_good_checkpoint_and_says_how_to_go_on(tmp_path, monkeypatch, number, what):
    owner, _, name = what.rpartition(".")
    target = {"checkpoint": checkpoint, "": loop, "Tracker": loop.Tracker}[owner]
    original, calls = getattr(target, name), []

    def full(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(number, os.strerror(number))
        return original(*args, **options)

    monkeypatch.setattr(target, name, full)
    told = f"(?s)no space left on the disk of {tmp_path};.*gancli train resume={tmp_path}"
    with pytest.raises(UsageError, match=told):
        run(tmp_path, *OFTEN, "samples.every=16")
    monkeypatch.undo()
    assert checkpoint.load(tmp_path).images in (32, 48)
    run(tmp_path, "images=64", f"resume={tmp_path}")


def test_other_verbs_name_their_own_folder(tmp_path):
    with (
        pytest.raises(UsageError, match=f"no space left on the disk of {tmp_path / 'out'};"),
        writing(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UsageError, match=f"{tmp_path / 'out'} was moved to {tmp_path / 'new'}"):
        with writing(tmp_path / "out"):
            (tmp_path / "out").rename(tmp_path / "new")
    with pytest.raises(PermissionError), writing(tmp_path / "out"):  # is explained by the command line
        raise PermissionError(errno.EACCES, "Permission denied", "x")


def test_the_commands_of_a_run_with_classes_of_others_can_be_typed(tmp_path, cli, package):
    """`gancli eval` builds them only if their package is trusted, so that the command without it would be refused."""
    package("own", nets="""
        from gancli.models.dcgan import DCGAN

        class Mine(DCGAN):
            pass
        """)  # fmt: skip
    own = ["model._target_=own.nets.Mine", "trust=[own]", "images=8", "hydra.run.dir=run"]
    answer = cli("train", *overrides("dcgan", *own))
    assert answer.code == 0, answer.err
    scored = shlex.split(next(line for line in answer.err.splitlines() if line.startswith("gancli eval ")))
    assert scored[2:] == [f"ckpt={tmp_path / 'run'}", "trust=[own]"]
    assert resuming(compose("train", overrides("dcgan", "trust=[own]")), tmp_path).endswith(" 'trust=[own]'")
    assert " trust" not in resuming(compose("train", overrides("dcgan")), tmp_path)
