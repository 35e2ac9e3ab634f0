"""Checkpoints that were damaged, cut or made by a stranger: refused in one line, and never loaded in silence."""

import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import run
from torch import nn

from gancli.cli import saved as saved_runs
from gancli.errors import UsageError
from gancli.training import checkpoint, integrity
from gancli.training.unfilled import Unfilled


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(folder, "images=32", "checkpoint.every=16", "checkpoint.keep=2")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as error:
        checkpoint.rebuild(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def flipped(file: Path, seed: int) -> None:
    """Flip one bit of the weights or of what stands between them."""
    data, at = bytearray(file.read_bytes()), random.Random(seed)
    data[at.randrange(len(data))] ^= 1 << at.randrange(8)
    file.write_bytes(data)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_changes_no_weight_in_silence(seed, trained, tmp_path):
    good = checkpoint.find(trained)
    file = Path(shutil.copy(good, tmp_path / "x.pt"))
    flipped(file, seed)
    try:
        found = checkpoint.load(file).state
    except UsageError as error:
        assert "\n" not in str(error)
        return
    known = checkpoint.load(good).state  # a bit of the zip's own padding
    assert all(torch.equal(found["model"][key], value) for key, value in known["model"].items())
    assert found["config"] == known["config"] and found["images"] == known["images"]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(folder, caplog):
    newest = checkpoint.find(folder)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    before = checkpoint.find(folder)
    assert before != newest and before.name == checkpoint.name(16)
    assert f"{newest} is damaged (the checksum of " in caplog.text and "taking the checkpoint before it" in caplog.text
    assert "the checksum of" in refused(newest)
    run(folder, "images=48", f"resume={folder}")
    assert checkpoint.load(folder).images == 48


def test_what_unpacks_to_more_than_its_size_is_not_unpacked(folder):
    file = checkpoint.find(folder)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(folder / "x.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for each in old.infolist():
            new.writestr(each.filename, old.read(each))
    assert "it is compressed" in refused(folder / "x.pt")
    for size in (0, 100, file.stat().st_size // 2):
        (folder / "y.pt").write_bytes(file.read_bytes()[:size])
        assert "truncated" in refused(folder / "y.pt") or "cannot be read" in refused(folder / "y.pt")


def changed(state: dict, path: str, value) -> dict:
    """Return the state with one entry replaced, or removed where the value is a mark."""
    keys, found = path.split("/"), {k: v for k, v in state.items() if k != "format"}
    node = found
    for key in keys[:-1]:
        node[key] = dict(node[key])
        node = node[key]
    node.pop(keys[-1], None)
    if value is not GONE:
        node[keys[-1]] = value
    return found


GONE = object()
WEIGHT = "model/generator.of_latent.weight"
ODD = [
    *((key, GONE) for key in ("config", "spec", "images", "model", "ema", "optimizers", "loss", "rng", "loader")),
    *((key, 3) for key in ("config", "spec", "model", "ema", "optimizers", "loss", "rng", "loader", "metrics")),
    *((key, "x") for key in ("images", "share", "turn", "ema_images", "classes", "versions")),
    ("images", -1), ("images", True), ("images", 1.5), ("share", float("nan")), ("metrics", {}), ("turn", -1),
    ("metrics", {"best": "x"}), ("classes", [1, 2]), ("versions", {"gancli": 2}), ("rng/cpu", [1]), ("rng/cuda", [2]),
    ("spec/channels", "1"), ("spec/height", 0), ("spec/width", -8), ("spec/levels", 2**40), ("spec/more", 1),
    ("spec/channels", GONE), ("spec/paired", 1), ("spec", {"channels": 1}), ("spec/height", 4),
    ("config", ""), ("config", "[1]"), ("config", "a: ${oc.env:HOME}"), ("config", "model: x"),
    ("optimizers/generator", {"optimizer": [], "updates": 1}), ("optimizers/generator", {"updates": 1}),
    ("optimizers/generator/updates", "x"), ("model/more", torch.zeros(1)), ("model/x", 1), ("model", {}),
]  # fmt: skip


@pytest.mark.parametrize("path, value", ODD, ids=[f"{path}={str(value)[:20]}" for path, value in ODD])
def test_odd_states_are_refused_in_one_line(path, value, trained, tmp_path):
    state = checkpoint.load(trained).state
    checkpoint.save(tmp_path / "x.pt", changed(state, path, value))
    refused(tmp_path / "x.pt")


ODD_TO_RESUME = [
    ("rng/cpu", torch.zeros(3)), ("rng/cpu", torch.zeros(7, dtype=torch.uint8)), ("loader", {}), ("loader/seed", "x"),
    ("loader/flips", torch.zeros(2)), ("loader/given", -5), ("optimizers", {}), ("optimizers/more", {}),
    ("optimizers/generator/optimizer", {}), ("optimizers/generator/optimizer/state", {0: {"exp_avg": torch.zeros(3)}}),
    ("optimizers/generator/optimizer/param_groups", []), ("loss/more", torch.zeros(1)),
]  # fmt: skip


@pytest.mark.parametrize("path, value", ODD_TO_RESUME, ids=[path for path, _ in ODD_TO_RESUME])
def test_what_training_alone_reads_is_checked_when_it_resumes(path, value, folder):
    file = checkpoint.find(folder)
    checkpoint.save(file, changed(checkpoint.load(file).state, path, value))
    with pytest.raises(UsageError) as error:
        run(folder, "images=48", f"resume={folder}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("convert", [torch.Tensor.half, torch.Tensor.double, lambda x: x + 1j, torch.Tensor.int])
def test_weights_of_another_type_are_refused(convert, trained, tmp_path):
    state = checkpoint.load(trained).state
    parts = {
        part: {k: convert(v) if v.is_floating_point() else v for k, v in state[part].items()}
        for part in ("model", "ema")
    }
    checkpoint.save(tmp_path / "x.pt", {k: v for k, v in (state | parts).items() if k != "format"})
    assert "and the model's is torch.float32" in refused(tmp_path / "x.pt")


def test_a_model_larger_than_its_weights_is_refused_before_memory_is_asked_for(trained, tmp_path):
    state = checkpoint.load(trained).state
    text = state["config"].replace("width: 4", "width: 60000")
    assert text != state["config"]
    checkpoint.save(tmp_path / "x.pt", changed(state, "config", text))
    assert "more than there are weights" in refused(tmp_path / "x.pt")


def test_the_sizes_are_compared_without_the_compiler_whose_import_takes_as_long_as_that_of_torch(trained):
    code = "import sys; from gancli.training import checkpoint; checkpoint.rebuild(sys.argv[1])"
    code += "; sys.exit(any(name.startswith('torch._dynamo') for name in sys.modules))"
    words = [sys.executable, "-c", code, str(trained)]
    assert subprocess.run(words, env=os.environ | {"PYTHONPATH": os.getcwd()}).returncode == 0


@pytest.mark.parametrize("fill", [nn.init.normal_, nn.init.constant_, nn.init.kaiming_uniform_, nn.init.trunc_normal_])
def test_networks_without_values_have_the_sizes_of_those_with_values(fill):
    def build() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
        with torch.no_grad():
            assert fill(net[0].weight, **({"val": 2.0} if fill is nn.init.constant_ else {})) is net[0].weight
            net[2].weight.normal_().mul_(2)
        return net

    with torch.device("meta"), Unfilled():
        empty = build()
    shapes = lambda net: {name: (each.shape, each.dtype) for name, each in net.state_dict().items()}  # noqa: E731
    assert shapes(empty) == shapes(build()) and empty[0].weight.is_meta


@pytest.mark.parametrize("name", ["status.json", "machine.json", "metrics.jsonl"])
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "3", "[3]", '{"state": 1}', '[{"device": 1}]', "\x00", '{"images":"x"}']
)
def test_odd_files_beside_a_checkpoint_end_no_command(name, text, folder):
    (folder / name).write_text(text)
    saved_runs.read(folder)
    run(folder, "images=48", f"resume={folder}")
    assert checkpoint.load(folder).images == 48


def test_a_fault_is_looked_for_once(folder, monkeypatch):
    file = checkpoint.find(folder)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: pytest.fail("looked again"))
    assert integrity.fault(file) is None


def test_averaged_weights_hide_no_weights_of_another_kind(trained, tmp_path):
    """Sampling takes the average, and so nobody would notice what the weights beside it are."""
    state = {key: value for key, value in checkpoint.load(trained).state.items() if key != "format"}
    name = next(key for key in state["ema"] if state["ema"][key].ndim > 1)
    for odd in (torch.zeros(2, dtype=torch.complex64), state["model"][name].half(), state["model"][name][:1]):
        checkpoint.save(tmp_path / "x.pt", state | {"model": state["model"] | {name: odd}})
        assert f"ema.{name}: expected the size and type of model.{name}" in refused(tmp_path / "x.pt")
    checkpoint.save(tmp_path / "x.pt", state | {"ema": state["ema"] | {"generator.unknown": torch.zeros(2)}})
    assert "ema.generator.unknown" in refused(tmp_path / "x.pt")


def test_an_archive_of_several_disks_is_refused(folder):
    """Python's zipfile raises that already where it is asked whether a file is an archive."""
    file = checkpoint.find(folder)
    locator = b"PK\x06\x07" + bytes(12) + (2).to_bytes(4, "little")  # of ZIP64: two disks
    data = file.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    file.write_bytes(data[:end] + locator + data[end:])
    assert "multiple disks" in refused(file)
