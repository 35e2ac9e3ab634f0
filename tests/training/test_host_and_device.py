"""The device parts of a step: no waiting, and the same operations in the same order whatever the data hold."""

import pytest
import torch
from helpers import NoHostSync, compose, overrides
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.training.build import build


class Recorded(TorchDispatchMode):
    """Write down the names and shapes of all operations."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = [tuple(each.shape) for each in args if isinstance(each, torch.Tensor)]
        self.calls.append((func._schema.name, shapes))
        return func(*args, **(kwargs or {}))


MANY = [
    "penalty=[r1,gradient_penalty]", "stabilizer=[instance_noise,flip_labels,ada]", "accumulate=2", "clip=1",
    "loss.penalties.r1.gamma={from: 10, to: 1}", "loss.stabilizers.flip_labels.p={from: 0.1, to: 0}",
]  # fmt: skip
KINDS = {
    "dcgan": ["data.flip=true", *MANY],
    "pixelcnn": ["data.binarise=dynamic", "likelihood@model.likelihood=bernoulli"],
    "cyclegan": [],
    "pix2pix": [],
    "stargan": [],
}


@pytest.mark.parametrize("model", KINDS)
def test_the_device_parts_read_no_value_and_take_one_way(model):
    run = build(compose("train", overrides(model, "ema.half_life=1k", *KINDS[model])))
    recorded = []
    for images in (0, 8, 16):  # the first makes the optimizers' states
        drawn = run.loader.prepare(images / run.total)
        mode = Recorded()
        with NoHostSync(), mode:
            batch = run.loader.compute(drawn)
        for step in run.steps:
            step.prepare(images / run.total, run.schedule(images, run.total))
            with NoHostSync(), mode:
                step.compute(batch)
        with NoHostSync(), mode:
            run.ema.update(8, images / run.total)
        recorded.append(mode.calls)
    assert recorded[1] == recorded[2] and len(recorded[1]) > 50


def test_the_host_part_of_the_loader_alone_moves_its_place():
    loader = build(compose("train", overrides())).loader
    before = loader.state_dict()["given"]
    first, second = loader.prepare(), loader.prepare()
    assert loader.state_dict()["given"] == before + 2 * loader.batch_size
    assert not torch.equal(loader.compute(first).image, loader.compute(second).image)
    assert torch.equal(loader.compute(first).image, loader.compute(first).image)


def test_terms_are_chosen_by_the_host():
    run = build(compose("train", overrides("dcgan", "penalty=[r1]", "loss.penalties.r1.interval=3")))
    step, batch = run.steps[0], run.loader.next()
    due = []
    for _ in range(4):
        step.prepare()
        due.append("discriminator/r1" in step.compute(batch))
    assert due == [True, False, False, True]
