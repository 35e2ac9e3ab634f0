"""Truncation as an option of sampling: which models have it, what it changes, and what it leaves alone."""

import math

import pytest
import torch
from helpers import NoHostSync, run

from gancli import config
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import NormalPrior
from gancli.models.dcgan import DCGAN
from gancli.models.sngan import SNGAN

SPEC = ImageSpec(1, 8, 8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SNGAN(SPEC, latent_dim=16, width=4).eval()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_every_model_with_a_normal_prior_offers_it_and_no_other_of_todays():
    kinds = {name: config.target_class(node, object) for name, node in config.options("model").items()}
    assert config.offering("truncation") == [name for name, kind in kinds.items() if kind.truncates()]
    assert all(kind.truncates() for kind in kinds.values() if issubclass(kind, NormalPrior))
    assert not DCGAN.truncates()


def test_null_is_the_default_and_leaves_the_latents_bit_for_bit(model):
    plain = torch.randn(6, 16, generator=seeded())
    assert torch.equal(model.latent(6, seeded()), plain)
    model.set_sampling(truncation=0.5)
    assert not torch.equal(model.latent(6, seeded()), plain)
    model.set_sampling()
    assert model.truncation is None and torch.equal(model.latent(6, seeded()), plain)


def test_it_bounds_the_latents_and_asks_the_device_nothing(model):
    model.set_sampling(truncation=0.5)
    with NoHostSync(), torch.no_grad():
        images, z = model.sample(4, generator=seeded()), model.latent(1000, seeded())
    assert z.abs().max() <= 0.5 and z.var().item() == pytest.approx(0.0806, rel=0.05)
    assert torch.equal(images, model.sample(4, generator=seeded()))


def test_images_become_one_as_it_goes_to_zero(model):
    spread = {}
    for t in (None, 1.0, 0.1, 1e-6):
        model.set_sampling(truncation=t)
        with torch.no_grad():
            spread[t] = model.sample(32, generator=seeded()).std(0).mean().item()
    values = list(spread.values())
    assert values == sorted(values, reverse=True) and math.isclose(values[-1], 0, abs_tol=1e-4)


@pytest.mark.parametrize("value", [0, -1, "much", [0.5, 1], True])
def test_values_out_of_range_are_refused(model, value):
    node = {"_target_": "gancli.models.sngan.SNGAN"}
    with pytest.raises(UsageError, match="sampling.truncation"):
        config.set_sampling(model, node, {"truncation": value})
    config.set_sampling(model, node, {"truncation": 2})
    assert model.truncation == 2.0 and isinstance(model.truncation, float)


def test_a_model_without_it_names_those_that_have_it(cli, tmp_path):
    run(tmp_path / "r", "images=8")
    for key in ("truncation", "sampling.truncation"):
        answer = cli("sample", f"ckpt={tmp_path / 'r'}", f"{key}=0.7", "runtime=cpu")
        assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
        assert f"{key}: no such key" in answer.err and "models that have it: acgan," in answer.err
        assert "sngan" in answer.err and "dcgan" not in answer.err.partition("models that have it")[2]


def test_the_files_of_a_sample_are_named_after_it(cli, tmp_path):
    run(tmp_path / "r", "images=8", model="sngan")
    for more in ("truncation=0.5", "truncation=null"):
        answer = cli("sample", f"ckpt={tmp_path / 'r'}", "n=4", "format=grid", "runtime=cpu", more)
        assert answer.code == 0, answer.err
    folders = sorted(path.name for path in (tmp_path / "r" / "samples").iterdir() if path.is_dir())
    assert folders == [f"000000000008-grid-grid-seed0-n4{end}" for end in ("", "-truncation0.5")]
