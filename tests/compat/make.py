"""Make the fixtures of the compatibility test: tiny runs of every family, and what resuming them must give.

Run it once per release, with the release whose runs are to be kept first on the path, from any folder:

    PYTHONPATH=<tree of that release> python tests/compat/make.py

It writes `gancli-1.tar.xz` (run folders without pictures and event files) and `expected.json` beside this file. The
test never calls it: fixtures made by the code under test would prove nothing.
"""

import hashlib
import json
import math
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ARCHIVE, EXPECTED = FOLDER / "gancli-1.tar.xz", FOLDER / "expected.json"
SAVED, RESUMED = 24, 48  # images seen when the checkpoint was written, and at the end of the resumed run
KEPT = ("config.yaml", "status.json", "machine.json", "metrics.jsonl")  # and the newest checkpoint
PARTS = ("model", "ema", "optimizers")

COMMON = ["batch_size=8", "runtime=cpu", "runtime.threads=1", "samples.n=4", "samples.every=0", "log.every=8"]
COMMON += ["checkpoint.every=1000", "ema.half_life=20", "eval.every=0", "seed=3"]
SMALLEST = ["data=fake", "data.size=4", "data.channels=1", "data.n=40", "data.n_test=16"]
IMAGES = ["data=fake", "data.size=8", "data.channels=1", "data.n=40", "data.n_test=16"]
DOMAINS = [
    f"data{sep}{side}{value}"
    for side in "ab"
    for sep, value in (("/", "=fake"), (".", ".size=8"), (".", ".channels=1"), (".", ".n=40"), (".", ".n_test=16"))
]
TRANSLATION = ["model.width=1", "model.discriminator_width=1", "eval.metrics=[precision_recall]", "eval.best=recall"]
# No state but the weights, which keeps the archive small; the other cases have Adam, momentum and averages.
PLAIN = ["optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.001", "schedule=constant", "ema.half_life=0"]
CASES = {
    "dcgan": ["model=dcgan", *IMAGES, "model.width=1", "model.latent_dim=4"],
    "mlp_gan": ["model=mlp_gan", *SMALLEST, "model.latent_dim=4", "model.generator_hidden=4",
                "model.discriminator_hidden=2"],
    "cgan": ["model=cgan", *SMALLEST, "model.width=0.02", "model.latent_dim=4", "data.num_classes=2", *PLAIN],
    "toy_gan": ["model=toy_gan", "data=grid25", "model.width=4", "data.n=40", "data.n_test=16"],
    "pixelcnn": ["model=pixelcnn", *IMAGES, "model.width=2", "model.blocks=1", "model.head=2", "data.bits=3"],
    "kde": ["model=kde", *SMALLEST],
    "cyclegan": ["model=cyclegan", "data=unpaired", *DOMAINS, "data.b.seed=1", *TRANSLATION, "model.blocks=1",
                 *PLAIN, "loss.pool=4"],
    "pix2pix": ["model=pix2pix", "data=paired", *DOMAINS, "data.b.seed=1", *TRANSLATION, *PLAIN],
    "stargan": ["model=stargan", "data=shapes", "data.label=colour", "data.n=40", "data.n_test=60", "data.size=8",
                *TRANSLATION, "model.blocks=1", *PLAIN],
}  # fmt: skip
ONCE = {"kde"}  # fitted in one pass: there is nothing to resume
NLL = {"pixelcnn", "kde"}


def gancli(*words: str) -> None:
    """Run a command line in this process. Raises RuntimeError where its exit code is not 0."""
    from gancli.cli import main

    if code := main(list(words)):
        raise RuntimeError(f"gancli {' '.join(words)}: exit code {code}")


def resume_and_evaluate(name: str, run: Path) -> None:
    """Train the run in `run` on to RESUMED images and write its score cards."""
    if name not in ONCE:
        gancli("train", f"resume={run}", f"images={RESUMED}")
    if name in NLL:
        words = ["metrics=[nll]"]
    else:
        words = ["metrics=[fid,precision_recall]"]
        words += [] if name == "toy_gan" else ["features=classifier", "features.epochs=1"]
    gancli("eval", f"ckpt={run}", "n=16", *words)


def tensors(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a nested state with their dotted names."""
    import torch

    if isinstance(state, torch.Tensor):
        yield prefix, state
    elif isinstance(state, (dict, list, tuple)):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in items:
            yield from tensors(value, f"{prefix}.{key}" if prefix else str(key))


def newest(run: Path) -> Path:
    """Return the checkpoint of the most images."""
    return sorted((run / "checkpoints").glob("[0-9]*.pt"))[-1]


def observed(run: Path) -> dict[str, Any]:
    """Return what is compared of a run: hashes of its newest state, norms of its tensors, values of its score cards.

    `sha256` has one hash per part of the checkpoint, of all its tensors in whatever order. `norms` has the L2 norm of
    each tensor of the averaged model (the model itself where nothing is averaged), in float64, to nine digits.
    `scores` has, by the name of the score card without its hash, the values.
    """
    import torch

    state = torch.load(newest(run), weights_only=True)
    hashes = {}
    for part in PARTS:
        each = sorted(hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest() for _, t in tensors(state[part]))
        hashes[part] = hashlib.sha256("".join(each).encode()).hexdigest()
    averaged = dict(tensors(state["ema"])) or dict(tensors(state["model"]))
    cards = {re.sub(r"(-[0-9a-f]{8})?\.json$", "", p.name): p for p in sorted((run / "eval").glob("*.json"))}
    return {
        "images": state["images"],
        "sha256": hashes,
        "norms": {name: float(f"{t.double().norm().item():.9g}") for name, t in averaged.items()},
        "scores": {name: _plain(json.loads(path.read_text())["values"]) for name, path in cards.items()},
    }


def _plain(values: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, float) and math.isfinite(value)}


def main() -> None:
    """Train each case, pack its folder, then resume and evaluate it with the same release."""
    home = Path(tempfile.mkdtemp())
    os.environ |= {"OMP_NUM_THREADS": "1", "GANCLI_CACHE": str(home / "cache")}
    os.chdir(home)
    expected = {}
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for name, words in CASES.items():
            run = home / name
            gancli("train", *COMMON, *words, f"images={SAVED}", f"hydra.run.dir={run}")
            for kept in (*KEPT, newest(run).relative_to(run)):
                archive.add(run / kept, f"{name}/{kept}", filter=_anonymous)
            resume_and_evaluate(name, run)
            expected[name] = observed(run)
    EXPECTED.write_text(json.dumps(expected, indent=None) + "\n", encoding="utf-8")
    shutil.rmtree(home)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


if __name__ == "__main__":
    sys.exit(main())
