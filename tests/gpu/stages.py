"""The stages of check.py: generators of named values, JSON types, which are written as soon as they are known."""

import argparse
import contextlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import ways
from helpers import NoHostSync, compose, options, overrides
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.metrics import inception, moments
from gancli.metrics.fid import fid
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.recorded import CudaGraph
from gancli.structure import read_rows
from gancli.training.build import build
from gancli.training.graphs import Graphs
from gancli.training.turn import run_turn

Values = Iterator[tuple[str, Any]]
RECORDED = ("mlp_gan", "dcgan", "sngan", "wgan_gp", "pix2pix", "pixelcnn")  # with deterministic kernels, to be compared
Told = argparse.Namespace


def wait(told: Told) -> None:
    if told.device == "cuda":
        torch.cuda.synchronize()


def seconds(told: Told, run: Callable[[], Any], times: int = 1) -> float:
    """Return the seconds that a call takes, the work of the device included."""
    wait(told)
    start = time.perf_counter()
    for _ in range(times):
        run()
    wait(told)
    return (time.perf_counter() - start) / times


def environment(told: Told) -> Values:
    """Versions, the card, and its ceilings: a bf16 product and a copy, of which everything else is a share."""
    yield "torch", f"{torch.__version__}, Python {platform.python_version()}"
    yield "device", torch.cuda.get_device_name() if told.device == "cuda" else "cpu"
    if told.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        yield "capability", f"{properties.major}.{properties.minor}"
        yield "memory_gib", round(properties.total_memory / 2**30, 1)
        yield "cudnn", torch.backends.cudnn.version()
    side, size = (256, 2**20) if told.quick else (8192, 2**30)
    a, b = (torch.randn(side, side, device=told.device, dtype=torch.bfloat16) for _ in range(2))
    seconds(told, lambda: a @ b, 3)
    yield "matmul_bf16_tflops", 2 * side**3 / min(seconds(told, lambda: a @ b, 10) for _ in range(5)) / 1e12
    x = torch.empty(size, device=told.device, dtype=torch.uint8)
    y = torch.empty_like(x)
    copied = min(seconds(told, lambda: y.copy_(x), 10) for _ in range(5))
    yield "copy_gb_per_s", 2 * size / copied / 1e9  # read and written


def tests(told: Told) -> Values:
    """The tests with the marker gpu; without a device they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider", "tests/gpu"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    yield "summary", done.stdout.strip().splitlines()[-1:]
    yield "code", done.returncode
    if done.returncode not in (0, 5):
        yield "output", done.stdout.splitlines()[-120:]
        raise RuntimeError("tests failed")


def waits(told: Told) -> Values:
    """Turns of every model under CUDA's own guard, which raises where the host waits for the device."""
    names = ["dcgan", "pixelcnn"] if told.quick else options("model")
    failed = {}
    for name in names:
        try:
            run = build(compose("train", overrides(name, f"runtime={told.device}")))
            if run.steps:
                run_turn(run, ways.Silent(), measure=True)  # the first allocates and picks algorithms
                with no_waits(told):
                    run_turn(run, ways.Silent(), measure=True)
                    run_turn(run, ways.Silent(), measure=False)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"[:400]
            yield "failed", failed
    yield "models", len(names)
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(names)} models wait, or do not train")


@contextlib.contextmanager
def no_waits(told: Told) -> Iterator[None]:
    if told.device == "cpu":
        with NoHostSync():
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def speed(told: Told) -> Values:
    """Images per second of every way to train a model, in interleaved rounds."""
    for name in ("dcgan-32",) if told.quick else ways.BENCHED:
        yield name, ways.rates(ways.ways(told, name), told, wait)


def graphs(told: Told) -> Values:
    """Turns as CUDA graphs against turns step by step: what the networks differ by after 200, and why if not."""
    turns = 6 if told.quick else 200
    for name in ("dcgan",) if told.quick else RECORDED:
        words = [f"runtime={told.device}", "runtime.deterministic=true", "runtime.tf32=none", "images=100k"]
        plain, graph = (
            build(compose("train", overrides(name, *words, f"runtime.graphs={value}"))) for value in ("false", "true")
        )
        for each in (plain, graph):
            torch.manual_seed(0)  # of latents and dropout
            for _ in range(turns):
                run_turn(each, ways.Silent(), measure=False)
        wait(told)
        pairs = zip(plain.model.parameters(), graph.model.parameters())
        yield (
            name,
            {
                "largest_difference": max((a - b).abs().max().item() for a, b in pairs),
                "replayed": bool(isinstance(graph.graphs, Graphs) and graph.graphs.kept),
                "reasons": getattr(graph.graphs, "reasons", ["the device"]),
            },
        )


def compile(told: Told) -> Values:
    """The same with and without torch.compile, whose first step takes long: a stage of its own."""
    for name in ("mlp_gan",) if told.quick else ("dcgan-32", "mlp_gan", "dcgan-64 bf16"):
        both = {"eager": ways.ours(told, name)}
        if not told.quick:  # it would call a compiler
            both["compiled"] = ways.ours(told, name, "runtime.compile=true")
            both["compiled, graphs"] = ways.ours(told, name, "runtime.compile=true", "runtime.graphs=true")
        yield name, ways.rates(both, told, wait)


