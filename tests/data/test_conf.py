"""Every ``conf/data/*.yaml`` fits the class it names."""

import importlib
import inspect
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from gancli.data.source import Source

# Not here: points that are drawn, and sets made of other sets (test_points.py, test_stacked.py, test_domains.py).
OTHERS = {
    "Gaussians1D",
    "Line",
    "Ring",
    "Grid",
    "SwissRoll",
    "TwoMoons",
    "Stacked",
    "Domains",
    "Edges",
    "Paired",
    "Unpaired",
}
ALL = sorted((ROOT / "conf" / "data").glob("*.yaml"))
FILES = [file for file in ALL if OmegaConf.load(file)["_target_"].rpartition(".")[2] not in OTHERS]
LOADER = {"flip", "resident", "workers", "bits", "binarise", "dequantise"}  # and of the quantisation


def test_every_set_has_its_file() -> None:
    assert {file.stem for file in FILES} >= {
        *(
            "digits",
            "mnist",
            "fashion_mnist",
            "kmnist",
            "cifar10",
            "cifar100",
            "svhn",
            "stl10",
            "celeba",
            "folder",
            "fake",
        )
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_keys_are_arguments_and_the_object_can_be_built(file: Path, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GANCLI_DATA", str(tmp_path))
    node = OmegaConf.load(file)
    node.pop("defaults", None)
    if file.stem == "huggingface":
        node.root = str(tmp_path)
    if file.stem in ("folder", "webdataset"):
        assert OmegaConf.is_missing(node, "root")
        node.root = str(tmp_path)
    node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    module, name = node.pop("_target_").rsplit(".", 1)
    cls = getattr(importlib.import_module(module), name)
    binary = {"dequantise"} if file.stem == "static_mnist" else set()  # two levels as they are
    assert set(node) >= (LOADER - binary) | {"size", "channels", "validation", "seed"}
    kwargs = {key: value for key, value in node.items() if key not in LOADER}
    source = cls(**kwargs)
    assert isinstance(source, Source) and source.name == file.stem
    parameters = inspect.signature(cls).parameters
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters.values())
    # The yaml is the manual: no argument may be hidden, but for those that only one of torchvision's sets has.
    hidden = set(parameters) - set(kwargs)
    assert hidden <= ({"unlabeled", "crop"} if "torchvision" in module else set())


def test_root_is_the_environments_or_the_users_cache(monkeypatch) -> None:
    file = next(file for file in FILES if file.stem == "mnist")
    monkeypatch.delenv("GANCLI_DATA", raising=False)
    assert OmegaConf.load(file).root == "~/.cache/gancli"
    monkeypatch.setenv("GANCLI_DATA", "/data")
    assert OmegaConf.load(file).root == "/data"
