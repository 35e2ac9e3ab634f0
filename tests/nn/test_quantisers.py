"""Quantisers without a codebook against twins and sums over all codes, and what all quantisers have in common."""

import math

import numpy as np
import pytest
import torch
from helpers import NoHostSync
from torch import nn

from gancli.errors import UsageError
from gancli.nn.codebook import VQ
from gancli.nn.quantisers import FSQ, LFQ, perplexity, used

EVERY = {
    "fsq": lambda: FSQ([4, 3]),
    "lfq": lambda: LFQ(3),
    "vq": lambda: VQ(6, 2),
    "rotation": lambda: VQ(6, 2, gradient="rotation"),
    "gradient": lambda: VQ(6, 2, learning="gradient"),
}


def twin(z: np.ndarray, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return values and numbers of vectors (M, D), written out in float64."""
    values, numbers, place = np.empty_like(z), np.zeros(len(z), int), 1
    for i, size in enumerate(sizes):
        half, offset = (size - 1) * 1.001 / 2, 0 if size % 2 else 0.5
        level = np.round(np.tanh(z[:, i] + np.arctanh(offset / half)) * half - offset)
        values[:, i] = level / (size // 2)
        numbers += ((level + size // 2) * place).astype(int)
        place *= size
    return values, numbers


@pytest.mark.parametrize("sizes", [[8, 6, 5], [3], [4, 4, 7]])
def test_finite_scalars_are_those_of_a_twin_and_every_code_is_reached(sizes):
    quantiser = FSQ(sizes).double()
    z = np.random.RandomState(0).randn(20_000, len(sizes)) * 1.5
    found = quantiser(torch.from_numpy(z)[:, :, None, None])
    values, numbers = twin(z, sizes)
    assert np.array_equal(found.value[..., 0, 0].numpy(), values)
    assert np.array_equal(found.number.flatten().numpy(), numbers)
    assert quantiser.levels == math.prod(sizes) and len(set(numbers.tolist())) == quantiser.levels


@pytest.mark.parametrize("sizes", [[8, 6, 5], [3], [4], [7, 5, 5, 4], [3, 4]])
def test_finite_scalars_are_exactly_those_of_the_reference_library(sizes):
    """vector-quantize-pytorch, also with its shift by atanh(o / h): numbers, vectors and slopes."""
    library = pytest.importorskip("vector_quantize_pytorch")
    other, own = library.FSQ(sizes), FSQ(sizes)
    z = 2 * torch.randn(20, len(sizes), 9, 8, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    value, number = other(z)
    found = own(z)
    assert torch.equal(found.number, number.long()) and torch.equal(found.value, value)
    assert len(number.unique()) > 0.6 * own.levels == 0.6 * other.codebook_size
    codes = torch.arange(own.levels).view(-1, 1, 1)
    assert torch.equal(own.lookup(codes), other.indices_to_codes(codes))
    assert torch.equal(own.digits(codes)[:, :, 0, 0], other.indices_to_level_indices(codes)[:, 0, 0].long())
    weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    slopes = [torch.autograd.grad((weight * each).sum(), z)[0] for each in (found.value, value)]
    assert torch.allclose(*slopes, atol=1e-6)


def test_signs_are_those_of_the_reference_library_whose_first_bit_is_the_highest():
    library = pytest.importorskip("vector_quantize_pytorch")
    z = torch.randn(20, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    value, number, _ = library.LFQ(codebook_size=32, dim=5).eval()(z)
    found = LFQ(5)(z.flip(1))
    assert torch.equal(found.number, number.long()) and torch.equal(found.value.flip(1), value)


def test_the_bound_of_zero_is_zero_and_normal_vectors_use_nearly_all_levels():
    """Perplexities of N(0, 1), measured with the formula in another program."""
    for size, expected in ((3, 2.95), (4, 3.78), (5, 4.94), (7, 6.90), (8, 7.82)):
        quantiser = FSQ([size])
        assert not quantiser(torch.zeros(1, 1, 1, 1)).value.any()
        z = torch.randn(1, 1, 500, 400, generator=torch.Generator().manual_seed(0))
        assert float(perplexity(used(quantiser(z).number, size))) == pytest.approx(expected, abs=0.02)


def test_the_gradient_of_a_rounded_scalar_is_that_of_its_bound():
    z = torch.randn(5, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(FSQ([5, 4]).double()(z).value.sum(), z)
    shift = torch.tensor([0.0, math.atanh(0.5 / 1.5015)], dtype=torch.float64).view(-1, 1, 1)
    scale = torch.tensor([2.002, 1.5015], dtype=torch.float64).view(-1, 1, 1) / 2
    assert torch.allclose(slope, scale * (1 - torch.tanh(z + shift) ** 2), atol=1e-6)  # its constants are float32


def test_the_entropies_of_signs_are_those_of_a_softmax_over_all_codes():
    quantiser = LFQ(3, entropy=0.7, diversity=0.4)
    z = torch.randn(4, 3, 2, 5, dtype=torch.float64)
    found = quantiser(z)
    codes = quantiser.lookup(torch.arange(8).view(8, 1, 1)).double().flatten(1)
    rows = z.movedim(1, 3).flatten(0, 2)
    p = torch.softmax(-torch.cdist(rows, codes).square(), 1)
    assert torch.equal(p.argmax(1).view(4, 2, 5), found.number)
    each, spread = (torch.special.entr(q).sum(-1).mean() for q in (p, p.mean(0)))
    expected = 0.7 * 10 * (each - 0.4 * spread)
    assert quantiser.penalties(z, found)["entropy"].item() == pytest.approx(expected.item(), abs=1e-9)


def test_entropies_of_codes_that_never_occur_have_finite_slopes():
    z = torch.full((2, 4, 2, 2), 1e4, requires_grad=True)
    quantiser = LFQ(4)
    quantiser.penalties(z, quantiser(z))["entropy"].backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", EVERY)
def test_numbers_and_vectors_of_codes_belong_together(name):
    quantiser = EVERY[name]()
    z = torch.randn(7, quantiser.dim, 3, 4) * 2
    found = quantiser(z)
    assert found.number.shape == (7, 3, 4) and 0 <= found.number.min() <= found.number.max() < quantiser.levels
    assert torch.allclose(found.value, quantiser.lookup(found.number), atol=1e-6)
    half = quantiser(z.bfloat16())  # under autocast
    assert half.value.dtype == torch.float32


@pytest.mark.parametrize("name", EVERY)
def test_quantising_changes_nothing_and_nothing_waits_for_the_device(name):
    quantiser = EVERY[name]()
    z = torch.randn(7, quantiser.dim, 3, 4, requires_grad=True)
    quantiser.fit(z, nn.Conv2d(2, quantiser.dim, 1))
    before = {key: value.clone() for key, value in quantiser.state_dict().items()}
    with NoHostSync():
        found = quantiser(z)
        sum(quantiser.penalties(z, found).values(), found.value.sum()).backward()
    assert z.grad.isfinite().all()
    assert all(torch.equal(value, quantiser.state_dict()[key]) for key, value in before.items())
    with NoHostSync():
        quantiser.observe(z, found)
        quantiser.update()
    changed = [key for key, value in before.items() if not torch.equal(value, quantiser.state_dict()[key])]
    assert changed == (["codebook", "count", "total"] if name in ("vq", "rotation") else [])


def test_counts_and_perplexity():
    number = torch.tensor([[0, 0], [3, 3]])
    assert used(number, 5).tolist() == [2, 0, 0, 2, 0] and float(perplexity(used(number, 5))) == pytest.approx(2)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: FSQ([]), "3 levels or more"),
        (lambda: FSQ([8, 2]), "for two, use quantiser@model.quantiser=lfq"),
        (lambda: FSQ([64, 64, 64]), "262,144 codes are more than 65,536"),
        (lambda: VQ(100_000), "use 65,536 or fewer"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
