"""``batch_size=auto``: the recipe's batch in the fewest parts that fit, with a fake GPU, and as it is on a CPU."""

import weakref
from types import SimpleNamespace

import pytest
import torch
from helpers import compose, overrides

from gancli.config import composition
from gancli.errors import UsageError
from gancli.training import fitting
from gancli.training.build import build
from gancli.training.fitting import Peak, parts

GIB = 2**30


def gpu(gib: float, image: float, rest: float = 1.0):
    """Return a probe of a GPU with so much memory, of which each image of a batch of 60 needs some."""
    asked = []

    def probe(number: int) -> Peak:
        asked.append(number)
        used = (rest + image * 60 / number) * GIB
        return Peak(used if used < gib * GIB else float("inf"), round(gib * GIB))

    return probe, asked


@pytest.mark.parametrize(
    "gib, expected, tried",
    [(100, 1, [1]), (61, 2, [1, 2]), (67.9, 1, [1]), (14, 6, [1, 2, 3, 4, 5, 6]), (3, 60, None)],
)
def test_the_fewest_parts_that_leave_some_room(gib, expected, tried):
    probe, asked = gpu(gib, image=1.0)
    found, line = parts(60, probe)
    assert found == expected and 60 % found == 0 and (1 + 60 / found) <= fitting.SHARE * gib
    assert tried is None or asked == tried
    how = "at once" if found == 1 else f"in {found} parts"
    assert line.startswith(f"batch_size=auto: 60 images {how}; a turn takes {1 + 60 / found:.2f} of {gib:.2f} GiB")


def test_what_never_fits_is_refused():
    with pytest.raises(UsageError, match="not even one image at a time"):
        parts(60, gpu(1.5, image=1.0)[0])


def test_on_a_cpu_it_is_the_batch_of_the_recipe_and_noted():
    words = [word for word in overrides("dcgan") if not word.startswith("batch_size")]
    known = compose("train", words)
    cfg = compose("train", [*words, *composition.with_lists("train", ["batch_size=auto"])])
    assert cfg.accumulate == "auto" and cfg.batch_size == known.batch_size
    run = build(cfg)
    assert run.cfg.accumulate == cfg.accumulate == 1 and run.steps[0].accumulate == 1
    assert [line for line in run.notes if line.startswith("batch_size=auto") and "no GPU" in line]


def test_the_number_that_fits_is_that_of_the_run(monkeypatch):
    built = []

    def probing(make, device, tracker):
        def probe(number: int) -> Peak:
            built.append(make(number).steps[0].accumulate)
            return Peak(float("inf") if number < 4 else GIB, 2 * GIB)

        return probe

    monkeypatch.setattr(fitting, "probing", probing)
    cfg = compose("train", overrides("dcgan", "accumulate=auto"))
    assert cfg.batch_size == 8 and build(cfg).steps[0].accumulate == cfg.accumulate == 4 and built == [1, 2, 4]


class Thrown:
    """A run that no reference count frees, as runs are: it is a part of a circle."""

    def __init__(self, graphs=None):
        self.own, self.graphs, self.steps, self.closed = self, graphs, [None], []
        self.loader = SimpleNamespace(close=lambda: self.closed.append(True))

    def enter(self, share, *, reset): ...


@pytest.mark.parametrize("graphs, short, turns", [(None, False, 1), ("graphs", False, 4), (None, True, 1)])
def test_nothing_of_a_probe_is_left_when_its_memory_is_given_back(graphs, short, turns, monkeypatch):
    """Else the run itself would be refused memory that the last probe still has."""
    done, living, runs = [], [], []

    def build(number):
        runs.append(weakref.ref(run := Thrown(graphs)))
        done.append(run.closed)
        return run

    def turn(run, tracker, *, measure):
        done.append("turn")
        if short:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(fitting, "run_turn", turn)
    for name, value in {
        "mem_get_info": lambda device: (9, 10), "max_memory_reserved": lambda device: 5,
        "synchronize": lambda device: 0, "reset_peak_memory_stats": lambda device: 0,
        "empty_cache": lambda: living.append([each() for each in runs]),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    probe = fitting.probing(build, torch.device("cuda"), lambda: None)
    assert probe(2) == Peak(float("inf") if short else 5.0, 9)
    assert living[-1] == [None]
    assert done == [[True], *["turn"] * turns]  # its threads are stopped, too


@pytest.mark.parametrize("word", ["accumulate=0", "accumulate=1.5", "accumulate=all", "accumulate=true"])
def test_other_values_are_refused(word):
    with pytest.raises(UsageError, match="must be 1 or more, or auto"):
        compose("train", overrides("dcgan", word))
