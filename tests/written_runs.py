"""Run folders written by hand, their scores, and reports over them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from helpers import compose
from PIL import Image

from gancli.verbs.report.run import report

PROTOCOL = {
    "metrics": ["fid", "is"], "images_generated": 1000, "images_reference": 360, "dataset": "digits", "split": "test",
    "features": {"name": "classifier", "weights_sha256": "ab" * 32}, "is_splits": 10, "ema": True, "seed": 0,
    "repeats": 1, "batch_size": 64, "device": "cpu", "versions": {"torch": "2.15.0"},
}  # fmt: skip


FLOOR = {"images": 180, "values": {"fid": 9.5, "is": 7.5}}


MODELS = {"dcgan": ("gancli.models.dcgan.DCGAN", "adam"), "mlp_gan": ("gancli.models.mlp_gan.MLPGAN", "sgd")}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(
    folder: Path, *, model: str = "dcgan", loss: str = "hinge", seed: int = 0, fid: float = 50.0, images: int = 3000,
    typed: tuple[str, ...] = ("model", "loss", "seed"), state: str = "done", split: str = "validation", **settings: Any,
) -> Path:  # fmt: skip
    """Write a run with three validation scores, of which the second is the best, and a grid; without evaluations."""
    target, optimizer = MODELS[model]
    cfg = {
        "seed": seed, "images": images, "batch_size": 64, "model": {"_target_": target, "width": 64, "dim": None},
        "loss": {"_target_": f"gancli.losses.adversarial.{loss.title()}"},
        "optimizer": {"_target_": f"torch.optim.{optimizer}", "lr": 1e-3}, "data": {"_target_": "gancli.data.Digits"},
        "eval": {"every": 1000, "split": split, "best": "fid"}, "runtime": {"device": "cpu", "precision": "fp32"},
        "ema": {"half_life": 10_000}, **settings,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    choices = {
        "model": model,
        "loss": loss,
        "optimizer": optimizer,
        "data": "digits",
        "runtime": "cpu",
        "recipe": model,
    }
    overrides = [f"{key}={choices.get(key, cfg.get(key))}" for key in typed]
    status = {"state": state, "overrides": overrides, "choices": choices, "seconds": 99.0, "error": None, "job": 0}
    write_json(folder / "status.json", status)
    write_json(folder / "machine.json", [{"device": "CPU (test)", "from_images": 0}])
    rows = [
        {
            "images": images * i // 3,
            "runtime/images_per_s": 100.0,
            "loss/generator": 1.0 / i,
            "eval/fid": value,
            "eval/is": i,
            "eval/is_std": 0.1,
        }
        for i, value in ((1, fid + 30), (2, fid - 10), (3, fid))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "samples").mkdir()
    for at in (0, images):
        Image.fromarray(np.full((8, 8, 3), 50 + seed, np.uint8)).save(folder / "samples" / f"{at:012d}.png")
    return folder


def score(run: Path, images: int, fid: float, *, name: str = "", **protocol: Any) -> Path:
    """Write the evaluation of a checkpoint."""
    facts = PROTOCOL | {"checkpoint_sha256": f"{run}{images}"} | protocol
    values = {"fid": fid, "is": 100 / fid, "is_std": 0.1}
    file = run / "eval" / f"{images:012d}-classifier{name}.json"
    write_json(file, {"values": values, "floor": FLOOR, "images_seen": images, "protocol": facts})
    return file


def reported(*overrides: str, **values: Any) -> None:
    words = [f"{key}='{value}'" for key, value in values.items()]
    report(compose("report", [*words, *overrides]))


def read(folder: Path, name: str = "table.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "report" / name).open()))
