"""gancli project: what is written, which pictures are taken, and what is refused in one line."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import run
from PIL import Image

import gancli
from gancli.cli import main
from gancli.errors import UsageError
from gancli.verbs.project import run as project

QUICK = ["steps=10", "runtime=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A StyleGAN2 and a conditional DCGAN of grey 8x8 images."""
    folder = tmp_path_factory.mktemp("projected")
    run(folder / "style", "images=16", "samples.every=0", model="stylegan2")
    run(folder / "classes", "images=16", "samples.every=0", model="cdcgan")
    return folder


def save(folder, *sides):
    folder.mkdir(parents=True)
    for i, side in enumerate(sides):
        Image.fromarray(np.full((side, side), 80 * i, np.uint8)).save(folder / f"p{i}.png")
    return folder


def test_what_is_written(cli, trained, tmp_path):
    words = [f"ckpt={trained / 'style'}", "image=[3,0]", *QUICK]
    answer = cli("project", *words, f"out={tmp_path / 'a'}")
    assert answer.code == 0, answer.err
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    images = ["test-000000.png", "test-000003.png"]
    assert names == ["curve.png", "grid.png", "latents.npz", "projection.json", *images]
    facts = json.loads((tmp_path / "a" / "projection.json").read_text())
    assert facts["space"] == "w" and facts["steps"] == 10 and facts["restarts"] == 1
    assert "discriminator" in facts["distance"] and facts["images"][0]["name"] == "test-000003"
    assert facts["images"][0]["distance"] < facts["images"][0]["distance_at_first"]
    saved = np.load(tmp_path / "a" / "latents.npz")
    assert saved["w"].shape == (2, 1, 6) and saved["name"].tolist() == ["test-000003", "test-000000"]
    assert saved["distance"].tolist() == pytest.approx([each["distance"] for each in facts["images"]])
    loaded = gancli.load(trained / "style")
    drawn = loaded.model.synthesise(torch.from_numpy(saved["w"]).expand(-1, loaded.model.styles, -1))
    first = np.asarray(Image.open(tmp_path / "a" / "test-000003.png"))
    assert np.abs((drawn[0, 0].clamp(-1, 1).numpy() + 1) * 127.5 - first).max() < 1
    assert cli("project", *words, f"out={tmp_path / 'b'}").code == 0
    again = np.load(tmp_path / "b" / "latents.npz")
    assert all(np.array_equal(saved[key], again[key]) for key in saved)
    refused = cli("project", *words, f"out={tmp_path / 'a'}")
    assert refused.code == 2 and "nothing is overwritten" in refused.err


def test_the_usual_folder_says_what_was_asked_for(cli, trained, tmp_path):
    for words in (["image=1"], ["image=1", "space=w+"], ["image=1", "space=z"], ["image=1", "seed=3"]):
        assert cli("project", f"ckpt={trained / 'style'}", *words, *QUICK).code == 0
    spaces = [np.load(each / "latents.npz") for each in sorted((trained / "style" / "projections").iterdir())]
    assert sorted(tuple(each["z" if "z" in each else "w"].shape) for each in spaces) == [
        (1, 1, 6), (1, 1, 6), (1, 4, 6), (1, 6)]  # fmt: skip


def test_pictures_from_files_are_called_as_they_were(cli, trained, tmp_path):
    folder = save(tmp_path / "in", 8, 8)
    save(folder / "more", 8)
    Image.new("L", (100, 90)).save(folder / "grid.png")  # as gancli sample writes beside its images
    ckpt = f"ckpt={trained / 'classes'}"
    answer = cli("project", ckpt, f"images={folder}", "label=1", "restarts=2", *QUICK, f"out={tmp_path / 'a'}")
    assert answer.code == 0, answer.err
    found = np.load(tmp_path / "a" / "latents.npz")
    assert found["name"].tolist() == ["more/p0", "p0", "p1"] and found["label"].tolist() == [1, 1, 1]
    assert (tmp_path / "a" / "more" / "p0.png").is_file() and len(found["z"]) == 3
    assert cli("project", ckpt, f"image={folder / 'p1.png'}", "label=1", *QUICK, f"out={tmp_path / 'b'}").code == 0
    assert cli("project", ckpt, "image=[5]", *QUICK, f"out={tmp_path / 'c'}").code == 0  # the data's class
    data = gancli.load(trained / "classes")._data.split("test")
    assert np.load(tmp_path / "c" / "latents.npz")["label"] == data.labels[5]


