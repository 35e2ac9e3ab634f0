"""Turns as graphs, on the CPU: a tape repeats the recorded operations on the same memory, as a CUDA graph does."""

import pytest
import torch
from helpers import compose, overrides
from tape import Tape

from gancli.training import graphs
from gancli.training.build import build
from gancli.training.graphs import Graphs
from gancli.training.turn import run_turn


class Rows:
    """Keeps all scalars, as a tracker does."""

    def __init__(self):
        self.rows = []

    def add(self, scalars):
        self.rows.append(scalars)


EXACT = "optimizer.lr=0.000244140625"  # a power of two, so that the float32 in the graph's memory is the same number
CASES = {
    "mlp_gan": ["optimizer=sgd", "schedule=linear_from_start"],
    "dcgan": ["data.flip=true", "stabilizer=[instance_noise,flip_labels,ada]", "clip=1", "accumulate=2", EXACT],
    "dcgan, lazily": ["penalty=[r1]", "loss.penalties.r1={interval: 2, gamma: {from: 10, to: 1}}", EXACT],
    "toy_gan": ["optimizer.lr={from: 1e-3, to: 1e-4, shape: cosine}", "schedule=warmup"],
    "wgan_gp": [EXACT],
    "progan": [EXACT, "images=1k"],
    "vqvae": [],
    "pixelcnn": ["data.binarise=dynamic", "likelihood@model.likelihood=bernoulli", EXACT],
}  # fmt: skip
TURNS = 12


def trained(words, make=None, turns=TURNS):
    run, rows = build(compose("train", words)), Rows()
    if make:
        run.graphs = Graphs(run, make)
    for turn in range(turns):
        run_turn(run, rows, measure=turn == 1)
    return run, rows.rows


def near(ours, theirs, exact):
    assert list(ours) == list(theirs)
    for key in ours:
        limits = {"rtol": 0, "atol": 0} if exact and not key.startswith("ema.") else {"rtol": 1e-4, "atol": 1e-6}
        torch.testing.assert_close(ours[key], theirs[key], check_dtype=False, msg=key, **limits)


def tensors(run):
    return run.model.state_dict() | {f"ema.{key}": value for key, value in run.ema.state_dict().items()}


@pytest.mark.parametrize("name", CASES)
def test_replays_do_what_the_steps_do(name):
    words = overrides(name.partition(",")[0], "ema.half_life=1k", "images=400", *CASES[name])
    Tape.made.clear()
    run, rows = trained(words, Tape)
    eager, expected = trained(words)
    assert not run.graphs.reasons and max(tape.replays for tape in Tape.made) > 2
    for ours, theirs in zip(rows, expected, strict=True):
        near(ours, theirs, EXACT in words)
    near(tensors(run), tensors(eager), EXACT in words)
    assert (run.images, run.turn) == (eager.images, eager.turn)
    assert [step.updates for step in run.steps] == [step.updates for step in eager.steps]
    assert [step.rates() for step in run.steps] == [step.rates() for step in eager.steps]


def test_numbers_that_always_change_are_not_recorded(caplog):
    words = overrides("mlp_gan", "optimizer=sgd", "schedule=goodfellow2014", "schedule.ramp=10000", "images=400")
    run, rows = trained(words, Tape, 34)
    assert "differ in the numbers of their optimizers" in caplog.text and not run.graphs.kept
    assert len(rows) == 68 and run.turn == 34 and len(run.graphs.seen) < 34


def test_numbers_that_cease_to_change_are_recorded():
    betas = "optimizer.betas=[{from: 0.9, to: 0, until: 0.5}, 0.99]"
    run, _ = trained(overrides("dcgan", "images=160", betas), Tape, 18)
    assert len(run.graphs.kept) == 1 and not run.graphs.reasons


def test_kinds_beyond_the_most_are_done_step_by_step(monkeypatch, caplog):
    monkeypatch.setattr(graphs, "MOST", 1)
    run, _ = trained(overrides("dcgan", "images=400", "penalty=[r1]", "loss.penalties.r1.interval=2"), Tape)
    assert len(run.graphs.kept) == 1 and "graphs of 1 other kinds" in caplog.text


def test_what_cannot_be_recorded_is_done_step_by_step(caplog):
    class Fails(Tape):
        def capture(self, work):
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

    words = overrides("dcgan", "images=400")
    run, rows = trained(words, Fails, 6)
    eager, expected = trained(words, turns=6)
    assert run.graphs.reasons == ["operation not permitted when stream is capturing"]
    assert all(torch.equal(ours[key], theirs[key]) for ours, theirs in zip(rows, expected) for key in ours)


def test_a_replay_tells_that_weights_have_changed():
    """A graph writes to memory, of which torch's counts of changes know nothing; the mean style is kept by them."""

    class Silent(Tape):
        def replay(self):
            tensors = [each for net in (run.model, run.ema.model) for each in net.parameters()]
            before = tuple(each._version for each in tensors)
            super().replay()
            torch._C._autograd._unsafe_set_version_counter(tuple(tensors), before)

    run, means = build(compose("train", overrides("stylegan", "images=400", "ema.half_life=10"))), []
    run.graphs = Graphs(run, Silent)
    for _ in range(2 + graphs.WARM):
        run_turn(run, Rows(), measure=False)
        means.append([model.mean_style() for model in (run.model, run.ema.model)])
    assert run.graphs.kept
    for now, before in zip(means[1:], means):
        assert not any(torch.equal(a, b) for a, b in zip(now, before))


def test_graphs_need_a_gpu():
    run = build(compose("train", overrides("dcgan", "runtime.graphs=true")))
    assert run.graphs is None
    assert any("step by step, as the device is cpu" in line for line in run.warnings())


def test_a_kind_is_done_step_by_step_before_it_is_recorded():
    run, _ = trained(overrides("dcgan", "images=800"), Tape, graphs.WARM)
    assert not run.graphs.kept
