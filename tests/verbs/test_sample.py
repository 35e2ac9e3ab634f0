"""Samples: the same files on every run, nothing overwritten."""

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image

from gancli.data.spec import quantise
from gancli.errors import UsageError
from gancli.models.sampling import draw
from gancli.training import checkpoint
from gancli.verbs.sample.run import sample
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


def test_the_seed_decides(trained, tmp_path):
    for name, more in (("a", []), ("b", []), ("c", ["seed=1"]), ("raw", ["ema=false"])):
        take(trained, tmp_path / name, "format=npz", *more)
    a, b, c, raw = (np.load(tmp_path / name / "images.npz")["images"] for name in ("a", "b", "c", "raw"))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and not np.array_equal(a, raw)


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
