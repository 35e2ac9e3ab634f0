"""Several processes that train together: the same images in the same order, and gradients that are means over all."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from helpers import compose, overrides
from pairs import found_by
from processes import alive, until

from gancli.cli.ranks import Crew
from gancli.data.loader import Loader
from gancli.data.source import Images
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.training.build import build
from gancli.training.loop import train
from gancli.training.ranks import Meter
from gancli.training.runtime import Runtime


def images(n: int) -> Images:
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    return Images(pixels, np.arange(n), ImageSpec(1, 2, 2, num_classes=n), "numbers", "train", "x")


def loader(world: int, rank: int, resident: bool = True) -> Loader:
    return Loader(images(30), 8, device=torch.device("cpu"), seed=3, resident=resident, rank=rank, world=world)


@pytest.mark.parametrize("resident", [True, False])
def test_ranks_share_the_batches_of_one_process(resident):
    one, ranks = loader(1, 0, resident), [loader(2, rank, resident) for rank in (0, 1)]
    seen = []
    for _ in range(15):  # four epochs
        whole, parts = one.next().label, [each.next().label for each in ranks]
        assert torch.equal(parts[0], whole[0::2]) and torch.equal(parts[1], whole[1::2])
        seen += whole.tolist()
    for epoch in range(4):
        assert sorted(seen[30 * epoch : 30 * (epoch + 1)]) == list(range(30))
    for each in (one, *ranks):
        each.close()


def test_a_batch_must_divide_among_the_ranks():
    with pytest.raises(UsageError, match="multiples of 3"):
        loader(3, 0)


def test_one_rank_is_the_trivial_case():
    runtime = build(compose("train", overrides("dcgan"))).runtime
    tensor = torch.randn(3)
    before = tensor.clone()
    runtime.all_reduce([tensor])
    assert torch.equal(tensor, before) and runtime.is_main and (runtime.rank, runtime.world) == (0, 1)


def test_the_events_of_a_gpu_are_read_once_they_are_over_and_do_not_pile_up(monkeypatch):
    """The stand-in's clock counts recorded events; a pair is over three messages later."""
    clock = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            clock.append(1)
            self.at = len(clock)

        def query(self):
            return len(clock) >= self.at + 6

        def elapsed_time(self, end):
            return 1000.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    meter = Meter(torch.device("cuda"))
    for _ in range(100):
        with meter.measured(torch.zeros(250)):
            pass
        assert len(meter.events) <= 4
    meter.begun = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: 400.0)
    assert meter.read() == {"runtime/all_reduce": 100 / 400, "runtime/all_reduce_mb": 1e-3} and not meter.events


def test_all_reduce_takes_means_in_one_message_for_each_type(monkeypatch):
    """Against a stand-in for another process, whose tensors are ten times as large."""
    messages = []

    def summed(flat: torch.Tensor) -> None:
        messages.append(flat.numel())
        flat.mul_(11)

    monkeypatch.setattr(torch.distributed, "all_reduce", summed)
    tensors = [torch.full((2, 3), 2.0), torch.tensor([4.0]), torch.tensor(6.0).double()]
    Runtime(torch.device("cpu"), rank=1, world=2).all_reduce(tensors)
    assert [each.flatten()[0].item() for each in tensors] == [11.0, 22.0, 33.0]
    assert sorted(messages) == [1, 7] and tensors[0].shape == (2, 3) and tensors[2].dtype == torch.float64
    assert not Runtime(torch.device("cpu"), rank=1, world=2).is_main


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> dict[str, Any]:
    """What two processes found of each other, see rank_pair.py; they are started once for all tests."""
    return found_by("rank_pair.py", tmp_path_factory.mktemp("pair"))


CASES = ["toy_gan", "wgan_gp", "dcgan", "relativistic", "ada", "pixelcnn", "cyclegan", "free bits"]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_like_one(case, pair):
    """2 x 32 images as 1 x 64, from the same random numbers; a float32 rounds at 6e-8, and losses add many of them."""
    found = pair[case]
    assert found["weights"] < 1e-6 and found["means"] < 5e-5 and found["moved"] > 1e-3
    assert found["between"] == 0  # all weights of both processes are equal, bit for bit


