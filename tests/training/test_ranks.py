"""Several processes that train together: the same images in the same order, and gradients that are means over all."""

import numpy as np
import pytest
import torch
import torch.distributed
from helpers import compose, overrides

from gancli.data.loader import Loader
from gancli.data.source import Images
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.training.build import build
from gancli.training.loop import train
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
    runtime.barrier()
    assert torch.equal(tensor, before) and runtime.is_main and (runtime.rank, runtime.world) == (0, 1)


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


def test_only_the_main_process_writes(monkeypatch, tmp_path):
    """The second of two processes, whose partner is left out, does all of a run's work and leaves no file."""
    monkeypatch.setattr(Runtime, "from_config", lambda cfg: Runtime(torch.device("cpu"), rank=1, world=2))
    monkeypatch.setattr(Runtime, "all_reduce", lambda self, tensors: None)
    every = [f"{group}.every=8" for group in ("samples", "checkpoint", "log", "doctor", "eval")]
    settings = ("images=16", "eval.n=10", *every)
    found = train(compose("train", overrides("dcgan", *settings)), tmp_path / "run")
    assert found["loss/generator"] and not (tmp_path / "run").exists()
