"""The standard sets from tiny files in their real formats."""

import gzip
import hashlib
import os
import pickle
import socket
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from pictures import noise, write_mnist
from PIL import Image

from gancli.data.digits import Digits
from gancli.data.torchvision import TorchvisionImages
from gancli.errors import UsageError

SHARED = ROOT.parent / "shared" / "data"
ALL = ("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn", "stl10", "celeba")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path) -> None:
    """No network, whatever the machine has; a cache of its own."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


def dump(path: Path, content: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return md5(path)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_mnist_layouts(tmp_path, name: str, folder: str) -> None:
    data = write_mnist(tmp_path, folder)
    source = TorchvisionImages(name, str(tmp_path), validation=0)
    train, test = source.split("train"), source.split("test")
    assert np.array_equal(train.pixels[:, 0], data["train"][0]) and np.array_equal(train.labels, data["train"][1])
    assert np.array_equal(test.pixels[:, 0], data["t10k"][0]) and np.array_equal(test.labels, data["t10k"][1])
    assert train.spec == test.spec and train.spec.shape == (1, 28, 28) and train.spec.num_classes == 10
    assert train.pixels.dtype == np.uint8 and train.labels.dtype == np.int64 and train.name == name
    assert name != "mnist" or train.class_names == Digits().split("train").class_names  # so that labels can be kept


def test_size_channels_validation(tmp_path) -> None:
    write_mnist(tmp_path)
    source = TorchvisionImages("mnist", str(tmp_path), size=32, channels=3, validation=10)
    assert source.split("train").pixels.shape == (30, 3, 32, 32)
    assert source.split("validation").spec == source.split("train").spec and len(source.split("validation")) == 10
    plain = TorchvisionImages("mnist", str(tmp_path), validation=10)
    assert plain.split("train").fingerprint != source.split("train").fingerprint
    again = TorchvisionImages("mnist", str(tmp_path), validation=10)
    assert plain.split("train").fingerprint == again.split("train").fingerprint


def test_packed_mnist_is_unpacked_without_network(tmp_path, monkeypatch) -> None:
    from torchvision import datasets

    data = write_mnist(tmp_path)
    resources = []
    for file, _ in datasets.MNIST.resources:
        plain = tmp_path / "MNIST" / "raw" / file.removesuffix(".gz")
        plain.with_name(file).write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        resources.append((file, md5(plain.with_name(file))))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    assert np.array_equal(
        TorchvisionImages("mnist", str(tmp_path), validation=0).split("train").pixels[:, 0], data["train"][0]
    )


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar(tmp_path, monkeypatch, name: str, classes: int) -> None:
    from torchvision import datasets

    builder = getattr(datasets, name.upper())
    key, names = (
        ("labels", [f"c{i}" for i in range(classes)])
        if classes == 10
        else ("fine_labels", [f"c{i}" for i in range(100)])
    )
    base, train = tmp_path / builder.base_folder, []
    for part in ("train_list", "test_list"):
        sums = []
        for i, (file, _) in enumerate(getattr(builder, part)):
            content = {"data": noise(6, 3072, seed=i), key: [int(v) for v in noise(6, seed=i) % classes]}
            sums.append([file, dump(base / file, content)])
            train += [content["data"]] if part == "train_list" else []
        monkeypatch.setattr(builder, part, sums)
    meta = {**builder.meta, "md5": dump(base / builder.meta["filename"], {builder.meta["key"]: names})}
    monkeypatch.setattr(builder, "meta", meta)

    source = TorchvisionImages(name, str(tmp_path), validation=0)
    images = source.split("train")
    assert np.array_equal(images.pixels, np.concatenate(train).reshape(-1, 3, 32, 32))
    assert (
        images.pixels.flags.c_contiguous and images.spec.num_classes == classes and images.class_names == tuple(names)
    )
    assert len(source.split("test")) == 6

    file = base / builder.train_list[0][0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UsageError, match=rf"data={name}: its files in .* cannot be read .*delete .*data=digits"):
        TorchvisionImages(name, str(tmp_path)).split("train")


def test_svhn(tmp_path, monkeypatch) -> None:
    from scipy.io import savemat
    from torchvision import datasets

    table = dict(datasets.SVHN.split_list)
    for i, part in enumerate(("train", "test")):
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": noise(32, 32, 3, 20, seed=i), "y": np.arange(1, 21)[:, None] % 10 + 1})
        table[part] = [*table[part][:2], md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", table)
    source = TorchvisionImages("svhn", str(tmp_path), validation=0)
    images = source.split("train")
    assert (
        np.array_equal(images.pixels, noise(32, 32, 3, 20).transpose(3, 2, 0, 1)) and images.pixels.flags.c_contiguous
    )
    assert images.labels.min() == 0 and images.labels.max() == 9 and images.spec.num_classes == 10
    assert np.array_equal(source.split("test").pixels, noise(32, 32, 3, 20, seed=1).transpose(3, 2, 0, 1))


def test_stl10(tmp_path, monkeypatch) -> None:
    from torchvision import datasets

    base = tmp_path / "stl10_binary"
    base.mkdir()
    (base / "class_names.txt").write_text("\n".join(f"c{i}" for i in range(10)))
    for part, n, seed in (("train", 8, 0), ("unlabeled", 14, 1), ("test", 5, 2)):
        noise(n, 3, 96, 96, seed=seed).tofile(base / f"{part}_X.bin")  # column-major pictures
        (np.arange(n) % 10 + 1).astype(np.uint8).tofile(base / f"{part}_y.bin")
    for part in ("train_list", "test_list"):
        monkeypatch.setattr(
            datasets.STL10, part, [[file, md5(base / file)] for file, _ in getattr(datasets.STL10, part)]
        )

    labelled = TorchvisionImages("stl10", str(tmp_path), validation=0)
    assert np.array_equal(labelled.split("train").pixels, noise(8, 3, 96, 96).transpose(0, 1, 3, 2))
    assert labelled.split("train").labels.tolist() == list(range(8)) and labelled.split("train").class_names[0] == "c0"
    free = TorchvisionImages("stl10", str(tmp_path), unlabeled=True, size=48, validation=0)
    assert free.split("train").pixels.shape == (14, 3, 48, 48) and free.split("train").labels is None
    assert free.split("test").labels is None and free.split("test").spec == free.split("train").spec


@pytest.mark.parametrize("zipped", [False, True])
def test_celeba(tmp_path, zipped: bool) -> None:
    base = tmp_path / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    lines = []
    for i in range(12):
        Image.fromarray(np.full((218, 178, 3), 20 * i, np.uint8)).save(base / "img_align_celeba" / f"{i:06}.jpg")
        lines.append(f"{i:06}.jpg {(0, 0, 0, 1, 2, 2)[i % 6]}")
    (base / "list_eval_partition.txt").write_text("\n".join(lines))
    if zipped:
        with zipfile.ZipFile(base / "img_align_celeba.zip", "w") as archive:
            for file in sorted((base / "img_align_celeba").iterdir()):
                archive.write(file, f"img_align_celeba/{file.name}")
                file.unlink()
        (base / "img_align_celeba").rmdir()
    source = TorchvisionImages("celeba", str(tmp_path), size=64)
    shades = {
        split: sorted(int(i.mean()) // 20 for i in source.split(split).pixels + 2)
        for split in ("train", "validation", "test")
    }
    assert shades == {"train": [0, 1, 2, 6, 7, 8], "validation": [3, 9], "test": [4, 5, 10, 11]}
    assert source.split("train").spec.shape == (3, 64, 64) and source.split("train").labels is None
    assert TorchvisionImages("celeba", str(tmp_path), validation=0).split("train").spec.shape == (3, 218, 178)
    with pytest.raises(UsageError, match="data.validation=0.05"):
        TorchvisionImages("celeba", str(tmp_path), size=64, validation=0).split("validation")
    (base / "list_eval_partition.txt").write_text("\n".join([*lines, "000099.jpg 0"]))
    with pytest.raises(UsageError, match="1 of the 13 images .* 000099.jpg"):
        TorchvisionImages("celeba", str(tmp_path), size=64).split("train")


@pytest.mark.parametrize("name", ALL)
def test_absent_data_is_one_line_and_leaves_nothing(tmp_path, capfd, name: str) -> None:
    root = tmp_path / "no" / "such"
    timeout = socket.getdefaulttimeout()
    with pytest.raises(UsageError) as error:
        TorchvisionImages(name, str(root)).split("train")
    message = str(error.value)
    wanted = {
        "cifar10": "cifar-10-batches-py/data_batch_1",
        "svhn": "train_32x32.mat",
        "stl10": "stl10_binary/train_X.bin",
        "celeba": "celeba/list_eval_partition.txt",
    }
    words = [
        f"data={name}:",
        str(root),
        wanted.get(name, "train"),
        "GANCLI_DATA",
        "data=digits",
        "data=folder",
        "not downloaded",
    ]
    assert "\n" not in message and [word for word in words if word not in message] == []
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "no").exists() and socket.getdefaulttimeout() == timeout


def test_a_folder_that_cannot_be_written_is_the_reason_given(tmp_path, monkeypatch) -> None:
    def refuse(path: str, *args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(UsageError, match="Read-only file system"):
        TorchvisionImages("mnist", str(tmp_path)).split("train")


def test_read_only_files_are_enough(tmp_path, monkeypatch) -> None:
    write_mnist(tmp_path)
    monkeypatch.setattr(os, "makedirs", None)  # nothing may be created
    for path in (tmp_path / "MNIST" / "raw", tmp_path / "MNIST"):
        path.chmod(0o555)
    assert len(TorchvisionImages("mnist", str(tmp_path)).split("train")) == 38


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_truncated_files_are_named(tmp_path, keep: int) -> None:
    write_mnist(tmp_path)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UsageError, match="data=mnist: its files in .*train-images-idx3-ubyte") as error:
        TorchvisionImages("mnist", str(tmp_path)).split("train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "words"), [({"name": "minst"}, "did you mean 'mnist'"), ({"name": "mnist", "unlabeled": True}, "stl10")]
)
def test_bad_arguments(kwargs: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TorchvisionImages(**kwargs)


@pytest.mark.skipif(not (SHARED / "MNIST").exists(), reason="needs ../shared/data")
def test_official_mnist() -> None:
    source = TorchvisionImages("mnist", str(SHARED))
    assert [len(source.split(split)) for split in ("train", "validation", "test")] == [57000, 3000, 10000]
    assert np.bincount(source.split("test").labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(source.split("train").pixels.mean() / 255 - 0.1307) < 0.001
