"""What stands around the step, and single layers: how many times as fast as the plain way of doing the same.

    make bench            # or: python tests/benchmarks/bench_around.py [rounds]

Both ways take turns on one thread, and a ratio is the median of those of the rounds. CPU seconds of this process count,
except where the disk is waited for.
"""

import io
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from gancli.data import decode
from gancli.data.files import open_files
from gancli.data.spec import ImageSpec
from gancli.models.lmconv import LMConv
from gancli.nn.dropout import Dropout
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.maxout import Maxout
from gancli.views import pictures
from gancli.views.base import Picture
from gancli.views.grids import save_png, to_pil

Way = Callable[[], object]
CPU, WALL = time.process_time, time.perf_counter
FILES, BATCH, TIMES = 400, 100, 20


def likelihood() -> tuple[Way, Way]:
    """LMConv's, with masks at every pixel for each of the eight orders, as in training."""
    model = LMConv(ImageSpec(1, 28, 28, levels=2), Bernoulli, width=16, blocks=1, stages=2).eval()
    images = torch.randint(2, (16, 1, 28, 28)).float() * 2 - 1

    @torch.no_grad()
    def plain() -> torch.Tensor:
        each = torch.stack([-model.likelihood.nll(model.params(images, rank), images) for rank in model.ranks])
        return each.logsumexp(0) - math.log(len(each))

    return plain, torch.no_grad()(lambda: model.log_prob(images))


def files(folder: Path) -> tuple[Way, Way]:
    """PNGs one after the other."""
    images = torch.from_numpy(np.stack(list(smooth()))).permute(0, 3, 1, 2)
    turn = iter(range(10**6))

    def plain() -> None:
        out = folder / f"plain{next(turn)}"
        for i, image in enumerate(images):
            save_png(out / f"{i}.png", to_pil(image))

    def threads() -> None:
        pictures.write(folder / f"threads{next(turn)}", {"": Picture(None, images, None)}, "png")

    return plain, threads


def start(folder: Path) -> tuple[Way, Way]:
    """A folder of small JPEGs, whose headers are all read before they are decoded."""
    for i, image in enumerate(smooth()):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="jpeg")
        (folder / f"{i:04}.jpg").write_bytes(file.getvalue())
    entries, recipe = open_files(folder).entries(), decode.Recipe()
    turn = iter(range(10**6))

    def once(by_guess: bool) -> None:
        own = decode._guess
        decode._guess = own if by_guess else lambda *args: None
        try:
            decode.decode(entries, recipe, f"{next(turn)}", folder)
        finally:
            decode._guess = own

    return lambda: once(False), lambda: once(True)


def smooth() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(FILES):
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        yield np.asarray(small.resize((32, 32), Image.Resampling.BICUBIC))


def layers(dtype: torch.dtype) -> dict[str, tuple[Way, Way]]:
    """Forward and backward of mlp_gan's dropout and of its maximum over pieces, against torch's."""

    class ByUnit(Maxout):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).unflatten(-1, (-1, self.pieces)).amax(-1)

    def trained(layer: nn.Module, inputs: int) -> Way:
        x = torch.randn(BATCH, inputs, dtype=dtype, requires_grad=True)
        return lambda: [layer(x).sum().backward() for _ in range(TIMES)]

    maxouts = [kind(240, 240, 5).to(dtype) for kind in (ByUnit, Maxout)]
    return {
        f"dropout {dtype}": (trained(nn.Dropout(0.2), 784), trained(Dropout(0.2), 784)),
        f"maxout {dtype}": (trained(maxouts[0], 240), trained(maxouts[1], 240)),
    }


def ratio(plain: Way, ours: Way, clock: Callable[[], float], rounds: int) -> float:
    def seconds(way: Way) -> float:
        begin = clock()
        way()
        return clock() - begin

    plain(), ours()
    return statistics.median(seconds(plain) / seconds(ours) for _ in range(rounds))


def main(rounds: int = 5) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        folders = [Path(home) / name for name in ("written", "read")]
        folders[1].mkdir()
        os.environ["GANCLI_CACHE"] = f"{home}/cache"
        rows = {"likelihood of lmconv": (*likelihood(), CPU), "PNGs of samples": (*files(folders[0]), WALL),
                "first start": (*start(folders[1]), CPU)}  # fmt: skip
        for dtype in (torch.float32, torch.bfloat16):
            rows |= {name: (*ways, CPU) for name, ways in layers(dtype).items()}
        print(f"{'what':28} {'times':>6}   torch {torch.__version__}, one thread", flush=True)
        for name, (plain, ours, clock) in rows.items():
            print(f"{name:28} {ratio(plain, ours, clock, rounds):6.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
