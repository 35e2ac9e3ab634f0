"""The parts of gancli bench against closed forms: a fake clock, counted operators, loops that learn the same."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import compose, overrides
from torch.autograd import DeviceType

from gancli.training.build import build
from gancli.training.runtime import Runtime
from gancli.training.tracker import Tracker
from gancli.verbs.bench import loops, textbook, timing, work
from gancli.verbs.bench.run import _work

CPU = Runtime(torch.device("cpu"))


class FakeClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, 0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float, images: int = 0) -> int:
        self.now += seconds
        return images

    def wait(self) -> None:
        self.waits += 1


class Parts:
    """Stands for every part of a run; each call takes a time of its own."""

    def __init__(self, clock: FakeClock, **seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: self.clock.spend(self.seconds.get(name, 0.0)) or {}


def test_rounds_are_interleaved_and_rates_exact() -> None:
    clock, order = FakeClock(), []
    slow = lambda: order.append("slow") or clock.spend(0.5, 8)  # noqa: E731
    fast = lambda: order.append("fast") or clock.spend(0.125, 8)  # noqa: E731
    found = timing.interleaved({"a": slow, "b": fast}, rounds=3, seconds=1.0, wait=clock.wait, clock=clock)
    assert found == {"a": [16.0] * 3, "b": [64.0] * 3}
    assert order == (["slow"] * 2 + ["fast"] * 8) * 3 and clock.waits == 12
    assert timing.interleaved({"a": slow}, rounds=1, seconds=0.1, wait=clock.wait, clock=clock) == {"a": [16.0]}


def test_the_queue_of_launches_is_bounded() -> None:
    clock = FakeClock()
    timing.interleaved({"a": lambda: clock.spend(1.0, 1)}, rounds=1, seconds=60.0, wait=clock.wait, clock=clock)
    assert clock.waits == 2 + 60 // timing.QUEUE


def test_phases_are_those_of_the_clock_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    run = build(compose("train", overrides("wgan_gp", "doctor.every=0")))
    assert [step.phase.name for step in run.steps] == ["discriminator", "generator"]
    for step, seconds in zip(run.steps, (0.25, 0.5)):
        monkeypatch.setattr(step, "compute", lambda *a, s=seconds, **k: clock.spend(s) or {})
    for part, seconds in ((run.loader, 0.125), (run.ema, 1.0)):
        real = part.compute
        monkeypatch.setattr(part, "compute", lambda *a, r=real, s=seconds: (clock.spend(s), r(*a))[1])
    monkeypatch.setattr(run.loss, "forward", lambda: None, raising=False)
    entered = type(run).enter
    monkeypatch.setattr(type(run), "enter", lambda *a, **k: (clock.spend(0.0625), entered(*a, **k))[1])
    tracker = Parts(clock, add=2.0)
    found = timing.phases(run, tracker, cycle=4, seconds=0.0, clock=clock)
    wanted = {"data": 5 * 0.125, "discriminator": 5 * 0.25, "generator": 0.5, "ema": 1.0, "scalars": 12.0}
    assert found == pytest.approx({**wanted, "rest": 0.0625})
    assert sum(found.values()) == clock.now / 4  # whole cycles
    assert run.images == 0  # the copy has a clock of its own


def test_operators_are_counted_by_their_shapes() -> None:
    a, b = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7)
    with work.Work() as counted:
        c = a @ b
    assert (counted.operators, counted.flops, counted.bytes) == (1, 2 * 3 * 5 * 7, 4 * (15 + 35 + 21))
    with work.Work() as counted:
        c.t(), c[1:], c.view(7, 3), c.detach(), b.expand(4, 5, 7)
    assert (counted.operators, counted.flops, counted.bytes) == (0, 0, 0)
    with work.Work() as counted:
        c.sum().backward()
    assert counted.flops == 2 * 3 * 5 * 7  # of the gradient of a alone
    with work.Work() as counted:
        b.add_(1), torch._foreach_mul_([b, b.clone()], 2.0)
    assert counted.bytes == 4 * 35 * (2 + 2 + 4)  # in place, a copy, two in place
    with work.Work() as counted:
        torch.ones(1, 7).expand(1000, 7).sum()
    assert counted.bytes == 4 * (7 + 7 + 1)  # what is expanded has no more memory


def test_flops_of_a_turn() -> None:
    """Two layers each; D trains on 8 + 8 images that G draws without a gradient, and G through D."""
    words = ["loss=nonsaturating", "penalty=[]", "batch_size=8", "doctor.every=0"]
    run = build(compose("train", overrides("fgan", *words)))
    nets = [run.model.generator, run.model.discriminator]
    layers = [[m for m in net.modules() if isinstance(m, torch.nn.Linear)] for net in nets]
    g, d = ([2 * 8 * m.weight.numel() for m in each] for each in layers)
    with work.Work() as counted:
        loops.own(run, SimpleNamespace(add=lambda scalars: None))()
    trained_d = 2 * (3 * sum(d) - d[0])  # forward, weights, inputs of all layers but the first
    trained_g = 3 * sum(g) - g[0] + 2 * sum(d)  # no weights of D
    assert counted.flops == trained_d + sum(g) + trained_g


def test_operators_are_counted_where_graphs_launch_them() -> None:
    """A replay calls none."""
    run = build(compose("train", overrides("mlp_gan")))
    _work(run, Tracker(Path(), main=False), 1)  # the first turn allocates
    expected = _work(run, Tracker(Path(), main=False), 1)
    run.graphs = lambda turn, *, measure: pytest.fail("a replay")
    found = _work(run, Tracker(Path(), main=False), 1)
    assert found == expected and found["operators"] > 50 and found["flops"] > 0


def test_ceilings_of_a_fake_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setitem(work.SIDES, "cpu", 4)
    monkeypatch.setitem(work.BYTES, "cpu", 100)
    found = work.ceilings(CPU, clock=lambda: next(ticks))
    assert found == pytest.approx((2 * 4**3 * work.TIMES, 2 * 100 * work.TIMES))


def test_work_of_a_gpu_is_told_from_its_names() -> None:
    event = lambda kind, named: SimpleNamespace(device_type=kind, is_user_annotation=named)  # noqa: E731
    events = [event(DeviceType.CUDA, False), event(DeviceType.CUDA, True), event(DeviceType.CPU, False)]
    assert work.launched(events) == 1 and work.kernels(CPU, lambda: None) is None


def test_memory_of_a_container_is_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(work, "CGROUP", tmp_path / "max")
    whole = work.memory(CPU)
    assert 0 < whole.peak < whole.total
    (tmp_path / "max").write_text("max\n")
    assert work.memory(CPU).total == whole.total
    (tmp_path / "max").write_text("4096\n")
    assert work.memory(CPU).total == 4096


def test_the_bare_loop_takes_the_same_step() -> None:
    """From the same weights, latents and images, both players have the weights that gancli's own turn gives them."""
    words = ["loss=nonsaturating", "penalty=[]", "doctor.every=0", "data.n=8", "data.validation=0", "optimizer=sgd"]
    runs = [build(compose("train", overrides("dcgan", *words, "data.flip=false"))) for _ in range(2)]
    for run in runs:
        run.model.latent = lambda n, g=None: torch.linspace(-1, 1, n * 100).view(n, 100, 1, 1)
    loops.own(runs[0], SimpleNamespace(add=lambda scalars: None))(), loops.bare(runs[1])()
    ours, theirs = (run.model.state_dict() for run in runs)
    for name in ours:  # in another order of the images, whose batch is the whole set
        assert torch.allclose(ours[name].double(), theirs[name].double(), atol=1e-5), name


