"""Completions of images: however many are drawn, few are in memory, and the picture shows the first of each image."""

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from gancli.data.fake import FakeImages
from gancli.data.spec import ImageSpec, quantise, scaled
from gancli.models.kde import KDE
from gancli.views import base, pictures
from gancli.views.base import Batches, Picture, RunData
from gancli.views.completion import Completion
from gancli.views.grids import make_grid

SIZE = 9  # of images that nothing else in this process has
DATA = RunData(lambda: FakeImages(n=20, n_test=5, size=SIZE))
IMAGES, EACH, BATCH = 3, 50, 10


class Model(KDE):
    """A density of the training images that counts the images in memory whenever it is asked for more."""

    alive: list[int]
    counts = True

    def complete(self, image: Tensor, mask: Tensor, **options: object) -> Tensor:
        if self.counts:
            self.alive.append(sum(alive()))
        return super().complete(image, mask, **options)


def alive() -> Iterator[int]:
    """Yield how many images each tensor of images in memory has that is newer than the model, views among them."""
    for each in gc.get_objects():
        if type(each) is Tensor and each.dim() > 2 and each.shape[-2:] == (SIZE, SIZE):
            yield each[..., 0, 0, 0].numel()


@pytest.fixture
def model() -> Model:
    net = Model(ImageSpec(3, SIZE, SIZE), bandwidth=0.3).eval()
    net.fit_data(torch.from_numpy(np.array(DATA.split("train").pixels)))
    net.alive = []
    gc.freeze()  # what is there already, a million objects, is not looked at again
    return net


def draw(model: Model) -> Picture:
    return Completion(image=list(range(IMAGES)), completions=EACH).draw(model, DATA, n=1, seed=3, batch_size=BATCH)[""]


def at_once(model: Model) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and all their completions (N, n, C, H, W), uint8, drawn in the same batches but kept."""
    image = scaled(torch.from_numpy(np.array(DATA.split("test").pixels[:IMAGES])))
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[round(SIZE / 2) :] = True
    generator = Generator().manual_seed(3)
    parts = [model.complete(each, mask, generator=generator) for each in image.repeat_interleave(EACH, 0).split(BATCH)]
    rows = torch.stack([image, torch.where(mask, 0.0, image)], 1)
    return quantise(rows), quantise(torch.cat(parts)).unflatten(0, (IMAGES, EACH))


@pytest.mark.parametrize(("most", "kind"), [(12, "npz"), (4, "png"), (2, "grid"), (1024, "npz")])
def test_the_picture_and_the_files_are_those_of_completions_that_are_all_kept(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int, kind: str
) -> None:
    model.counts = False
    before, done = at_once(model)
    monkeypatch.setattr(base, "SHOWN", most)
    drawn, shown = draw(model), {12: 4, 4: 1, 2: 1, 1024: EACH}[most]
    assert pictures.write(tmp_path, {"": drawn}, kind) == IMAGES * EACH
    assert isinstance(drawn.image, type(lambda: 0)) and isinstance(drawn.raw, Batches)
    rows = torch.cat([before, done[:, :shown]], 1)
    assert np.array_equal(drawn.shown(), make_grid(rows.flatten(0, 1), 2 + shown))
    assert len(list(tmp_path.iterdir())) == {"npz": 2, "png": 1 + IMAGES * EACH, "grid": 1}[kind]
    if kind == "npz":
        written = np.load(tmp_path / "images.npz")["images"]
        assert np.array_equal(written, done.flatten(0, 1).permute(0, 2, 3, 1))


@pytest.mark.parametrize("kind", ["npz", "png", "grid"])
def test_only_the_batch_in_flight_and_what_the_picture_shows_are_in_memory(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(base, "SHOWN", 12)
    drawn = draw(model)
    pictures.write(tmp_path, {"": drawn}, kind)
    assert len(model.alive) == IMAGES * EACH / BATCH and drawn.shown() is not None
    assert max(model.alive) - model.alive[0] <= 12 + 4 * BATCH  # the one before, as the model, quantise and zip have it


def test_the_count_of_images_in_memory_can_fail(model: Model) -> None:
    at_once(model)
    before, kept = model.alive[0], list(draw(model).raw.each)
    assert model.alive[-1] - before >= IMAGES * EACH - 2 * BATCH and len(kept) == IMAGES * EACH / BATCH