def test_what_cannot_be_is_refused_in_one_line(cli, trained, tmp_path):
    wrong, empty = save(tmp_path / "wrong", 8, 9), tmp_path / "empty"
    empty.mkdir()
    run(tmp_path / "pixels", "images=8", "data.binarise=fixed_seed", model="pixelcnn")
    style, classes = f"ckpt={trained / 'style'}", f"ckpt={trained / 'classes'}"
    refused = {
        (f"ckpt={tmp_path / 'pixels'}",): "PixelCNN has no latents of images to search; use a GAN",
        (style, f"images={wrong}"): "p1.png is 9x9 grey, but the model's images are 8x8 grey: save it in that size",
        (style, f"images={empty}"): "no pictures in it",
        (style, f"images={tmp_path / 'no'}"): "no such folder",
        (style, f"image={tmp_path / 'no.png'}"): "cannot be read",
        (style, "image=99"): "has images 0 to 19",
        (style, "image=1.5"): "expected numbers of images",
        (style, "image=1", f"images={wrong}"): "use one of them",
        (style, f"images={wrong}", "split=train"): "pictures from files have none",
        (style, "label=1"): "unconditional",
        (style, "steps=0"): "steps=0: must be from 1 to",
        (style, "lr=0"): "lr=0.0: must be above 0",
        (style, "restarts=0"): "must be from 1 to 1,024",
        (style, "space=v"): "space",
        (classes, "space=w"): "CDCGAN has no styles; use space=z",
        (classes, f"image={wrong / 'p0.png'}"): "label=None: the model's images are of a class",
        (classes, "label=99"): "label=99",
    }
    for words, says in refused.items():
        answer = cli("project", *words, *(each for each in QUICK if each.partition("=")[0] not in " ".join(words)))
        assert answer.code == 2 and says in answer.err and answer.err.strip().count("\n") == 0, (words, answer.err)
    assert not (trained / "classes" / "projections").exists()


KILLED = """
import os, sys
from gancli.cli import main
from gancli.verbs.project import run
write = run._write_latents
def ending(*args):
    write(*args)
    os.kill(os.getpid(), 9)
run._write_latents = ending
main(sys.argv[1:])
"""


@pytest.mark.parametrize("how", ["a kill", "a signal"])
def test_a_job_that_ended_half_way_leaves_nothing(trained, tmp_path, how, monkeypatch, capsys):
    """The kill in a process of its own: after backward passes of other tests a fork could do none."""
    words = ["project", f"ckpt={trained / 'style'}", "image=0", *QUICK, f"out={tmp_path / 'out'}"]
    if how == "a kill":
        assert subprocess.run([sys.executable, "-c", KILLED, *words], capture_output=True).returncode == -9
    else:
        write = project._write_latents
        with monkeypatch.context() as patch:
            patch.setattr(project, "_write_latents", lambda *args: (write(*args), signal.raise_signal(15)))
            assert main(words) == 143
        said = capsys.readouterr().err
        assert "interrupted: stopped by signal 15" in said and "Traceback" not in said
    assert not [each for each in (tmp_path / "out").iterdir() if not each.name.startswith(".")]
    assert main(words) == 0
    assert sorted(each.name for each in (tmp_path / "out").iterdir())[-1] == "test-000000.png"


def test_the_library_finds_what_the_command_finds(cli, trained, tmp_path):
    model = gancli.load(trained / "classes")
    pixels = torch.from_numpy(model._data.split("test").pixels[:2])
    labels = torch.from_numpy(model._data.split("test").labels[:2])
    found = model.project(pixels, labels, steps=10, restarts=2)
    words = [f"ckpt={trained / 'classes'}", "image=[0,1]", "restarts=2", *QUICK, f"out={tmp_path / 'a'}"]
    assert cli("project", *words).code == 0
    assert np.array_equal(np.load(tmp_path / "a" / "latents.npz")["z"], found.latent.numpy())
    for wrong, says in (
        (lambda: model.project(pixels.float(), 1), "torch.uint8, not"),
        (lambda: model.project(pixels[..., :4], 1), "images must be"),
        (lambda: model.project(pixels), "of a class"),
        (lambda: model.project(pixels, 1, steps=0), "steps=0: must be 1 or more"),
        (lambda: model.project(pixels, 1, lr=0), "lr=0: must be above 0"),
        (lambda: model.project(pixels, 1, space="w"), "no styles"),
    ):
        with pytest.raises(UsageError, match=says):
            wrong()
