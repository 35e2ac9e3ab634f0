"""Samples: the same files on every run, nothing overwritten."""

import weakref

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.models.dcgan import DCGAN
from gancli.models.sampling import draw
from gancli.training import checkpoint
from gancli.verbs.sample.run import sample
from gancli.views import base, grid, interpolation, pictures
from gancli.views.base import Batches, Picture
from gancli.views.interpolation import STEPS, walk


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(folder, "images=32", "data.channels=3", "optimizer.lr=0.1")  # fast enough for the average to lag
    return folder


def take(trained, out, *more):
    return sample(compose("sample", [f"ckpt={trained}", f"out={out}", "n=12", "batch_size=5", "runtime=cpu", *more]))


def test_png_npz_and_grid_hold_the_same_images(trained, tmp_path):
    assert take(trained, tmp_path / "png") == {"n": 12}
    take(trained, tmp_path / "npz", "format=npz")
    take(trained, tmp_path / "grid", "format=grid")
    array = np.load(tmp_path / "npz" / "images.npz")["images"]
    assert array.shape == (12, 8, 8, 3) and array.dtype == np.uint8
    files = sorted((tmp_path / "png").glob("0*.png"))
    assert [f.name for f in files] == [f"{i:06d}.png" for i in range(12)]
    assert all(np.array_equal(np.asarray(Image.open(f)), a) for f, a in zip(files, array))
    assert [p.name for p in (tmp_path / "grid").iterdir()] == ["grid.png"]
    grids = {(tmp_path / kind / "grid.png").read_bytes() for kind in ("png", "npz", "grid")}
    assert len(grids) == 1


def test_means_of_pixels_are_said_to_be_means(trained, tmp_path, capsys):
    run(tmp_path / "vae", "images=8", model="vae")
    for folder, more, said in (
        (trained, [], "12 images of"),
        (tmp_path / "vae", [], "12 images (means of the pixels) of"),
        (tmp_path / "vae", ["sampling.draw=sample"], "12 images of"),
    ):
        capsys.readouterr()
        take(folder, tmp_path / f"{len(list(tmp_path.iterdir()))}", *more)
        assert capsys.readouterr().err.startswith(said)


def test_the_seed_decides(trained, tmp_path):
    for name, more in (("a", []), ("b", []), ("c", ["seed=1"]), ("raw", ["ema=false"])):
        take(trained, tmp_path / name, "format=npz", *more)
    a, b, c, raw = (np.load(tmp_path / name / "images.npz")["images"] for name in ("a", "b", "c", "raw"))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and not np.array_equal(a, raw)


@pytest.mark.parametrize("kind", ["npz", "png"])
@pytest.mark.parametrize("points", [False, True])
def test_files_are_written_a_batch_at_a_time(kind, points, tmp_path):
    """Of what has been drawn no more than the batch that is written and the one before it are in memory."""
    alive: list[weakref.ref] = []
    shape = (2,) if points else (1, 4, 4)

    def batches():
        for i in range(8):
            assert sum(each() is not None for each in alive) <= 1
            batch = torch.full((16, *shape), i, dtype=torch.float32 if points else torch.uint8)
            alive.append(weakref.ref(batch))
            yield batch
            del batch

    drawn = {"": Picture(None, Batches(batches(), 128, shape), None if points else torch.arange(128))}
    assert pictures.write(tmp_path, drawn, kind) == 128 and len(alive) == 8
    wanted = np.arange(8).repeat(16)
    if kind == "npz":
        arrays = np.load(tmp_path / ("points.npz" if points else "images.npz"))
        array = arrays["points" if points else "images"]
        assert array.shape == ((128, 2) if points else (128, 4, 4, 1)) and np.array_equal(
            array.flat[:: 2 if points else 16], wanted
        )
        assert points or np.array_equal(arrays["labels"], np.arange(128))
    elif points:
        assert np.array_equal(np.loadtxt(tmp_path / "points.csv", delimiter=",")[:, 1], wanted)
    else:
        assert len(list(tmp_path.iterdir())) == 128


