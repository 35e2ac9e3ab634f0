"""A resumed run has the images that it was trained on; what was read, and what is too little, is said."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose, overrides
from helpers import run as train_tiny
from pictures import numbers, write
from PIL import Image

from gancli.data.digits import Digits
from gancli.data.fake import FakeImages
from gancli.data.identity import identity
from gancli.data.points import Ring
from gancli.errors import UsageError
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.loop import train

SMALL = ["model.width=4", "samples.every=0", "batch_size=8", "runtime=cpu", "doctor.every=0"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))


def pictured(folder: Path, root: Path, *more: str) -> dict[str, float]:
    return train(compose("train", ["model=dcgan", "data=folder", f"data.root={root}", *SMALL, *more]), folder)


def refused(words: list[str], make, *args: object) -> None:
    with pytest.raises(UsageError) as error:
        make(*args)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


def test_another_seed_of_the_data_is_refused_by_name(tmp_path) -> None:
    train_tiny(tmp_path / "run", "images=16")
    resume = f"resume={tmp_path / 'run'}"
    refused(
        ["data.seed=7 (it was 0)", "start a new run"], train_tiny, tmp_path / "run", "images=32", "data.seed=7", resume
    )
    refused(["data.validation=0.1 (it was 0.05)", "54 training images"], train_tiny,
            tmp_path / "run", "images=32", "data.validation=0.1", resume)  # fmt: skip
    train_tiny(tmp_path / "run", "images=32", resume)
    assert checkpoint.load(tmp_path / "run").images == 32


def test_as_many_other_pictures_are_refused(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(20))
    pictured(tmp_path / "run", root, "images=16")
    moved = tmp_path / "moved"
    shutil.copytree(root, moved, copy_function=shutil.copyfile)  # other times of modification
    resume = f"resume={tmp_path / 'run'}"
    pictured(tmp_path / "run", moved, "images=24", resume)  # the same pictures elsewhere: no fault
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "moved")
    first = f"resume={tmp_path / 'run/checkpoints/000000000016.pt'}"
    pictured(tmp_path / "zipped", tmp_path / "packed.zip", "images=32", first)
    Image.new("RGB", (8, 8), "red").save(moved / "003.png")
    refused([f"data.root={moved} (it was {root})"], pictured, tmp_path / "one", moved, "images=32",
            first)  # fmt: skip
    refused(["files that it reads were changed"], pictured, tmp_path / "run", moved, "images=32", resume)


def test_renamed_pictures_are_divided_in_another_way(tmp_path) -> None:
    root = write(tmp_path / "in", *numbers(20))
    pictured(tmp_path / "run", root, "images=16")
    (root / "000.png").rename(root / "zzz.png")
    refused(["the same in another order or split", "renamed"], pictured, tmp_path / "run", root, "images=32",
            f"resume={tmp_path / 'run'}")  # fmt: skip


@pytest.mark.parametrize("how", ["another folder", "more pictures", "another seed"])
def test_other_images_that_are_asked_for_are_taken_and_noted(tmp_path, how) -> None:
    root, run = write(tmp_path / "in", *numbers(20)), tmp_path / "run"
    pictured(run, root, "images=16")
    before, resume = checkpoint.load(run).state, f"resume={run}"
    other, more = (write(tmp_path / "other", *numbers(20), first=3), []) if how == "another folder" else (root, [])
    if how == "more pictures":
        write(root, *numbers(9, "new"), first=5)
    if how == "another seed":
        more = ["data.seed=7"]
    settings = ["images=32", *more, resume]
    refused(["other_data=true"], pictured, run, other, *settings)
    pictured(run, other, *settings, "other_data=true")
    after, said = checkpoint.load(run).state, (run / "log.txt").read_text()
    assert after["data"] != before["data"]
    assert after["earlier_data"] == [{**before["data"], "until": 16}]
    assert "WARNING" in said and "other_data=true: " in said and "may be too good" in said
    pictured(run, other, "images=48", *settings[1:])  # it is that run's data now, and nothing has to be said again
    assert checkpoint.load(run).state["earlier_data"] == after["earlier_data"]


def test_only_a_resume_takes_other_data_and_only_the_command_that_says_so(tmp_path, cli) -> None:
    scored = ["eval.every=8", "eval.n=20", "data.validation=20", "features.epochs=1", "eval.metrics=[fid]"]
    words = [*overrides("dcgan"), *scored, "samples.every=0", "doctor.every=0", "images=8", "hydra.run.dir=run"]
    answer = cli("train", *words, "other_data=true")
    assert answer.code == 2 and "other_data" in answer.err and "resume=" in answer.err
    assert cli("train", *words).code == 0
    best = tmp_path / "run" / "checkpoints" / "best.pt"
    state = torch.load(best, weights_only=True)
    state["metrics"]["best"], state["owed"] = 0.0, []  # nothing is better
    for file in (best, checkpoint.find(tmp_path / "run")):
        torch.save(state, file)
    resume = ["train", "resume=run", "images=16", "data.n=70"]
    assert "other_data=true" in cli(*resume).err
    assert cli(*resume, "other_data=true").code == 0
    assert checkpoint.load(best).images == 16  # and not on other images
    assert cli(*resume[:2], "images=32").code == 0  # goes on with the 70
    answer = cli(*resume[:2], "images=40", "data.n=60")
    assert answer.code == 2 and "other_data=true" in answer.err


def test_a_checkpoint_that_names_no_data_still_resumes(tmp_path, caplog) -> None:
    train_tiny(tmp_path, "images=16")
    file = checkpoint.find(tmp_path)
    state = torch.load(file, weights_only=True)
    del state["data"]
    torch.save(state, file)
    train_tiny(tmp_path, "images=32", f"resume={tmp_path}")
    assert "does not say which images it was trained on" in (tmp_path / "log.txt").read_text()
    refused(["54"], train_tiny, tmp_path, "images=48", "data.validation=0.1",
            f"resume={checkpoint.find(tmp_path)}")  # fmt: skip


def test_a_run_goes_on_with_images_that_are_decoded_otherwise(tmp_path) -> None:
    """Where there was room to decode them once, and no longer, and back; other images are refused both ways."""
    root = write(tmp_path / "in", *numbers(20))
    run, resume = tmp_path / "run", f"resume={tmp_path / 'run'}"
    pictured(run, root, "images=8", "data.decode=access")
    pictured(run, root, "images=16", "data.decode=once", resume)
    pictured(run, root, "images=24", "data.decode=access", resume)
    for decode in ("once", "access"):
        refused(["data.seed=1"], pictured, run, root, "images=32", "data.seed=1", f"data.decode={decode}", resume)


def test_identity_is_that_of_images_in_their_order(tmp_path) -> None:
    assert identity(FakeImages(n=20, size=4).split("train")) == identity(FakeImages(n=20, size=4).split("train"))
    others = [
        FakeImages(n=20, size=4),
        FakeImages(n=20, size=4, seed=1),
        FakeImages(n=21, size=4),
        Digits(),
        Digits(seed=1),
    ]
    assert len({identity(each.split("train"))["sha256"] for each in others}) == len(others)
    digits = Digits().split("train")
    assert identity(digits) != identity(Digits().split("validation"))
    ring = Ring(n=20).split("train")
    assert identity(ring) == identity(Ring(n=20).split("train")) != identity(Ring(n=20, seed=1).split("train"))
    for labels in (digits.labels[::-1], (digits.labels + 1) % 10):
        changed = FakeImages(n=20, size=4)._images(
            "train", digits.pixels, np.ascontiguousarray(labels), digits.class_names
        )
        assert identity(changed) != identity(digits)


def test_large_sets_are_read_in_part_all_over(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("gancli.data.identity._BYTES", 100 * 64)
    images = Digits().split("train")
    before = identity(images)
    pixels = images.pixels.copy()
    pixels[-20:] = 255 - pixels[-20:]
    assert identity(FakeImages()._images("train", pixels, images.labels, images.class_names)) != before


def test_what_was_read_stands_in_the_log(tmp_path) -> None:
    root = write(
        write(tmp_path / "in", *numbers(20, "cat/"), size=(12, 16)), *numbers(10, "dog/"), size=(8, 8), first=30
    )
    (root / "cat" / "x.heic").write_bytes(b"x")
    (root / "cat" / "bad.png").write_text("no picture")
    pictured(tmp_path / "run", root, "images=16", "data.size=8", "data.on_error=skip")
    text = (tmp_path / "run" / "log.txt").read_text()
    for words in ("data=folder: 26 train, 1 validation, 3 test images of 8x8 RGB", "2 classes, images of train: cat ",
                  "images found: 31, taken: 31 as train (2 class folders); not taken: 1 .heic",
                  "skipped 1 of 31 images that cannot be read (cat/bad.png: ", "12x16 (20), 8x8 (10)"):  # fmt: skip
        assert words in text, text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["batch_size=1", "model.hidden=0"], "batch norm with 1 image at a time"),
        (["batch_size=8", "accumulate=4"], "batch norm with 2 images at a time"),
        (["data.n=5", "data.validation=0", "stabilizer=ada"], "stabilizer=ada with 5 training images"),
        (["data.n=5", "data.validation=0"], "batch_size=8 is more than the 5 training images"),
    ],
)
def test_too_few_images_are_cautioned(more: list[str], words: str) -> None:
    assert any(words in line for line in build(compose("train", overrides("dcgan", *more))).warnings())


def warned(*more: str) -> str:
    return "".join(build(compose("train", [*more, "runtime=cpu"])).warnings())


def test_enough_images_are_not() -> None:
    assert warned(*overrides("dcgan", "data.n=200", "stabilizer=ada")) == ""
    assert "batch norm" not in warned(*overrides("pix2pix", "batch_size=1"))  # which the paper wants
    assert "batches repeat" not in warned("model=toy_gan", "data=grid25", "data.n=40")  # drawn anew


def test_batch_norm_of_units_refuses_one_image() -> None:
    with pytest.raises(UsageError, match="batch norm is given one image at a time.*batch_size=64"):
        build(compose("train", overrides("cdcgan", "batch_size=1")))
