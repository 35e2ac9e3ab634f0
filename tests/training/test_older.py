"""Checkpoints of formats before gancli-3, whose maxout filters are ordered by unit: the same networks, the same run."""

from pathlib import Path

import pytest
import torch
from helpers import run, tensors

from gancli.training import checkpoint

LAYER = "discriminator.2"  # of 2 units with 5 pieces
SIZE = ["optimizer=adam", "checkpoint.keep=9"]


def by_unit(value, rows: int = 10, units: int = 2):
    """Order the rows of a tensor by unit, as earlier releases did."""
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != rows:
        return value
    return torch.stack([value[k * units + u] for u in range(units) for k in range(rows // units)])


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Path]:
    """A run of today, and the same one as an earlier release would have written it."""
    now, then = tmp_path / "now", tmp_path / "then"
    run(now, "images=16", "model.discriminator_hidden=2", *SIZE, model="mlp_gan")
    state = torch.load(checkpoint.find(now), weights_only=True)
    state["format"] = "gancli-2"
    layers = ("2", "4")
    for part in ("model", "ema"):
        names = [f"discriminator.{n}.linear.{key}" for n in layers for key in ("weight", "bias")]
        state[part] |= {name: by_unit(state[part][name]) for name in names if name in state[part]}
    moments = state["optimizers"]["discriminator"]["optimizer"]["state"]
    for i in range(4):  # weight and bias of both maxout layers
        moments[i] = {key: by_unit(value) for key, value in moments[i].items()}
    (then / "checkpoints").mkdir(parents=True)
    torch.save(state, then / "checkpoints" / checkpoint.find(now).name)
    return now, then


def test_the_networks_are_the_same(old) -> None:
    now, then = map(checkpoint.load, old)
    assert then.state["format"] == "gancli-2"
    weight, bias = (then.state["model"][f"{LAYER}.linear.{key}"] for key in ("weight", "bias"))
    x = torch.randn(3, weight.shape[1])
    known = (x @ weight.T + bias).unflatten(1, (2, 5)).amax(-1)  # as earlier releases computed it
    model = checkpoint.rebuild(then)
    assert torch.allclose(model.get_submodule(LAYER)(x), known, atol=1e-6)
    image = torch.rand(3, *model.spec.shape)
    assert torch.equal(model.score(image), checkpoint.rebuild(now).score(image))


def test_a_resumed_run_is_the_same(old) -> None:
    for folder in old:
        run(folder, "images=32", "model.discriminator_hidden=2", *SIZE, f"resume={folder}", model="mlp_gan")
    ends = [checkpoint.load(folder).state for folder in old]
    assert ends[1]["format"] == checkpoint.FORMAT and ends[0]["images"] == 32
    for part in ("model", "ema", "optimizers"):
        one, other = (tensors(end[part]) for end in ends)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one), part