def samplers(told: Told) -> Values:
    """Images of a PixelCNN by the naive sampler, over some pixels, and the cached ones from the third batch on."""
    side, batches = (6, (2,)) if told.quick else (28, (16, 256))
    torch.manual_seed(0)
    model = PixelCNN(ImageSpec(1, side, side, levels=2), Bernoulli, **({"width": 4, "blocks": 1} if told.quick else {}))
    model = model.to(told.device).eval().requires_grad_(False)
    for n in batches:
        noise = model.noise(n)
        pixels = range(min(100, side * side))
        with torch.inference_mode():
            stepper = model.stepper("naive", noise.new_zeros(n, *model.spec.shape), None)
            naive = seconds(told, partial(list, map(stepper.params, pixels))) / len(pixels) * side * side
        found: dict[str, Any] = {"naive_s": naive}
        drawn = model.from_noise(noise[:2], sampler="naive")
        model.graphs = CudaGraph if noise.is_cuda else None
        for sampler in ("cache", "wavefront"):
            times = [seconds(told, partial(model.from_noise, noise, sampler=sampler)) for _ in range(5)]
            found[f"{sampler}_first_two_s"] = times[:2]  # drawn step by step; captured and replayed
            found[f"{sampler}_s"] = statistics.median(times[2:])
            found[f"{sampler}_times_naive"] = naive / found[f"{sampler}_s"]
            found[f"{sampler}_equal"] = torch.equal(model.from_noise(noise, sampler=sampler)[:2], drawn)
        yield f"n={n}", found


def evaluation(told: Told) -> Values:
    """Inception of random weights on drawn bytes, the moments and the distance; images drawn by a DCGAN."""
    n, batch = (4, 2) if told.quick else (10_000, 256)
    library = inception._pytorch_fid()
    library.load_state_dict_from_url = lambda *args, **kwargs: None
    load, nn.Module.load_state_dict = nn.Module.load_state_dict, lambda self, state: None
    net = library.fid_inception_v3()
    nn.Module.load_state_dict = load
    features = inception.Inception.__new__(inception.Inception)
    features._net, features._device = net.to(told.device).eval().requires_grad_(False), torch.device(told.device)
    features._unbiased, features.preproc = net.fc.weight, "pytorch_fid"
    net.fc = nn.Identity()
    sums = [moments.Moments(2048, told.device) for _ in range(2)]
    pixels = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, device=told.device)
    features(pixels)

    def extract() -> None:
        for _ in range(-(-n // batch)):
            sums[0].update(features(pixels)[0])

    yield "inception_images_per_s", n / seconds(told, extract)
    sums[1].update(torch.randn(3000 if not told.quick else 10, 2048, device=told.device))
    start = time.perf_counter()
    one, other = (each.gaussian() for each in sums)
    yield "fid", float(fid(one, other))
    yield "fid_s", time.perf_counter() - start
    run = ways.made(told, ways.BENCHED["dcgan-32"][0], 8)
    count, size = (16, 8) if told.quick else (50_000, 512)
    with run.ema.sampling() as model:
        model.sample(size)
        yield (
            "drawn_images_per_s",
            count / seconds(told, lambda: [model.sample(size) for _ in range(-(-count // size))]),
        )


def trace(told: Told) -> Values:
    """A trace of ten turns, for Perfetto or TensorBoard, and where the time goes."""
    settings, batch, _ = ways.BENCHED["dcgan-32" if told.quick else "dcgan-64 bf16"]
    run = ways.made(told, settings, 4 if told.quick else batch)
    run_turn(run, ways.Silent(), measure=False)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if told.device == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(1 if told.quick else 10):
            run_turn(run, ways.Silent(), measure=False)
        wait(told)
    order = "self_cuda_time_total" if told.device == "cuda" else "self_cpu_time_total"
    table = profile.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60)
    yield "table", table.splitlines()
    if not told.quick:
        profile.export_chrome_trace(str(told.out / f"trace-{told.device}.json.gz"))


def training(told: Told) -> Values:
    """Train a DCGAN on each of the given data sets in the time that is left, and keep its pictures and losses."""
    given = {"mnist": ["data=mnist", f"data.root={told.mnist}"], "cifar": ["data=folder", f"data.root={told.cifar}"]}
    given = {name: words for name, words in given.items() if getattr(told, name)}
    if told.quick:
        given = {"fake": [*overrides("dcgan")[1:]]}
    yield "data", list(given)
    each = (told.left - 15) / max(len(given), 1)
    for name, words in given.items():
        aside = Path(tempfile.mkdtemp())
        folder, log = aside / name, aside / "log.txt"
        amount = ["images=16"] if told.quick else ["images=100M", "samples.every=50k", "eval.every=0"]
        command = [sys.executable, "-m", "gancli", "train", "model=dcgan", f"runtime={told.device}", *words, *amount]
        with log.open("w") as output:
            child = subprocess.Popen([*command, f"hydra.run.dir={folder}"], stdout=output, stderr=output)
        try:
            child.wait(each)
        except subprocess.TimeoutExpired:  # gancli finishes its step and saves
            child.send_signal(signal.SIGINT)
            child.wait(15)
        logged = read_rows(folder / "metrics.jsonl")
        last = {key: value for row in logged for key, value in row.items()} or log.read_text()[-2000:]
        yield name, {"code": child.returncode, "last": last}
        for picture in sorted((folder / "samples").glob("0*.png"))[-1:]:
            shutil.copyfile(picture, told.out / f"{name}-dcgan-{picture.name}")


STAGES: dict[str, Callable[[Told], Values]] = {
    each.__name__: each
    for each in (environment, tests, waits, graphs, speed, compile, samplers, evaluation, trace, training)
}
