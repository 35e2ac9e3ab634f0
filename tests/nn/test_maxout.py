"""Maxout: the largest of its pieces, and a gradient that is torch's own, twice."""

import pytest
import torch

from gancli.nn.maxout import Maxout, _Largest


def test_maxout_is_the_largest_of_its_pieces():
    torch.manual_seed(0)
    layer = Maxout(4, 3, 5)
    x = torch.randn(7, 4)
    weight, bias = layer.linear.weight.view(5, 3, 4), layer.linear.bias.view(5, 3)
    slow = torch.stack([torch.stack([(weight[:, u] @ row + bias[:, u]).max() for u in range(3)]) for row in x])
    assert torch.allclose(layer(x), slow, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_that_of_amax_which_equal_values_share(dtype):
    torch.manual_seed(0)
    x = torch.randint(4, (6, 5, 7)).to(dtype).requires_grad_()  # many are equal
    ours, theirs = _Largest.apply(x), x.amax(-2)
    assert torch.equal(ours, theirs)
    upstream = torch.randn(6, 7).to(dtype)
    (mine,), (known,) = (torch.autograd.grad(each, x, upstream) for each in (ours, theirs))
    assert mine.dtype == dtype and torch.allclose(mine, known, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6)


def test_it_can_be_differentiated_twice():
    torch.manual_seed(0)
    layer = Maxout(3, 2, 4).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(lambda v: layer(v).square(), x)
