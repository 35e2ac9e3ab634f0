"""How fast the shipped recipes are against a textbook loop and against their own fp32, in one table and one file.

    make bench            # or: python tests/benchmarks/bench_recipes.py [--rounds 5] [--only dcgan,lmconv]

All ways to train a recipe take their turns in every round, on one thread, and a ratio is the median of those of the
rounds. The clock is the CPU time of the process, so that a busy machine slows all alike; with ``--threads 2``, which
wait for each other, it is the clock on the wall, and the machine should be idle. The textbook's loop, which stands for
recipes of two players without classes, loads its images in the same process or in two others (whose CPU time is not
counted), and the faster of the two is what others are compared with. ``bf16`` also has runtime.channels_last=auto.
Written to results/recipes-<chip>.json or 2-threads-<chip>.json, which name the date, the chip and the load; with
``--only``, the other recipes stay in that file. ``--formats`` compares runtime.channels_last=true with false instead,
in the precision that each recipe has by default, and writes results/formats-<chip>.json.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from gancli.config import compose
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.verbs.bench.loops import TEXTBOOK, own, quiet, rivals
from gancli.verbs.bench.timing import interleaved

RESULTS = Path(__file__).resolve().parent / "results"
GREY = ["data=fake", "data.size=28", "data.channels=1", "data.n=2000"]
COLOUR = ["data=fake", "data.size=32", "data.channels=3", "data.n=2000"]
DOMAINS = ["data=unpaired", *(f"data/{side}=fake" for side in "ab"),
           *(f"data.{side}.{word}" for side in "ab" for word in ("size=32", "channels=3", "n=500"))]  # fmt: skip
RECIPES = {  # of every model that is trained in steps
    "dcgan": GREY, "mlp_gan": GREY, "wgan_gp": COLOUR, "cyclegan": DOMAINS, "pixelcnn": GREY, "gated_pixelcnn": GREY,
    "lmconv": GREY, "stargan": ["data=shapes", "data.label=colour", "data.size=32", "data.n=500"],
    "toy_gan": ["data=ring8"], "cgan": GREY, "fgan": GREY, "vae": GREY, "iwae": GREY, "vae_conv": GREY, "cdcgan": GREY,
    "row_lstm": GREY, "diagonal_bilstm": GREY, "pixelcnn_pp": COLOUR, "wgan": COLOUR, "sngan": COLOUR, "acgan": COLOUR,
    "vae_gan": COLOUR, "vqvae": COLOUR, "dvae": COLOUR, "vqgan": COLOUR, "hvae": COLOUR, "lapgan": COLOUR,
    "pix2pix": ["data=paired", *DOMAINS[1:]], "progan": [*COLOUR, "model.grown=0"], "stylegan2": COLOUR,
    "stylegan": [*COLOUR, "model.grown=0"], "projection": COLOUR, "sngan_resnet": COLOUR, "wgan_gp_resnet": COLOUR,
    "biggan": COLOUR, "r3gan": COLOUR,
}  # fmt: skip
FP32, BF16 = "fp32", "bf16"
WAYS = {FP32: ["runtime.precision=fp32", "runtime.channels_last=false"],
        BF16: ["runtime.precision=bf16", "runtime.channels_last=auto"]}  # fmt: skip
FIRST, LAST = "channels first", "channels last"
FORMATS = {FIRST: ["runtime.precision=auto", "runtime.channels_last=false"],
           LAST: ["runtime.precision=auto", "runtime.channels_last=true"]}  # fmt: skip
PLAYERS = ("dcgan", "mlp_gan")  # what the textbook's loop can train
WORKERS = (0, 2)  # of the textbook's loader
WARM = 2
RATES = ("images_per_cpu_s", "images_per_s")  # of one thread, of several


def measured(name: str, told: argparse.Namespace) -> dict:
    """Return the images per CPU second (several threads: per second) of every way and round, and medians of ratios."""
    threads, plain = told.threads, next(iter(told.ways))
    players = PLAYERS if told.ways is WAYS else ()
    folder = Path(tempfile.mkdtemp())
    words = [f"model={name}", *RECIPES[name], "runtime=cpu", f"runtime.threads={threads}"]
    cfgs = {way: quiet(compose("bench", [*words, *own_words])) for way, own_words in told.ways.items()}
    runs = {way: build(cfg) for way, cfg in cfgs.items()}
    ways = {way: own(run, Tracker(folder, main=False)) for way, run in runs.items()}
    if name in players:
        ways |= rivals([TEXTBOOK], cfgs[plain], runs[plain], folder, WORKERS)
    for step in ways.values():
        for _ in range(WARM):
            step()
    clock = time.process_time if threads == 1 else time.perf_counter
    found = interleaved(ways, rounds=told.rounds, seconds=told.seconds, wait=lambda: None, clock=clock)
    if name in players:
        found[TEXTBOOK] = max((found.pop(f"{TEXTBOOK}, {n} workers") for n in WORKERS), key=statistics.median)
    ratios = {name: statistics.median(a / b for a, b in zip(found[way], found[rival]))
              for name, (way, rival) in pairs(told).items() if rival in found}  # fmt: skip
    return {"batch_size": cfgs[plain].batch_size, RATES[threads > 1]: found, "ratios": ratios}


def row(name: str, found: dict, told: argparse.Namespace) -> str:
    rates = next(found[key] for key in RATES if key in found)[next(iter(told.ways))]
    cells = [f"{found['ratios'][pair]:.2f}" if pair in found["ratios"] else "-" for pair in pairs(told)]
    start = f"{name:16} {found['batch_size']:5} {statistics.median(rates):12,.1f} "
    return start + " ".join(f"{cell:>30}" for cell in cells)


def pairs(told: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """Return which ways are compared, by the names of their ratios."""
    plain, other = told.ways
    return {f"{way} / {rival}": (way, rival) for way, rival in ((plain, TEXTBOOK), (other, TEXTBOOK), (other, plain))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of the process, per way and round, at least")
    parser.add_argument("--only", default="", help="recipes, with commas between; the others stay in the file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--formats", action="store_true", help="compare memory formats instead of precisions")
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    told.ways = FORMATS if told.formats else WAYS
    torch.set_num_threads(told.threads)
    words = ["model=toy_gan", "data=ring8", "runtime=cpu", f"runtime.threads={told.threads}"]
    machine = build(compose("train", words)).runtime
    about = {"date": str(date.today()), **machine.machine(), "cores": len(os.sched_getaffinity(0)),
             "rounds": told.rounds, "seconds": told.seconds}  # fmt: skip
    named = f"{about['device']} {about['instructions']}".lower()  # chips of one name differ in their instructions
    chip = re.sub(r"[^a-z0-9]+", "-", named)
    kind = "formats" if told.formats else "recipes" if told.threads == 1 else f"{told.threads}-threads"
    file = told.out / f"{kind}-{chip}.json"
    known = json.loads(file.read_text(encoding="utf-8"))["recipes"] if told.only and file.exists() else {}
    table = {name: known[name] for name in RECIPES if name in known}
    where = f"{about['device']}, {told.threads} threads, torch {about['torch']}"
    print(
        f"{'recipe':16} {'batch':>5} {'images/s':>12} " + " ".join(f"{pair:>30}" for pair in pairs(told)),
        where,
        flush=True,
    )
    for name in RECIPES if not told.only else told.only.split(","):
        table[name] = measured(name, told) | {"load": os.getloadavg()[0]}
        print(row(name, table[name], told), flush=True)
        told.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"about": about, "recipes": table}, indent=1) + "\n", encoding="utf-8")
    print(f"-> {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
