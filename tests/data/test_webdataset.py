"""Tar shards: what is read from them, and every fault in one line."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose
from pictures import refused, shades
from PIL import Image

from gancli import config
from gancli.data.access import AtAccess
from gancli.data.loader import Loader
from gancli.data.shards import expanded
from gancli.data.webdataset import WebDatasetImages


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(shade: int, size: tuple[int, int] = (10, 8), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (5 * shade,) * 3).save(file, kind)
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes], **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    os.utime(path, (1e9, 1e9))
    os.utime(path.parent, (1e9, 1e9))
    return path


def samples(start: int, stop: int, *, label=lambda i: i % 3, prefix: str = "") -> dict[str, bytes]:
    """Pictures of the shade of their number, with a .cls and what is not used."""
    members = {}
    for i in range(start, stop):
        members |= {f"{prefix}{i:04}.png": picture(i), f"{prefix}{i:04}.txt": b"a caption"}
        members |= {f"{prefix}{i:04}.cls": str(label(i)).encode()} if label else {}
    return members


@pytest.fixture
def root(tmp_path) -> Path:
    for shard in range(4):
        pack(tmp_path / "in" / f"{shard:04}.tar", samples(10 * shard, 10 * shard + 10))
    return tmp_path / "in"


def source(root: Path | str, **kwargs) -> WebDatasetImages:
    return WebDatasetImages(str(root), **{"size": 4, "test": 0, "validation": 0, **kwargs})


def test_pictures_and_labels_of_all_shards(root) -> None:
    train = source(root).split("train")
    assert isinstance(train.pixels, AtAccess) and train.spec.shape == (3, 4, 4) and train.class_names == ("0", "1", "2")
    found = [round(float(image.mean()) / 5) for image in train.pixels]
    assert sorted(found) == list(range(40)) and found != sorted(found)
    assert train.labels.tolist() == [shade % 3 for shade in found]
    assert "4 shards, taken: 40 as train (3 classes)" in "".join(source(root).notes() or _noted(root))


def _noted(root: Path) -> list[str]:
    found = source(root)
    found.split("train")
    return found.notes()


def test_parts_are_held_out_as_of_a_folder(root) -> None:
    found = source(root, test=0.2, validation=4)
    parts = {split: shades(found.split(split)) for split in ("train", "validation", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 28, "validation": 4, "test": 8}
    assert sorted(sum(parts.values(), [])) == list(range(40))


def test_shards_of_splits(tmp_path) -> None:
    for name, start in (("train-0", 0), ("train-1", 10), ("val_0", 20), ("test-000", 30)):
        pack(tmp_path / "in" / f"{name}.tar", samples(start, start + 10))
    found = source(tmp_path / "in", test=0.1, validation=0.1)
    assert [shades(found.split(s))[0] for s in ("train", "validation", "test")] == [0, 20, 30]
    pattern = source(tmp_path / "in" / "train-{0..1}.tar", test=str(tmp_path / "in" / "val*.tar"), validation=3)
    assert len(pattern.split("train")) == 17 and shades(pattern.split("test")) == list(range(20, 30))
    for name in ("train/0", "train/1", "test/0"):
        pack(tmp_path / "other" / f"{name}.tar", samples(int(name[-1]) * 10, int(name[-1]) * 10 + 10))
    assert [len(source(tmp_path / "other").split(split)) for split in ("train", "test")] == [20, 10]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_as_tars_write_them(tmp_path, format) -> None:
    long = "folder.of.v1/" + "x" * 80 + "/" + "y" * 60 + "/"  # only the file's name is cut at its first dot
    members = {**samples(0, 5, prefix=long), **samples(0, 5, label=lambda i: 2, prefix="b/ä")}
    train = source(pack(tmp_path / "a.tar", members, format=format)).split("train")
    assert len(train) == 10 and shades(train) == sorted([*range(5)] * 2)
    assert train.labels[[round(float(x.mean()) / 5) for x in train.pixels].index(0)] in (0, 2)


def test_labels_in_json_and_words(tmp_path) -> None:
    facts = [{"label": "dog" if i % 2 else "cat", "place": i // 3} for i in range(12)]
    members = {f"{i}.json": json.dumps(fact).encode() for i, fact in enumerate(facts)}
    members |= {f"{i}.jpg": picture(i, kind="JPEG") for i in range(12)}
    path = pack(tmp_path / "a.tar", members)
    found = source(path).split("train")
    assert found.class_names == ("cat", "dog")
    assert source(path, label="place").split("train").class_names == ("0", "1", "2", "3")
    assert source(path, label="none").split("train").labels is None
    refused(lambda: source(path, label="colour").split("train"), "no 'colour' in a .json", "data.label=auto", "'0'")
    plain = pack(tmp_path / "b.tar", samples(0, 6, label=None))
    assert source(plain).split("train").labels is None


def test_the_second_time_no_header_is_read(root, monkeypatch) -> None:
    before = source(root).split("train")
    expected = np.array(before.pixels)
    with monkeypatch.context() as context:
        context.setattr(tarfile, "TarFile", None)
        again = source(root).split("train")
        assert np.array_equal(np.array(again.pixels), expected) and np.array_equal(again.labels, before.labels)
        assert again.fingerprint == before.fingerprint
    pack(root / "0004.tar", samples(40, 45))
    assert len(source(root).split("train")) == 45  # although the folder's time is what it was


def test_an_epoch_has_every_image_once_also_after_a_resume_by_other_ranks(root) -> None:
    images = source(root).split("train")
    options = {"device": torch.device("cpu"), "seed": 5, "workers": 1}
    seen: list[int] = []
    state = None
    for world in (2, 1, 2):  # processes
        loaders = [Loader(images, 8, rank=rank, world=world, **options) for rank in range(world)]
        for _ in range(5 if world == 1 else 0) or range(5):
            for each in loaders:
                if state is not None:
                    each.load_state_dict(state)
            parts = [each.next().image for each in loaders]
            seen += [round(float((x.mean() + 1) * 127.5) / 5) for x in torch.cat(parts)]
            state = loaders[0].state_dict()
        for each in loaders:
            each.close()
    epochs = [seen[i : i + 40] for i in range(0, 120, 40)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs) and epochs[0] != epochs[1]


def test_patterns() -> None:
    assert list(expanded("a-{08..11}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert list(expanded("{train,val}-{0..1}")) == ["train-0", "train-1", "val-0", "val-1"]
    assert list(expanded("plain")) == ["plain"]


def test_the_command_line_takes_a_pattern(root) -> None:
    words = ["data=webdataset", f'data.root="{root}/{{0000..0002}}.tar"', "data.size=4", "runtime=cpu"]
    found, _ = config.build_data(compose("train", words).data)
    assert len(found.split("train")) == 26  # of 30


def cut(path: Path, bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:bytes])


def linked(path: Path, kind: bytes) -> None:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("0000.png")
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[3 * 1024 + 3 : 3 * 1024 + 40] = b"x" * 37  # the header of the third member
    path.write_bytes(data)


FAULTS = {
    "or cut short": lambda path: cut(path, 10 * 3072 - 1500),
    "cut short": lambda path: cut(path, 10 * 3072 - 512 + 100),
    "its end is missing": lambda path: cut(path, 9 * 3072),
    "is a link": lambda path: linked(path, tarfile.SYMTYPE),
    "is  a link": lambda path: linked(path, tarfile.LNKTYPE),
    "is no plain file": lambda path: linked(path, tarfile.FIFOTYPE),
    "'../0000.png' belongs to a place outside": lambda path: pack(path, {"../0000.png": picture(1)}),
    "'/0000.png' belongs to a place outside": lambda path: pack(path, {"/0000.png": picture(1)}),
    "sample '7' has no picture": lambda path: pack(path, {"7.cls": b"1"}),
    "sample '7' has two pictures": lambda path: pack(path, {"7.png": picture(1), "7.jpg": picture(1)}),
    "two members '7.png'": lambda path: _twice(path),
    "empty .cls": lambda path: pack(path, {"7.png": picture(1), "7.cls": b" \n"}),
    "no text": lambda path: pack(path, {"7.png": picture(1), "7.cls": b"\xff\xfe"}),
    "damaged (": lambda path: pack(path, {"7.png": picture(1), "7.json": b"{"}),
    "the label [1]": lambda path: pack(path, {"7.png": picture(1), "7.json": b'{"label": [1]}'}),
    "samples have no label": lambda path: pack(path, {"7.png": picture(1)}),
    "holds no samples": lambda path: pack(path, {}),
    "damaged at byte": scribbled,
    "more follows its end": lambda path: path.write_bytes(path.read_bytes() * 2),
    "0000.tar": lambda path: path.write_bytes(b"no tar at all" * 100),
}


def _twice(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for _ in range(2):
            member = tarfile.TarInfo("7.png")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))


@pytest.mark.parametrize("says", FAULTS)
def test_a_damaged_shard_is_named(root, says) -> None:
    FAULTS[says](root / "0000.tar")
    words = ["samples have no label"] if says.startswith("samples") else ["0000.tar", says.replace("  ", " ")]
    refused(lambda: source(root).split("train"), *words)


def test_a_header_that_asks_for_much_is_refused(tmp_path) -> None:
    path = pack(tmp_path / "a.tar", {"x" * 2**21 + "/0.png": picture(1)}, format=tarfile.GNU_FORMAT)
    refused(lambda: source(path).split("train"), "headers is too long")


def test_what_else_can_be_wrong(root, tmp_path) -> None:
    refused(lambda: source(tmp_path / "nowhere").split("train"), "nowhere", "data.root")
    (tmp_path / "empty").mkdir()
    refused(lambda: source(tmp_path / "empty").split("train"), "no tar shards")
    refused(lambda: source(f"{root}/{{0000..0009}}.tar").split("train"), "6 of 10 shards are missing", "0004.tar")
    for url in ("https://x/0.tar", "pipe:cat 0.tar", "s3://x/{0..2}.tar"):
        refused(lambda url=url: source(url), url, "download")
    refused(lambda: source(root, test="").split("train"), "data.test=''")
    refused(lambda: source(root, decode="never"), "data.decode='never'", "access")
    packed = tmp_path / "a.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.png"))
    refused(lambda: source(packed).split("train"), "gunzip")
    pack(tmp_path / "test.tar", samples(0, 3, label=lambda i: 7))
    refused(lambda: source(root, test=str(tmp_path / "test.tar")).split("train"), "data.test", "train has not: 7")
    pack(tmp_path / "bare.tar", samples(0, 3, label=None))
    refused(lambda: source(root, test=str(tmp_path / "bare.tar")).split("train"), "data.label=none")
    pack(tmp_path / "only" / "test-0.tar", samples(0, 3))
    refused(lambda: source(tmp_path / "only").split("train"), "none to train on")


def test_a_picture_that_is_damaged_is_named_when_it_is_used(tmp_path) -> None:
    path = pack(tmp_path / "a.tar", {"7.png": picture(7)[:40], "8.png": picture(8), "9.png": b"x"})
    train = source(path, channels=3).split("train")
    refused(lambda: np.array(train.pixels), "a.tar/", "cannot be read", "data.on_error=skip")
    assert shades(source(path, channels=3, on_error="skip").split("train")) == [8, 8, 8]
    refused(lambda: source(path, channels=3, decode="once").split("train"), "2 of 3 images cannot be read")
    assert shades(source(path, channels=3, decode="once", on_error="skip").split("train")) == [8]
