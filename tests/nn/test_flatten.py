"""Feature maps as vectors: the gradient has the memory format of the maps, and the values of nn.Flatten's."""

import pytest
import torch
from torch import nn

from gancli.nn.flatten import Flatten

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.mark.parametrize("name", FORMATS)
def test_the_gradient_has_the_format_of_its_input(name) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=FORMATS[name]).requires_grad_()
    weight, gradients = torch.randn(2, 60), []
    inner = x * 1
    inner.register_hook(gradients.append)
    y = Flatten()(inner)
    assert torch.equal(y, nn.Flatten()(x))
    (y * weight).sum().backward()
    assert gradients[0].is_contiguous(memory_format=FORMATS[name])
    assert x.grad is not None and torch.equal(x.grad, weight.view(2, 3, 4, 5))


def test_its_gradient_has_a_gradient() -> None:
    x = torch.randn(2, 2, 2, 3, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: Flatten()(x.sin()) ** 3, x)


def test_vectors_stay_vectors() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(Flatten()(x), x)