def test_a_grid_shows_the_first_images_of_many(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "SHOWN", 10)
    monkeypatch.setattr(pictures, "SHOWN", 10)
    assert take(trained, tmp_path / "many", "format=npz") == {"n": 12}
    assert len(np.load(tmp_path / "many" / "images.npz")["images"]) == 12
    assert take(trained, tmp_path / "ten", "format=grid", "n=10", "batch_size=5") == {"n": 10}
    assert (tmp_path / "ten" / "grid.png").read_bytes() == (tmp_path / "many" / "grid.png").read_bytes()
    assert take(trained, tmp_path / "walk", "view=interpolation", "n=24", "view.steps=4", "format=npz") == {"n": 24}
    with pytest.raises(UsageError, match="n=12: a picture shows at most 10 of them"):
        take(trained, tmp_path / "grid", "format=grid")


@pytest.mark.parametrize("more", [["format=npz"], ["format=png"], ["view=interpolation", "format=npz"]])
def test_an_n_that_the_disk_cannot_hold_is_refused_before_drawing(more, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "draw_together", lambda *args, **kwargs: pytest.fail("drawn"))
    monkeypatch.setattr(interpolation, "walks", lambda *args, **kwargs: pytest.fail("drawn"))
    with pytest.raises(
        UsageError, match=r"n=1\d{15}: (npz|png) files of so many take up to [\d,.]+ GiB, but .* are free in"
    ):
        take(trained, tmp_path / "out", "n=1000000000M", *more)
    assert not (tmp_path / "out").exists()
    free = type("Usage", (), {"free": 12 * 8 * 8 * 3 - 1})
    monkeypatch.setattr(pictures.shutil, "disk_usage", lambda path: free)
    with pytest.raises(UsageError, match="are free in"):
        take(trained, tmp_path / "out", "view.steps=4" if "view=interpolation" in more else "n=12", *more)


def test_default_folder_and_no_overwriting(trained):
    cfg = compose("sample", [f"ckpt={trained}", "n=2", "runtime=cpu"])
    sample(cfg)
    with pytest.raises(UsageError, match="not empty.*out="):
        sample(cfg)


def test_interpolation_walks_from_latent_to_latent(trained, tmp_path):
    take(trained, tmp_path / "walk", "view=interpolation", "n=30")
    assert len(list((tmp_path / "walk").glob("0*.png"))) == 3 * STEPS
    model = checkpoint.rebuild(trained)
    rows = walk(model, 2, seed=3).view(2, STEPS, 3, 8, 8)
    ends = model.latent(4, torch.Generator().manual_seed(3))
    expected = quantise(model.generate(ends))
    assert (rows[0, 0].int() - expected[0].int()).abs().max() <= 1 and (
        rows[1, -1].int() - expected[3].int()
    ).abs().max() <= 1


def test_draw_gives_exactly_n(trained):
    model = checkpoint.rebuild(trained)
    batches = [each for each, _ in draw(model, 7, seed=0, batch_size=3)]
    assert [len(b) for b in batches] == [3, 3, 1] and batches[0].dtype == torch.uint8


def test_precision_and_memory_format_are_those_of_the_runtime(trained, tmp_path, monkeypatch):
    seen, sample_ = [], DCGAN.sample

    def watched(self, n, **more):
        images = sample_(self, n, **more)
        format = next(p for p in self.generator.parameters() if p.dim() == 4)
        seen.append((images.dtype, format.is_contiguous(memory_format=torch.channels_last)))
        return images

    monkeypatch.setattr(DCGAN, "sample", watched)
    take(trained, tmp_path / "full", "format=npz", "runtime.channels_last=false")
    take(trained, tmp_path / "half", "format=npz", "runtime.precision=bf16", "runtime.channels_last=true")
    assert set(seen[:3]) == {(torch.float32, False)} and set(seen[3:]) == {(torch.bfloat16, True)} and len(seen) == 6
    full, half = (np.load(tmp_path / name / "images.npz")["images"].astype(int) for name in ("full", "half"))
    assert 0 < np.abs(full - half).mean() < 3


def test_one_image_is_one_and_a_file_is_no_folder(cli, trained, tmp_path):
    assert cli("sample", f"ckpt={trained}", "n=1", "out=one", "runtime=cpu").err.startswith("1 image of ")
    answer = cli("sample", f"ckpt={trained}", "n=1", "out=one/grid.png", "runtime=cpu")
    assert answer.err == "gancli: one/grid.png is a file, and nothing is overwritten; choose a folder with out=...\n"
