"""Pixelwise operations: rows give what maps give, into given memory too, and each is its definition."""

import pytest
import torch
from torch.nn.functional import elu

from gancli.nn.pixelwise import biased, concat_elu, gated, gated_tanh, normalise


def rows(maps: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N * H * W, C)."""
    return maps.movedim(1, -1).flatten(0, 2)


@pytest.mark.parametrize(
    "operation,widths", [(concat_elu, (6,)), (normalise, (6,)), (gated, (6, 12)), (gated_tanh, (6,))]
)
def test_rows_give_what_maps_give(operation, widths):
    torch.manual_seed(0)
    maps = [torch.randn(2, width, 3, 4, dtype=torch.float64) for width in widths]
    assert torch.allclose(operation(*(rows(each) for each in maps)), rows(operation(*maps)), rtol=1e-12)


def test_they_are_what_the_papers_define():
    torch.manual_seed(0)
    x, both = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.randn(2, 12, 3, 4, dtype=torch.float64)
    assert torch.equal(concat_elu(x), torch.cat([elu(x), elu(-x)], 1))
    mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    assert torch.allclose(normalise(x), (x - mean) / (var + 1e-5).sqrt(), rtol=1e-9)
    assert torch.allclose(gated(x, both), x + normalise(both[:, :6]) * both[:, 6:].sigmoid(), rtol=1e-12)
    assert torch.allclose(gated_tanh(both), both[:, :6].tanh() * both[:, 6:].sigmoid(), rtol=1e-12)


def test_a_bias_leaves_the_type_of_what_it_is_added_to():
    x, bias = torch.ones(2, 3, 1, 1, dtype=torch.bfloat16), torch.tensor([1.0, 2.0, 3.0])[None, :, None, None]
    assert torch.equal(
        biased(x, bias), torch.tensor([2.0, 3.0, 4.0]).bfloat16()[None, :, None, None].expand(2, -1, 1, 1)
    )
    assert biased(x.double(), bias).dtype == torch.float64


def test_memory_that_is_given_is_written_to_and_the_argument_is_kept():
    x = torch.randn(5, 3)
    before, memory = x.clone(), torch.zeros(7, 6)
    found = concat_elu(x, out=memory[1:6])
    assert torch.equal(memory[1:6], concat_elu(x)) and found.data_ptr() == memory[1].data_ptr()
    assert torch.equal(x, before) and not memory[[0, 6]].any()
