"""Spectral normalisation: a largest singular value of one, in float32 whatever the networks compute in."""

import copy

import pytest
import torch
from torch import nn

from gancli.nn import spectral


def normalised(layer: nn.Module, steps: int = 200) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(layer)
    spectral.spectral_(net)
    for _ in range(steps):  # a power iteration each
        net[0].weight  # noqa: B018
    return net[0]


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 4), nn.Linear(7, 4), nn.Embedding(6, 3)], ids=repr)
def test_the_largest_singular_value_is_one(layer):
    weight = normalised(layer).weight.flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-4)


def test_autocast_rounds_no_singular_value(monkeypatch):
    """torch.mv is bfloat16 under autocast on GPUs; CPUs leave it alone, so that values would show nothing here."""
    seen, usual = [], torch.mv
    monkeypatch.setattr(torch, "mv", lambda *args: seen.append(torch.is_autocast_enabled("cpu")) or usual(*args))
    layer = normalised(nn.Linear(7, 4), steps=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer.weight  # noqa: B018
        assert torch.is_autocast_enabled("cpu")
    assert seen and not any(seen)


def test_its_vectors_are_saved_copied_and_deep_copied_as_those_of_pytorch():
    layer, plain = normalised(nn.Linear(7, 4)), nn.utils.parametrizations.spectral_norm(nn.Linear(7, 4))
    assert layer.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(copy.deepcopy(layer).eval().weight, layer.eval().weight)
    assert layer.parametrizations.weight[0].copied == ("_u", "_v")
