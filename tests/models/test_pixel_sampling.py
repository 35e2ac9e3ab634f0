"""Samplers of pixel models on any device: which precision they compute in, and how their steps become graphs."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from pixel_models import make
from tape import Tape
from torch import Tensor

from gancli.data.spec import ImageSpec
from gancli.models import pixel_sampling
from gancli.models.autoregressive import Autoregressive
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.lmconv import LMConv
from gancli.models.pixel_sampling import Given
from gancli.models.pixelcnn import PixelCNN
from gancli.models.pixelcnn_pp import PixelCNNpp
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture
from gancli.nn.recorded import CudaGraph
from gancli.training.runtime import Runtime

SMALL = partial(PixelCNN, width=6, blocks=2, head=6, kernel=3)


@pytest.mark.parametrize("sampler", Autoregressive.SAMPLERS)
@pytest.mark.parametrize("tf32", [False, True])
def test_samplers_keep_cudnn_on_and_compute_in_full_float32(sampler, tf32, monkeypatch):
    model, seen = make(SMALL, ImageSpec(1, 4, 4, levels=2), Bernoulli).float(), []
    forward = type(model).forward

    def watched(self, image, label=None):
        params = forward(self, image, label)
        if isinstance(params, Tensor):  # not while its operations are traced
            seen.append((*settings(), params.dtype))
        return params

    def settings():
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        return cudnn.enabled, cudnn.allow_tf32, matmul.allow_tf32, matmul.fp32_precision

    monkeypatch.setattr(type(model), "forward", watched)
    torch.backends.cuda.matmul.allow_tf32 = tf32  # runtime.tf32=all
    try:
        before = settings()
        with torch.autocast("cpu", torch.bfloat16):
            model.from_noise(model.noise(2), sampler=sampler)
        assert set(seen) == {(True, False, False, "ieee", torch.float32)} and settings() == before
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


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


GREY, CLASSES = ImageSpec(1, 5, 4, levels=2), ImageSpec(1, 5, 4, levels=2, num_classes=3)
RECORDED = {
    "pixelcnn": (SMALL, GREY, Bernoulli),
    "colours": (SMALL, ImageSpec(3, 3, 3, levels=4), Categorical),
    "classes": (partial(GatedPixelCNN, width=4, blocks=2, head=4, conditional=True), CLASSES, Bernoulli),
    "mixture": (partial(PixelCNNpp, width=4, scales=1), ImageSpec(3, 4, 4, levels=256), DiscretizedLogisticMixture),
    "orders": (partial(LMConv, width=4, stages=1, orders=1), GREY, Bernoulli),  # other orders have graphs of their own
}


@pytest.mark.parametrize("completes", [False, True])
@pytest.mark.parametrize("sampler", ["cache", "wavefront"])
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_steps_draw_the_same_pixels(name, sampler, completes, monkeypatch):
    """From the second batch on, with other noise, labels, given pixels and weights than those of the recording."""
    model, spec = make(*RECORDED[name]).float(), RECORDED[name][1]
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    model.graphs, Tape.made[:] = Tape, []
    monkeypatch.setattr(pixel_sampling, "NODES", 300)
    for batch in range(4):
        with torch.no_grad():
            for ours, theirs in zip(model.parameters(), twin.parameters()):
                theirs.copy_(ours.normal_(0, 0.5, generator=generator))
        noise, given = model.noise(3, generator), None
        label = torch.randint(3, (3,), generator=generator) if model.conditional else None
        if completes:
            image = torch.randint(2, (3, *spec.shape), generator=generator) * 2.0 - 1
            given = Given(
                image, torch.arange(spec.width).expand(spec.shape[1:]) > (batch % 2 if name != "orders" else 1)
            )
        images = model.from_noise(noise, label, sampler, given)
        assert torch.equal(images, twin.from_noise(noise, label, sampler, given))
        assert bool(model._kept.last[1].graphs) == (batch > 0) and not twin._kept.last[1].graphs
    assert len(Tape.made) > 1 and all(tape.replays == 3 for tape in Tape.made)


def test_what_cannot_be_recorded_is_drawn_step_by_step(caplog):
    class Fails(Tape):
        def capture(self, work):
            if len(self.made) % 3 == 0:  # after two parts
                raise RuntimeError("operation not permitted\nwhen stream is capturing")
            return super().capture(work)

    model = make(SMALL, GREY, Bernoulli).float()
    twin, model.graphs, Tape.made[:] = copy.deepcopy(model), Fails, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_sampling, "NODES", 100)
        for seed in range(3):
            noise = model.noise(2, torch.Generator().manual_seed(seed))
            assert torch.equal(model.from_noise(noise, sampler="cache"), twin.from_noise(noise, sampler="cache"))
    assert caplog.text.count("drawn step by step, as operation not permitted when stream is capturing") == 1
    assert len(Tape.made) == 3 and not model._kept.last[1].graphs


def test_steps_are_recorded_where_the_runtime_has_graphs():
    """runtime.graphs is never true on a CPU, see Runtime.from_config()."""
    for graphs, expected in ((False, None), (True, CudaGraph)):
        model = make(SMALL, GREY, Bernoulli)
        Runtime(torch.device("cpu"), graphs=graphs).place(model)
        assert model.graphs is expected and copy.deepcopy(model).graphs is expected
