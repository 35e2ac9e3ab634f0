"""What only a GPU can show. `make gpu-check` runs these; without a CUDA device they skip."""

import json

import pytest
import torch
from helpers import overrides, run

from gancli.config import compose
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.turn import run_turn

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


class Silent:
    def add(self, scalars): ...


@pytest.mark.parametrize("model", ["dcgan", "mlp_gan"])
@pytest.mark.parametrize(
    "more",
    [[], ["runtime.precision=bf16"], ["runtime.channels_last=true"], ["runtime.compile=true"], ["runtime.graphs=true"]],
)
def test_trains_and_samples(model, more, tmp_path):
    values = run(tmp_path, "runtime=cuda", "images=64", "log.every=16", *more, model=model)
    assert all(v == v for v in values.values())
    net = checkpoint.rebuild(tmp_path, device="cuda")
    assert net.sample(2, generator=torch.Generator("cuda").manual_seed(0)).device.type == "cuda"


@pytest.mark.parametrize("resident", [True, False])
def test_no_step_waits_for_the_device(resident):
    """CUDA's own guard: any synchronising call raises."""
    parts = build(compose("train", overrides("dcgan", "runtime=cuda", f"data.resident={resident}".lower())))
    run_turn(parts, Silent(), measure=True)  # the first step allocates and picks algorithms
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            run_turn(parts, Silent(), measure=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert parts.images == 32


def test_cpu_and_cuda_take_the_same_step():
    """One update from the same weights, latents and images: equal losses to float32 rounding, so without TF32."""
    from gancli.data.spec import Batch

    losses = {}
    for device in ("cpu", "cuda"):
        parts = build(compose("train", overrides("dcgan", f"runtime={device}")))
        weights = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in parts.model.parameters():
                p.copy_(torch.randn(p.shape, generator=weights) * 0.05)
        parts.model.latent = lambda n, g=None, d=device: torch.rand(
            n, 100, 1, 1, generator=torch.Generator().manual_seed(4)
        ).to(d)
        image = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(5)).to(device) * 2 - 1
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            losses[device] = [step(Batch(image))[f"loss/{step.phase.name}"].item() for step in parts.steps]
    assert losses["cpu"] == pytest.approx(losses["cuda"], rel=1e-4)


def test_a_cuda_checkpoint_resumes_and_evaluates_on_the_cpu(tmp_path):
    run(tmp_path, "runtime=cuda", "images=32")
    run(tmp_path, "runtime=cpu", "images=64", f"resume={tmp_path}")
    assert checkpoint.rebuild(tmp_path).sample(1).device.type == "cpu"


def test_memory_is_reported(tmp_path):
    run(tmp_path, "runtime=cuda", "images=32", "log.every=16")
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["runtime/memory_gib"] > 0


def test_bench_counts_kernels_and_memory(tmp_path):
    from gancli.verbs.bench.run import bench

    words = [word for word in overrides("dcgan", "runtime=cuda", "seconds=0.1") if not word.startswith("samples.")]
    values = bench(compose("bench", [*words, "compare=[bare,textbook]", "profile=true"]), tmp_path)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["work"]["kernels"] > 50 and found["memory"]["kind"] == "max_memory_allocated"
    assert 0 < values["flops_share"] < 1 and 0 < values["peak_memory_gib"] and "times/bare" in values


def test_samplers_draw_the_same_images_and_the_cached_ones_are_one_graph():
    """The second batch and later ones replay what it recorded, with other noise and with weights that have changed."""
    from gancli.data.spec import ImageSpec
    from gancli.models.pixelcnn import PixelCNN
    from gancli.nn.likelihoods import Bernoulli
    from gancli.nn.recorded import CudaGraph

    torch.manual_seed(0)
    model = PixelCNN(ImageSpec(1, 12, 12, levels=2), Bernoulli, width=4, blocks=2, head=4).cuda().eval()
    model.graphs = CudaGraph
    for sampler in ("cache", "wavefront"):
        for seed in (1, 2):
            torch.manual_seed(seed)
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.5)
            noise = model.noise(8, torch.Generator("cuda").manual_seed(seed))
            images = [model.from_noise(each, sampler=sampler) for each in (noise, noise.flip(0))]
            assert model._kept.last[1].graphs
            assert torch.equal(images[0], images[1].flip(0))
            assert torch.equal(images[0], model.from_noise(noise, sampler="naive"))


@pytest.mark.parametrize("resident", [True, False])
def test_images_come_in_the_same_order_on_every_device(resident):
    import numpy as np

    from gancli.data.loader import Loader
    from gancli.data.source import Images
    from gancli.data.spec import ImageSpec

    pixels = np.zeros((30, 1, 2, 2), np.uint8)
    images = Images(pixels, np.arange(30), ImageSpec(1, 2, 2, 30), "numbers", "train", "f")
    loaders = [Loader(images, 8, device=torch.device(name), seed=3, resident=resident) for name in ("cpu", "cuda")]
    for _ in range(10):
        one, other = (each.next().label for each in loaders)
        assert torch.equal(one, other.cpu())
    for each in loaders:
        each.close()


def test_a_run_of_the_cpu_goes_on_with_new_random_numbers(tmp_path):
    run(tmp_path, "runtime=cpu", "images=32")
    run(tmp_path, "runtime=cuda", "images=64", f"resume={tmp_path}")
    assert "another kind of device" in (tmp_path / "log.txt").read_text()
