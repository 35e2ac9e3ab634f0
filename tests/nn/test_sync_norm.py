"""Batch norm over several processes, against torch's own on the whole batch; the other process has the same images."""

import copy

import pytest
import torch
from torch import Tensor, nn

from gancli.nn import ranks
from gancli.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from gancli.nn.sync_norm import Synchronised, running, synchronise_


@pytest.fixture(autouse=True)
def twin(monkeypatch) -> None:
    """A second process that always has what this one has."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.mul_(2))


def make(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return a layer with random parameters, and a synchronised copy of it, in float64."""
    layer = layer.double()
    for p in layer.parameters():
        nn.init.normal_(p)
    other = copy.deepcopy(layer)
    synchronise_(other)
    return layer, other


def derivatives(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a gradient, and the gradient of its squared norm."""
    (first,) = torch.autograd.grad(
        (y * torch.linspace(-1, 1, y[0].numel()).view(y[0].shape)).sum(), x, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return first, second


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(3), (5, 3)),
        (nn.BatchNorm2d(3), (4, 3, 2, 2)),
        (BatchNorm2d(3), (4, 3, 2, 2)),
        (nn.BatchNorm2d(3, affine=False), (4, 3, 2, 2)),
        (nn.BatchNorm2d(3, track_running_stats=False), (4, 3, 2, 2)),
    ],
)
def test_it_is_batch_norm_of_the_whole_batch(layer, shape):
    """Output, statistics of training, and two derivatives, in which both processes' images take part."""
    torch.manual_seed(0)
    one, several = make(layer)
    x = torch.randn(shape, dtype=torch.float64).add(3).requires_grad_()
    both = torch.cat([x, x]).detach().requires_grad_()
    expected = one(both)
    first, second = derivatives(expected, both)
    with ranks.together(2):
        found = several(x)
        own_first, own_second = derivatives(found, x)
    assert torch.allclose(found, expected[: len(x)], atol=1e-12)
    assert torch.allclose(own_first, first[: len(x)], atol=1e-12)
    assert torch.allclose(own_second, second[: len(x)], atol=1e-10)
    assert one.state_dict().keys() == several.state_dict().keys()
    for a, b in zip(one.buffers(), several.buffers()):
        assert torch.allclose(a.double(), b.double(), atol=1e-12)


def test_alone_and_in_evaluation_nothing_changes():
    one, several = make(nn.BatchNorm2d(3))
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    assert torch.equal(one(x), several(x))
    with ranks.together(2):
        assert torch.equal(one.eval()(x), several.eval()(x))


def test_labels_are_passed_on():
    one, several = make(ConditionalBatchNorm2d(3, 2))
    x, label = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    with ranks.together(2):
        assert torch.allclose(several(x, label), one(torch.cat([x, x]), label.repeat(2))[:4])


def test_statistics_that_are_not_synchronised_are_averaged_elsewhere():
    one, several = make(nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(2, track_running_stats=False)))
    assert [id(each) for each in running(one)] == [id(one[0].running_mean), id(one[0].running_var)]
    assert running(several) == [] and all(isinstance(each, Synchronised) for each in several)
    assert type(several[0]).__name__ == "BatchNorm2d" and copy.deepcopy(several)[0].weight.shape == (3,)


def test_formulas_over_the_batch():
    """Without a twin in sight they are the plain ones; with one, the mean is the same and the sum doubled."""
    x = torch.randn(6)
    assert ranks.total(x) is x and ranks.mean(x) is x and ranks.share_out(x) is x and ranks.parts() == 1
    assert torch.equal(ranks.std(x), x.std(correction=0))
    with ranks.together(2, 1):
        assert torch.equal(ranks.total(x), 2 * x) and torch.allclose(ranks.mean(x), x) and ranks.parts() == 2
        assert torch.allclose(ranks.std(x), x.std(correction=0))
        own = ranks.share_out(x.view(3, 2))
    with ranks.together(2, 0):
        assert torch.allclose((own + ranks.share_out(x.view(3, 2))) / 2, x.view(3, 2))
    assert own[0].tolist() == [0, 0] and torch.equal(own[1], 2 * x[2:4])
