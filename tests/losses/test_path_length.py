"""Path length regularisation of linear generators in closed form, its moving average, and what it refuses."""

import math

import pytest
import torch
from helpers import NoHostSync, compose, overrides, tensors
from torch import nn

from gancli.errors import UsageError
from gancli.losses.path_length import PathLength, lengths
from gancli.losses.penalties import PenaltyInputs
from gancli.training.build import build
from gancli.training.turn import run_turn

SHAPE = (3, 4, 4)
SILENT = type("Silent", (), {"add": lambda self, scalars: None})()


def linear(matrix: torch.Tensor, ws: torch.Tensor) -> torch.Tensor:
    """G(w) = sum over layers of A_l w_l. (layers, pixels, d), (n, layers, d) -> (n, *SHAPE)."""
    return torch.einsum("lpd,nld->np", matrix, ws).unflatten(1, SHAPE)


def test_the_squared_length_of_a_linear_generator_is_its_squared_norm_per_pixel():
    """E |A^T y|^2 = |A|_F^2 / (H W), averaged over the layers."""
    torch.manual_seed(0)
    matrix = torch.randn(2, math.prod(SHAPE), 5, dtype=torch.float64)
    ws = torch.randn(20_000, 2, 5, dtype=torch.float64, requires_grad=True)
    length = lengths(ws, linear(matrix, ws))
    assert length.shape == (20_000,)
    assert length.square().mean().item() == pytest.approx(matrix.square().sum().item() / 16 / 2, rel=0.02)


def test_the_length_is_the_norm_of_the_jacobians_product_with_the_noise():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, math.prod(SHAPE))).double()
    ws = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    found = lengths(ws, net(ws).unflatten(1, SHAPE))
    torch.manual_seed(1)
    noise = torch.randn(2, *SHAPE, dtype=torch.float64).flatten(1) / 4
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda w: net(w[None])[0], ws[i].detach())  # (pixels, 2, 3)
        each = torch.einsum("p,pld->ld", noise[i], jacobian).square().sum(1)
        assert found[i].item() == pytest.approx(math.sqrt(each.mean().item()), rel=1e-6)


def test_the_penalty_and_its_moving_average_are_those_of_a_twin():
    torch.manual_seed(0)
    matrix = torch.randn(1, math.prod(SHAPE), 5, dtype=torch.float64, requires_grad=True)
    term = PathLength(weight=3.0, decay=0.1).double()

    def styled(n):
        ws = torch.randn(n, 1, 5, dtype=torch.float64, requires_grad=True)
        return ws, linear(matrix, ws)

    inputs = PenaltyInputs(nn.Identity(), lambda image: image, torch.zeros(6, *SHAPE), lambda: torch.zeros(1), None,
                           styled=styled)  # fmt: skip
    mean = 0.0
    for seed in range(5):
        torch.manual_seed(seed)
        found = term(inputs)
        torch.manual_seed(seed)
        length = lengths(*styled(3)).detach()  # half of the batch
        mean = mean + 0.1 * (length.mean().item() - mean)
        assert term.mean.item() == pytest.approx(mean, rel=1e-12)
        assert found.item() == pytest.approx(3 * (length - mean).square().mean().item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(found, matrix)
    assert gradient.abs().sum() > 0


def test_a_generator_that_ignores_its_styles_has_a_finite_gradient():
    weight = torch.zeros(1, math.prod(SHAPE), 5, requires_grad=True)
    ws = torch.randn(2, 1, 5, requires_grad=True)
    lengths(ws, linear(weight, ws)).sum().backward()
    assert weight.grad.isfinite().all()


def test_it_is_due_every_4_updates_moves_the_mapping_and_is_saved_with_the_loss():
    more = ["generator_penalty=path_length", "model.mixing=0.9", "data.num_classes=3", "model.conditional=true"]
    parts = build(compose("train", overrides("stylegan2", *more)))
    for name, p in parts.model.named_parameters():
        p.requires_grad_(name.startswith("generator"))
    term = parts.steps[1].terms[1]
    assert term.interval == 4 and term.second_order
    with NoHostSync():
        term.fn(parts.model, parts.loader.next(0.1))["path_length"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parts.model.generator.mapping.layers.parameters())
    run_turn(parts, SILENT, measure=False)
    saved = tensors(parts.state()["loss"])
    (key,) = saved
    assert key.endswith("path_length.mean") and saved[key] > 0
    again = build(compose("train", overrides("stylegan2", *more)))
    again.loss.load_state_dict(parts.loss.state_dict())
    assert torch.equal(again.loss.generator_penalties["path_length"].mean, saved[key])


@pytest.mark.parametrize("model", ["dcgan", "cyclegan"])
def test_models_without_styles_are_refused_in_one_line(model):
    with pytest.raises(UsageError, match="has no styles; remove it, or choose model=stylegan2") as error:
        build(compose("train", overrides(model, "generator_penalty=path_length")))
    assert "\n" not in str(error.value)


def test_it_is_none_of_the_discriminators():
    with pytest.raises(UsageError, match="generator_penalty=path_length"):
        PathLength()(PenaltyInputs(nn.Identity(), lambda image: image, torch.zeros(1), lambda: torch.zeros(1)))