def test_the_comparison_can_fail(pair):
    """Batch norm over the own images makes a difference; the two networks are equal all the same."""
    found = pair["wgan_gp without sync_bn"]
    assert found["weights"] > 1e-4 and found["between"] == 0


def test_every_image_is_seen_once_per_epoch_by_two_processes_then_one_then_two(pair):
    sizes = [len(stage) for stage in pair["stages"]]
    assert sizes == [48, 48, 24, 56]  # and the last batch of the last stage is whole
    numbers = sum(pair["stages"], [])
    order = by_order(numbers, sizes)
    for epoch in range(3):
        assert sorted(order[57 * epoch : 57 * (epoch + 1)]) == list(range(57))


def by_order(numbers: list[int], sizes: list[int]) -> list[int]:
    """Return the images in the order of the batches: each stage of two lists those of the first one first."""
    found: list[int] = []
    for size, shared in zip(sizes, (2, 2, 1, 2)):
        stage, numbers = numbers[:size], numbers[size:]
        own = [stage[i * size // shared : (i + 1) * size // shared] for i in range(shared)]
        found += [each for batch in zip(*own) for each in batch]
    return found


def test_a_resumed_run_of_two_is_the_run_that_was_not_interrupted(pair):
    """Weights, moments, pools, random numbers and pending means of both processes, bit for bit."""
    assert pair["resumed"] == []


def test_one_folder_one_log_and_one_event_file(pair):
    (run,) = (pair["folder"] / "outputs").glob("*/*")
    lines = (run / "log.txt").read_text().splitlines()
    assert len([line for line in lines if "16/16 images" in line]) == 1 and any("cpu x 2" in line for line in lines)
    assert any("means of gradients: " in line and "MB per update" in line for line in lines)
    assert len(list(run.glob("events.*"))) == 1 and json.loads((run / "status.json").read_text())["state"] == "done"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows if "loss/generator" in row] == [8, 16]
    assert 0 < rows[0]["runtime/all_reduce"] < 1 and rows[0]["runtime/all_reduce_mb"] > 0
    assert json.loads((run / "machine.json").read_text())[0]["processes"] == 2


def test_what_torchrun_starts_is_one_command(pair):
    """The codes of train, and of commands that are wrong, of which the first process alone speaks."""
    assert pair["codes"] == [[0, 2, 2, 2], [0, 2, 2, 2]]
    for words in (
        "gancli doctor runs in one process; start it without torchrun",
        "n: expected a number of images",
        "nn: no such key",
    ):
        assert pair["said"].count(f"gancli: {words}") == 1, pair["said"]


def test_a_signal_stops_all_in_the_same_turn(pair):
    first, second = pair["signals"]["turns"]
    assert first == second > 4 and pair["signals"]["signal"] == signal.SIGTERM


def test_a_loss_that_is_not_finite_in_one_process_stops_all(pair):
    assert [each.partition(";")[0] for each in pair["nan"]] == ["fake of generator is not finite at 8 images"] * 2


def test_eval_starts_its_processes_itself(cli, tmp_path):
    """The first one writes one card, into the folder of the run, and returns the values of a single process."""
    assert cli("train", *overrides("dcgan", "images=16", "doctor.every=0", "samples.every=0")).code == 0
    words = ["latest", "features=pixels", "metrics=[fid]", "n=20", "batch_size=4", "floor=false", "again=true"]
    values = []
    for n in (1, 2):
        answer = cli("eval", *words, "runtime=cpu", f"runtime.processes={n}")
        assert answer.code == 0, answer.err
        (card,) = tmp_path.glob("outputs/*/*/eval/*.json")
        values.append(json.loads(card.read_text())["values"]["fid"])
        card.unlink()
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    wrong = cli("eval", "latest", "runtime=cpu", "runtime.sync_bn=true")
    assert wrong.code == 2 and "runtime.sync_bn=true: batch norm uses the statistics of the training" in wrong.err


def children() -> Iterator[tuple[int, str]]:
    """Yield the processes of ranks that this one has started, and their names."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if parent == os.getpid() and len(words) > 3 and words[3].startswith("rank-"):
            yield int(path.name), words[3]


@pytest.fixture
def killed(tmp_path) -> Iterator[dict[str, int]]:
    """Kill the second rank of a run that has just saved its first checkpoint, from a thread; yield all pids by name."""
    pids: dict[str, int] = {}

    def kill() -> None:
        until(lambda: any(tmp_path.glob("outputs/*/*/checkpoints/[0-9]*.pt")))
        pids.update({name: pid for pid, name in children()})
        os.kill(pids["rank-1"], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    yield pids
    thread.join()


def test_a_rank_that_dies_ends_all(cli, killed, tmp_path):
    long = ["images=1M", "checkpoint.every=80", "samples.every=0", "doctor.every=0", "runtime.processes=2"]
    answer = cli("train", *overrides("dcgan", *long))
    (run,) = tmp_path.glob("outputs/*/*")
    status = json.loads((run / "status.json").read_text())
    assert answer.code == 1 and set(killed) == {"rank-0", "rank-1"} and not any(map(alive, killed.values()))
    gone = "process 2 of 2 is gone, so all end: its process was killed by SIGKILL: out of memory?; continue with:"
    assert answer.err.splitlines() == [f"gancli: {gone}", f"gancli train resume={run}"]
    assert status["state"] == "failed" and gone in status["error"]
    resumed = cli("train", f"resume={run}", "images=8", "runtime.processes=1")
    assert "has seen" in resumed.err and resumed.code == 2  # the checkpoint is whole


def test_a_signal_to_one_process_saves_and_stops_all(pair):
    (saved,) = sorted((pair["folder"] / "stopped" / "checkpoints").glob("*.pt"))[-1:]
    state = torch.load(saved, weights_only=True)
    told = f"{int(signal.SIGUSR1)}: stopped and saved at {state['images']:,} images; continue with:"
    assert [each.splitlines()[0] for each in pair["stopped"]] == [told] * 2
    assert len(state["ranks"]) == 1 and state["images"] >= 80


def test_signals_are_passed_on_to_all_processes(tmp_path):
    """A third Ctrl-C kills them."""
    sent: list[tuple[int, int]] = []

    class Process:
        def __init__(self, rank: int) -> None:
            self.send_signal = lambda signum: sent.append((rank, signum))

    crew = Crew(tmp_path)
    crew.members = [(None, Process(rank)) for rank in (0, 1)]
    for signum in (signal.SIGUSR1, signal.SIGINT, signal.SIGINT, signal.SIGINT):
        crew.caught(signum, None)
    expected = [signal.SIGUSR1, signal.SIGINT, signal.SIGINT, signal.SIGKILL]
    assert sent == [(rank, signum) for signum in expected for rank in (0, 1)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runtime.processes=3"], "batch_size=8 must be a multiple of 3, to be shared among 3 processes; for example"),
        (["runtime.gpus=2"], "runtime.gpus=2, but runtime.device=cpu; use runtime.processes=2"),
        (["experiment=lecture/dirac_gan", "runtime.processes=2"], "a lecture draws one figure and does not use it"),
    ],
)
def test_what_cannot_be_shared_is_refused(words, told, cli):
    settings = ["runtime=cpu"] if "lecture" in words[0] else overrides("dcgan")
    answer = cli("train", *settings, *words)
    assert answer.code == 2 and told in answer.err and len(answer.err.splitlines()) == 1


def test_other_commands_run_in_one_process(cli):
    answer = cli("bench", "model=dcgan", "runtime=cpu", "runtime.processes=2")
    assert answer.code == 2 and "only gancli train, eval and sample run in several processes" in answer.err


def test_only_the_main_process_writes(monkeypatch, tmp_path):
    """The second of two processes, whose partner is left out, does all of a run's work and leaves no file."""
    monkeypatch.setattr(Runtime, "from_config", lambda cfg: Runtime(torch.device("cpu"), rank=1, world=2))
    monkeypatch.setattr(Runtime, "all_reduce", lambda self, tensors, **kwargs: None)
    every = [f"{group}.every=8" for group in ("samples", "checkpoint", "log", "doctor", "eval")]
    settings = ("images=16", "eval.n=10", *every)
    found = train(compose("train", overrides("dcgan", *settings)), tmp_path / "run")
    assert found["loss/generator"] and not (tmp_path / "run").exists()