def test_the_textbook_learns_and_counts_its_images() -> None:
    torch.manual_seed(0)
    pixels = np.full((20, 1, 4, 4), 255, np.uint8)
    g, d = torch.nn.Linear(3, 16), torch.nn.Linear(16, 1)
    game = textbook.Game(
        g, d, lambda n: g(torch.randn(n, 3)).view(n, 1, 4, 4), lambda x: d(x.flatten(1)).view(-1),
        torch.nn.functional.binary_cross_entropy_with_logits,
    )  # fmt: skip
    steps = textbook.play(game, textbook.Pictures(pixels), 0, 8, "cpu")
    assert [next(steps) for _ in range(3)] == [8, 16, 24]  # over the border of an epoch, without its rest
    for _ in range(100):
        next(steps)
    assert d(torch.ones(16)) > d(torch.zeros(16)) and g.bias.mean() > 0


def test_pictures_of_the_textbook_are_padded_with_black() -> None:
    picture = textbook.Pictures(np.full((1, 1, 28, 28), 255, np.uint8), 32)[0]
    assert picture.shape == (1, 32, 32) and picture[0, 0, 0] == -1 and picture[0, 16, 16] == 1
    assert textbook.Pictures(np.zeros((1, 1, 28, 28), np.uint8))[0].shape == (1, 28, 28)
