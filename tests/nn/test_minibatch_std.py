"""The minibatch standard deviation: a twin in loops, and the discriminators that have it."""

import pytest
import torch
from helpers import compose, overrides

from gancli.nn.minibatch_std import MinibatchStd
from gancli.training.build import build


@pytest.mark.parametrize("n, group, size", [(8, 4, 4), (6, 4, 3), (5, 4, 1), (2, 4, 2), (8, 8, 8)])
def test_minibatch_std_is_a_loop_over_groups(n, group, size):
    x = torch.randn(n, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = MinibatchStd(group)(x)
    assert found.shape == (n, 4, 2, 4) and torch.equal(found[:, :3], x)
    for i in range(n):
        mine = [x[j] for j in range(n) if j % (n // size) == i % (n // size)]
        assert len(mine) == size
        mean = sum(mine) / size
        spread = (sum((each - mean) ** 2 for each in mine) / size + 1e-8).sqrt().mean()
        assert torch.allclose(found[i, 3], spread.expand(2, 4), atol=1e-12)
    assert torch.autograd.gradcheck(MinibatchStd(group), (x.requires_grad_(),))


@pytest.mark.parametrize("model", ["dcgan", "wgan", "wgan_gp", "sngan"])
def test_the_discriminators_of_dcgans_shape_can_be_told_the_spread(model):
    """The score of one image then depends on the others of its batch, even without batch norm."""
    for group in (0, 4):
        parts = build(compose("train", overrides(model, f"model.minibatch_std={group}")))
        net = parts.model.discriminator.eval()
        assert sum(isinstance(m, MinibatchStd) for m in net) == (group > 0)
        image = torch.randn(4, 1, 8, 8)
        other = torch.cat([image[:1], 3 * image[1:]])
        assert torch.equal(net(image)[0], net(other)[0]) == (group == 0)
        for step in parts.steps:
            step(parts.loader.next())
