"""The Laplacian pyramid against its definition: exact, orthogonal, and down and up against slow twins."""

import pytest
import torch

from gancli.nn import laplacian


def image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("shape, levels", [((2, 1, 28, 28), 3), ((2, 3, 32, 16), 2), ((1, 3, 8, 8), 1)])
def test_collapsing_what_was_built_gives_the_image(shape, levels):
    pyramid = laplacian.build(image(*shape), levels)
    assert [each.shape[2] for each in pyramid] == [shape[2] >> i for i in range(levels)][::-1]
    assert (laplacian.collapse(pyramid) - image(*shape)).abs().max() < 1e-12


def test_residuals_have_no_low_frequencies_and_stay_within_two():
    pyramid = laplacian.build(image(4, 3, 32, 32), 3)
    for residual in pyramid[1:]:
        assert laplacian.down(residual).abs().max() < 1e-12 and residual.abs().max() <= 2
    extreme = torch.tensor([[-1.0, -1.0], [-1.0, 1.0]])[None, None]
    assert laplacian.build(extreme, 2)[1].max() == 1.5


def test_down_and_up_against_loops():
    x = image(1, 2, 4, 6)
    down, up = laplacian.down(x), laplacian.up(x)
    for c in range(2):
        for i in range(2):
            for j in range(3):
                four = [x[0, c, 2 * i + a, 2 * j + b].item() for a in (0, 1) for b in (0, 1)]
                assert down[0, c, i, j].item() == pytest.approx(sum(four) / 4, abs=1e-15)
        for i in range(8):
            for j in range(12):
                assert up[0, c, i, j] == x[0, c, i // 2, j // 2]
    assert torch.equal(laplacian.down(up), x)


def test_levels_are_orthogonal():
    x = image(2, 1, 16, 16)
    parts = laplacian.build(x, 3)
    whole = [laplacian.up(laplacian.up(parts[0])), laplacian.up(parts[1]), parts[2]]  # at the size of the image
    for i in range(3):
        for j in range(i):
            assert abs((whole[i] * whole[j]).sum().item()) < 1e-12


@pytest.mark.parametrize(
    "height, width, smallest, found",
    [
        (28, 28, 7, [(7, 7), (14, 14), (28, 28)]),
        (32, 64, 7, [(8, 16), (16, 32), (32, 64)]),
        (27, 28, 7, [(27, 28)]),
        (20, 20, 3, [(5, 5), (10, 10), (20, 20)]),
    ],
)
def test_sizes_are_halved_while_they_can_be(height, width, smallest, found):
    assert laplacian.sizes(height, width, smallest) == found
