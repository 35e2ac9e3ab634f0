"""Samplers of pixel models on any device: which precision they compute in, and how their steps become graphs."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from pixel_models import make
from torch import Tensor

from gancli.data.spec import ImageSpec
from gancli.models import pixel_sampling
from gancli.models.autoregressive import Autoregressive
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Bernoulli

SMALL = partial(PixelCNN, width=6, blocks=2, head=6, kernel=3)


@pytest.mark.parametrize("sampler", Autoregressive.SAMPLERS)
def test_samplers_keep_cudnn_on_and_compute_in_full_float32(sampler, monkeypatch):
    model, seen = make(SMALL, ImageSpec(1, 4, 4, levels=2), Bernoulli).float(), []
    forward = type(model).forward

    def watched(self, image, label=None):
        cudnn, params = torch.backends.cudnn, forward(self, image, label)
        if isinstance(params, Tensor):  # not while its operations are traced
            seen.append((cudnn.enabled, cudnn.allow_tf32, params.dtype))
        return params

    monkeypatch.setattr(type(model), "forward", watched)
    before = torch.backends.cudnn.enabled
    with torch.autocast("cpu", torch.bfloat16):
        model.from_noise(model.noise(2), sampler=sampler)
    assert set(seen) == {(True, False, torch.float32)} and torch.backends.cudnn.enabled == before


def test_the_steps_of_a_sampler_are_split_into_graphs_of_a_limited_size(monkeypatch):
    """Drawing part by part, as the graphs are replayed, gives the images of drawing at once."""
    model = make(SMALL, ImageSpec(1, 5, 5, levels=2), Bernoulli)
    noise, drawn = model.noise(3).double(), []
    with torch.inference_mode():
        sampler = model._pixel_sampler("wavefront", noise, None, None)
        for nodes in (10**9, 100, 1):
            monkeypatch.setattr(pixel_sampling, "NODES", nodes)
            sampler.noise.copy_(sampler.stepper.rows(noise))
            parts = sampler.parts()
            sampler.stepper.start()
            assert [step for part in parts for step in part] == list(range(len(sampler.rows[0])))
            drawn.append(len(parts))
            for part in parts:
                sampler._draw(part)
            assert torch.equal(sampler.stepper.images(), model.from_noise(noise, sampler="naive"))
    assert drawn[0] == 1 < drawn[1] < drawn[2] == len(sampler.rows[0])


def test_a_large_gpu_keeps_larger_samplers(monkeypatch):
    """Else a sampler of many images would capture nothing, since only a kept one draws a second batch."""
    memory = 80 * 2**30
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
    assert pixel_sampling.most_bytes(torch.device("cuda")) == memory // pixel_sampling.MOST_OF_A_GPU
    memory = 2**30
    assert pixel_sampling.most_bytes(torch.device("cuda")) == pixel_sampling.MOST_BYTES
    assert pixel_sampling.most_bytes(torch.device("cpu")) == pixel_sampling.MOST_BYTES
    model = make(SMALL, ImageSpec(1, 5, 5, levels=2), Bernoulli)
    for most, kept in ((10**9, True), (1, False)):
        monkeypatch.setattr(pixel_sampling, "MOST_BYTES", most)
        model._kept.last = None
        model.from_noise(model.noise(2), sampler="wavefront")
        assert (model._kept.last is not None) == kept
