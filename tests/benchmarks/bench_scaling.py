"""What several GPUs have to send for each model, counted from its parameters; outputs/results/scaling.md shows it.

    python tests/benchmarks/bench_scaling.py            # prints the tables of the page

Nothing is measured here: bytes are those of the gradients, link speeds are those of data sheets, and the seconds of a
step on a CPU come from results/recipes-<chip>.json, which bench_recipes.py has written.
"""

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gancli import config
from gancli.config import compose
from gancli.data.spec import ImageSpec
from gancli.losses.base import Loss
from gancli.models.base import Model

RESULTS = Path(__file__).resolve().parent / "results"
GREY, COLOUR = ImageSpec(1, 28, 28, num_classes=10), ImageSpec(3, 32, 32, num_classes=10)
LARGE = ImageSpec(3, 128, 128)
MODELS = {  # name -> what its images are
    "mlp_gan": GREY, "dcgan": GREY, "wgan_gp": COLOUR, "sngan_resnet": COLOUR, "biggan": COLOUR,
    "biggan_paper": ImageSpec(3, 128, 128, num_classes=1000), "progan_paper": LARGE, "stylegan_paper": LARGE,
    "stylegan2_paper": LARGE, "r3gan_paper": ImageSpec(3, 64, 64),
    "cyclegan": ImageSpec(3, 256, 256, source_channels=3),
    "pix2pix": ImageSpec(3, 256, 256, source_channels=3, paired=True),
    "vae": GREY, "vae_conv": GREY, "vqvae": GREY, "vqgan": COLOUR,
    "pixelcnn": GREY, "gated_pixelcnn_paper": COLOUR, "pixelcnn_pp_paper": COLOUR, "lmconv": GREY,
}  # fmt: skip
FLOAT = 4  # bytes of a gradient
GPUS = (8, 64, 512)
NVLINK, INFINIBAND = 450e9, 50e9  # bytes/s in one direction, of a GPU: see the page


class Cost(NamedTuple):
    """What one turn of a model sends."""

    batch: int
    messages: int  # updates of a turn, each with one all-reduce
    bytes: int  # of all of them
    norms: int  # layers of batch norm in the networks


def cost(name: str) -> Cost:
    """Count the updates of a turn, the bytes of their gradients, and layers of batch norm."""
    cfg = compose("train", [f"model={name}", "data=fake"])
    levels = 2 if cfg.data.get("binarise") else 2 ** cfg.data.get("bits", 8)
    model = config.instantiate(cfg.model, Model, spec=replace(MODELS[name], levels=levels))
    loss = config.instantiate(cfg.loss, Loss)
    messages = sent = 0
    for phase in loss.phases(model):
        times = phase.repeat if isinstance(phase.repeat, int) else 1
        own = {id(p): p.numel() for part in phase.networks for p in model.get_submodule(part).parameters()}
        messages, sent = messages + times, sent + times * FLOAT * sum(own.values())
    kinds = [type(each).__name__ for each in model.modules()]
    return Cost(cfg.batch_size, messages, sent, sum("BatchNorm" in kind for kind in kinds))


def ring(size: float, gpus: int, speed: float) -> float:
    """Return the seconds that a ring takes at least: each GPU sends 2 (w - 1) / w times the bytes (Patarasu & Yuan)."""
    return 2 * (gpus - 1) / gpus * size / speed


def on_cpu() -> dict[str, float]:
    """Return the measured CPU seconds of a turn of some recipes, fp32, one thread."""
    (file,) = RESULTS.glob("recipes-cpu-intel-*.json")
    found = json.loads(file.read_text(encoding="utf-8"))["recipes"]
    rates = {name: statistics.median(each["images_per_cpu_s"]["fp32"]) for name, each in found.items()}
    return {name: found[name]["batch_size"] / rate for name, rate in rates.items()}


def tables() -> list[str]:
    """Return the two tables of the page, in lines."""
    costs, seconds = {name: cost(name) for name in MODELS}, on_cpu()
    heads = "images | batch | updates | MB per turn | batch norms | CPU s per turn"
    lines = [f"| `model=` | {heads} |", "|---|" + "---|" * 6]
    for name, each in costs.items():
        shape = "x".join(map(str, MODELS[name].shape))
        measured = name in seconds and MODELS[name].height < 64  # at 28x28 and 32x32
        step = f"{seconds[name]:.2f}" if measured else ""
        lines.append(
            f"| `{name}` | {shape} | {each.batch} | {each.messages} | {each.bytes / 1e6:.3g} | {each.norms} | {step} |"
        )
    heads = " | ".join(f"{gpus} GPUs: images each, ms" for gpus in GPUS)
    lines += ["", f"| `model=` | {heads} |", "|---|" + "---|" * len(GPUS)]
    for name, each in costs.items():
        cells = []
        for gpus in GPUS:
            if each.batch < gpus:
                cells.append("-")
                continue
            time = 1e3 * ring(each.bytes, gpus, NVLINK if gpus <= 8 else INFINIBAND)
            cells.append(f"{each.batch // gpus}, {time:.3g}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print("\n".join(tables()))
