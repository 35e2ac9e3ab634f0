"""Data of several domains: unpaired, in pairs, one folder each, and drawings of edges; and how batches of it come."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NoHostSync, compose, overrides
from pictures import numbers, shades, write
from PIL import Image

from gancli import config
from gancli.data.digits import Digits
from gancli.data.domains import Domains, Paired, Unpaired
from gancli.data.edges import Edges, edges
from gancli.data.fake import FakeImages
from gancli.data.folder import FolderImages
from gancli.data.loader import Loader
from gancli.data.reading import counterfactual, read, verdict
from gancli.data.shapes import Shapes
from gancli.errors import UsageError
from gancli.training.build import build

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


def public(root: Path) -> Path:
    """A folder as the public CycleGAN sets are laid out: A has shades 0 to 29, B those from 30 on."""
    for i, (name, n) in enumerate((("trainA", 20), ("testA", 4), ("trainB", 12), ("testB", 3))):
        write(root / name, *numbers(n, "" if "A" in name else "b", "jpg"), size=(40, 40), first=[0, 20, 30, 42][i])
    return root


def refused(make, match: str) -> None:
    with pytest.raises(UsageError, match=match) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "inside another", "zip"])
def test_unpaired_folders_as_the_public_sets_have_them(tmp_path, kind):
    root = public(tmp_path / "in" / ("horse2zebra" if kind == "inside another" else "")).parent
    if kind != "inside another":
        root = tmp_path / "in"
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for file in sorted(root.rglob("*.jpg")):
                archive.write(file, Path("horse2zebra") / file.relative_to(root))
        root = tmp_path / "in.zip"
    source = Unpaired(str(root), size=32, validation=2)
    train, validation, test = (source.split(split) for split in ("train", "validation", "test"))
    assert (len(train), len(train.source), len(validation), len(test), len(test.source)) == (10, 18, 2, 3, 4)
    assert shades(test) == [42, 43, 44] and shades(test.source) == [20, 21, 22, 23]
    assert sorted(shades(train) + shades(validation)) == list(range(30, 42))
    assert train.spec.shape == (3, 32, 32) and train.spec.source_channels == 3 and not train.spec.paired
    larger = source.training()
    assert larger.pixels.shape == (10, 3, 36, 36) and larger.source.pixels.shape[2:] == (36, 36)  # 32 * 286 / 256
    assert larger.spec == train.spec and source.flip
    swapped = Unpaired(str(root), size=32, swap=True).split("test")
    assert shades(swapped) == [20, 21, 22, 23]
    assert Unpaired(str(root), size=256, load=1).training().pixels.shape[2:] == (256, 256)
    assert Unpaired(str(root)).training().pixels.shape[2:] == (286, 286)  # the papers' numbers


def test_any_two_data_sets_on_the_command_line():
    cfg = compose("train", ["data=unpaired", "data/a=fake", "data/b=digits", "data.a.size=8", "data.a.channels=1"])
    source, loader = config.build_data(cfg.data)
    train = source.split("train")
    assert train.name == "digits" and train.source.name == "fake" and loader["flip"] is False
    assert train.spec.num_classes == 10 and train.spec.source_channels == 1
    assert cfg.features._target_.endswith("Classifier")  # what data=digits asks for
    assert train.fingerprint == config.build_data(compose("train", ["data=digits"]).data)[0].split("train").fingerprint
    smaller = Unpaired(a=FakeImages(n=6, n_test=4), b=Shapes(n=9, n_test=4), size=16, load=1.25)
    assert smaller.split("test").spec.shape == (3, 16, 16) and smaller.training().pixels.shape == (8, 3, 20, 20)


def test_resized_domains_are_known_as_what_they_are():
    """By its fingerprint a trained classifier is found again."""
    train = Unpaired(a=FakeImages(n=6, n_test=4), b=Digits(), size=16).split("train")
    assert train.fingerprint == Digits(size=16).split("train").fingerprint != Digits().split("train").fingerprint
    assert train.source.fingerprint != FakeImages(n=6, n_test=4).split("train").fingerprint


def test_what_is_no_pair_of_domains_is_refused(tmp_path):
    refused(Unpaired, "data.root=.*or two data sets")
    refused(lambda: Unpaired(a=FakeImages()), "two data sets")
    refused(lambda: Unpaired("x", a=FakeImages(), b=FakeImages()), "two data sets")
    refused(lambda: Unpaired(a=FakeImages(size=8), b=FakeImages(size=16)).split("train"), "8x8 and b of 16x16")
    refused(lambda: Unpaired(str(write(tmp_path / "flat", *numbers(3)))).split("train"), "no images in a folder trainA")
    refused(lambda: Unpaired(a=FakeImages(), b=FakeImages(), load=0.5), "data.load=0.5")
    flipped = ["data=unpaired", "data/a=fake", "data/b=fake", "data.a.flip=true"]
    refused(
        lambda: config.build_data(compose("train", flipped).data), "data.a.flip=True is not allowed; set data.flip=True"
    )
    refused(lambda: compose("train", [*flipped[:3], "+data.b.sizes=3"]), "data.b.sizes: no such key.*size")
    refused(lambda: build(compose("train", ["model=cyclegan", "data=fake", "runtime=cpu"])), "data=unpaired")


def pair(i: int) -> Image.Image:
    """A picture whose left half has shade i and whose right half has shade 100 + i."""
    image = Image.new("RGB", (80, 40), (i, i, i))
    image.paste((100 + i,) * 3, (40, 0, 80, 40))
    return image


def test_pairs_side_by_side(tmp_path):
    for split, n in (("train", 12), ("val", 3), ("test", 2)):
        (tmp_path / "ab" / split).mkdir(parents=True)
        for i in range(n):
            pair(i).save(tmp_path / "ab" / split / f"{i}.png")
    source = Paired(str(tmp_path / "ab"), size=16)
    for split, n in (("train", 12), ("validation", 3), ("test", 2)):
        images = source.split(split)
        assert len(images) == n and images.spec.paired and images.spec.shape == (3, 16, 16)
        assert (images.pixels[:, 0, 5, 5] == images.source.pixels[:, 0, 5, 5] + 100).all()
    swapped = Paired(str(tmp_path / "ab"), size=16, swap=True).split("train")
    assert (swapped.pixels[:, 0, 5, 5] + 100 == swapped.source.pixels[:, 0, 5, 5]).all()
    assert source.training().pixels.shape[2:] == (18, 18)


def test_pairs_in_two_folders_matched_by_name(tmp_path):
    root = tmp_path / "in"
    for side, first, kind in (("A", 0, "png"), ("B", 20, "JPG")):
        write(root / f"train{side}", *numbers(10, kind=kind), first=first)
        write(root / f"test{side}", *numbers(4, kind=kind), first=first + 10)
    source = Paired(str(root), size=8)
    for split in ("train", "validation", "test"):
        images = source.split(split)
        assert (np.rint(images.pixels[:, 0, 0, 0] / 5) == np.rint(images.source.pixels[:, 0, 0, 0] / 5) + 20).all()
    write(root / "trainA", "alone.png")
    refused(lambda: Paired(str(root), size=8), "train has alone without a partner")
    refused(lambda: Paired(str(root), size=8, on_error="skip"), "would break pairs")
    refused(lambda: Paired(a=FakeImages(n=5), b=FakeImages(n=6)).split("train"), "as many in both")


def test_pairs_of_different_shapes_are_not_cropped_apart(tmp_path):
    root = tmp_path / "in"
    for side in "AB":
        write(root / f"train{side}", *numbers(6), size=(40, 30))
        write(root / f"test{side}", *numbers(2), size=(40, 30) if side == "A" else (80, 60))  # the same shape
    assert len(Paired(str(root), size=8, validation=0).split("test")) == 2
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 40)).save(root / "trainB" / "001.png", exif=turned)  # as wide as its partner, seen upright
    assert len(Paired(str(root), size=8, validation=0).split("train")) == 6
    write(root / "trainB", "003.png", size=(30, 30))
    refused(
        lambda: Paired(str(root), size=8).split("test"),
        r"1 of 8 pairs have pictures of different shapes \(003.png: 40x30 and 30x30\).*data.crop=none",
    )
    refused(lambda: Paired(str(root), size=8, swap=True).training(), "30x30 and 40x30")
    assert len(Paired(str(root), size=8, crop="none", validation=0).split("train")) == 6  # both are squeezed
    write(root / "trainB", "003.png", size=(40, 30))
    refused(lambda: Paired(str(root), size=8, crop=20).split("test"), "2 of 8 pairs .*40x30 and 80x60")
    wide, square = str(write(tmp_path / "wide", *numbers(6), size=(9, 6))), FakeImages(n=6, size=6)
    refused(lambda: Paired(a=FolderImages(wide), b=square, size=4).split("train"), "9x6 and 6x6 would be cropped apart")


def test_pairs_keep_together_where_their_endings_sort_differently(tmp_path):
    names = ["a", "a.k", "a-1", "a_2", "b", "b.z"]
    for side, kind, first in (("A", "jpg", 0), ("B", "png", 20)):
        write(tmp_path / "in" / f"train{side}", *(f"{name}.{kind}" for name in names), first=first)
        write(tmp_path / "in" / f"test{side}", f"c.{kind}", first=first)
    for swap in (False, True):
        source = Paired(str(tmp_path / "in"), size=8, validation=0, swap=swap)
        for images in (source.split("train"), source.training()):
            ours, theirs = (np.rint(each.pixels[:, 0, 4, 4] / 5).astype(int) for each in (images.source, images))
            assert (np.abs(ours - theirs) == 20).all()


def test_pairs_are_cropped_and_mirrored_together_and_unpaired_pictures_on_their_own():
    base = np.random.RandomState(0).randint(0, 255, (30, 1, 12, 12), dtype=np.uint8)
    from gancli.data.source import Images
    from gancli.data.spec import ImageSpec

    def images(paired: bool) -> Images:
        source = Images(base.copy(), None, ImageSpec(1, 10, 10), "a", "train", "")
        return Images(255 - base, None, ImageSpec(1, 10, 10, source_channels=1, paired=paired), "b", "train", "",
                      source=source)  # fmt: skip

    for resident in (True, False):
        loader = Loader(images(True), 8, device=CPU, flip=True, resident=resident, seed=3)
        seen = set()
        for _ in range(5):
            batch = loader.next()
            assert torch.allclose(batch.image, -batch.source, atol=1e-6) and batch.image.shape == (8, 1, 10, 10)
            values = ((batch.source[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
            seen |= set(values)
        assert len(seen) > 20
        loader.close()
    loader = Loader(images(False), 8, device=CPU, flip=True, seed=3)
    batch = loader.next()
    assert not torch.allclose(batch.image, -batch.source, atol=1e-6)


def test_crops_are_everywhere_equally_often_and_mirrored_half_the_time():
    from gancli.data.source import Images
    from gancli.data.spec import ImageSpec

    picture = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    images = Images(picture.repeat(400, 0), None, ImageSpec(1, 3, 3), "x", "train", "")
    with NoHostSync():
        batch = Loader(images, 400, device=CPU, flip=True, seed=1).next()
    first = ((batch.image + 1) * 127.5).round().int()
    corner, beside = first[:, 0, 0, 0].tolist(), first[:, 0, 0, 1].tolist()
    plain, mirrored = {0, 1, 4, 5}, {3, 2, 7, 6}
    counts = {value: sum((c, b - c) == value for c, b in zip(corner, beside)) for value in
              [(c, 1) for c in plain] + [(c, -1) for c in mirrored]}  # fmt: skip
    assert sum(counts.values()) == 400 and all(25 <= n <= 78 for n in counts.values())  # 50 each


def test_a_loader_of_two_domains_goes_on_where_it_stood():
    source = Unpaired(a=FakeImages(n=20, size=8), b=FakeImages(n=31, size=8, seed=1), load=1.25)
    loader, other = (Loader(source.training(), 7, device=CPU, seed=4, flip=True) for _ in range(2))
    for _ in range(3):
        loader.next()
    other.load_state_dict(loader.state_dict())
    for _ in range(6):
        one, two = loader.next(), other.next()
        assert torch.equal(one.image, two.image) and torch.equal(one.source, two.source)
    pictures = [Loader(source.split("train"), 7, device=CPU, seed=4).next() for _ in range(2)]
    assert torch.equal(pictures[0].source, pictures[1].source)


def test_every_picture_of_both_domains_comes_once_per_pass():
    a = Unpaired(a=FakeImages(n=6, size=8, validation=0), b=FakeImages(n=9, size=8, seed=1, validation=0))
    loader = Loader(a.split("train"), 3, device=CPU)
    batches = [loader.next() for _ in range(6)]
    for key, n in (("source", 6), ("image", 9)):
        rows = torch.cat([getattr(batch, key) for batch in batches])[:n]
        assert len(rows.flatten(1).unique(dim=0)) == n


def test_a_folder_per_domain(tmp_path):
    for i, season in enumerate(("autumn", "spring", "winter")):
        write(tmp_path / "seasons" / season, *numbers(10), size=(20, 20), first=10 * i)
    source = Domains(str(tmp_path / "seasons"), size=16, validation=0, test=3)
    train = source.training()
    assert train.spec.num_classes == 3 and train.class_names == ("autumn", "spring", "winter")
    assert train.pixels.shape == (27, 3, 18, 18) and train.spec.shape == (3, 16, 16)
    assert [round(p.mean() / 5) // 10 for p in train.pixels] == train.labels.tolist()
    assert np.array_equal(train.labels, source.split("train").labels)
    refused(lambda: Domains(str(tmp_path / "seasons"), size=None).training(), "data.size=256")
    cfg = compose("train", overrides("stargan", f"data.root={tmp_path / 'seasons'}", "data=domains")[:1]
                  + ["data=domains", f"data.root={tmp_path / 'seasons'}", "data.size=16", "runtime=cpu",
                     "model.width=4", "model.discriminator_width=4", "batch_size=4"])  # fmt: skip
    assert build(cfg).loader.flip


def test_edges_lie_where_the_picture_changes():
    pixels = np.zeros((2, 3, 6, 6), np.uint8)
    pixels[0, 1, :, 3:] = 200  # a vertical border, in one channel alone
    drawn = edges(pixels, 40)
    assert drawn.shape == (2, 1, 6, 6) and not drawn[1].any()
    assert np.array_equal(drawn[0, 0], np.tile(np.array([0, 0, 255, 255, 0, 0], np.uint8), (6, 1)))
    assert not edges(pixels, 101).any()  # half of the step per pixel
    images = Edges(of=Shapes(n=5, n_test=5)).split("test")
    assert images.spec.paired and images.spec.source_channels == 1 and images.factors is not None
    assert 0.01 < (images.source.pixels == 255).mean() < 0.3
    refused(Edges, "data/of=shapes")


@pytest.mark.parametrize("size", [16, 32])
def test_shapes_are_read_off_their_pictures(size):
    images = Shapes(n=2, n_test=400, size=size).split("test")
    right = verdict(images.pixels, images.factors)
    assert right["colour"] == right["place"] == 1 and right["shape"] >= 0.98
    found = read(images.pixels)
    assert np.hypot(found.x - images.factors.x, found.y - images.factors.y).max() < 0.4
    grey = images.pixels.mean(1, keepdims=True).repeat(3, 1).astype(np.uint8)
    assert verdict(grey, images.factors)["colour"] == 0
    moved = np.roll(images.pixels, 3, axis=3)
    assert verdict(moved, images.factors)["place"] < 0.05


def test_the_true_translation_changes_the_one_factor_in_which_domains_differ():
    red, blue = (Shapes(n_test=50, colours=[c], seed=s).split("test").factors for s, c in enumerate(("red", "blue")))
    truth = counterfactual(red, blue)
    assert (truth.colour == blue.colour[0]).all() and np.array_equal(truth.x, red.x)
    assert np.array_equal(truth.shape, red.shape)
    circles = Shapes(n_test=50, shapes=["circle"]).split("test").factors
    squares = Shapes(n_test=50, shapes=["square"]).split("test").factors
    assert (counterfactual(circles, squares).shape == 1).all()
    assert counterfactual(red, red) is None and counterfactual(circles, blue) is None
    assert counterfactual(red, Shapes(n_test=50).split("test").factors) is None  # four colours: which one?
