"""The loader: order, resume, both kinds alike, no host sync."""

import threading
import time

import numpy as np
import pytest
import torch
from helpers import NoHostSync

from gancli.data.loader import Loader
from gancli.data.source import Images
from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError

CPU = torch.device("cpu")
KINDS = [
    {"resident": True},
    {"resident": False, "workers": 0},
    {"resident": False, "workers": 1},
    {"resident": False, "workers": 3},
]


def numbered(n: int, labels: bool = True, pixels: np.ndarray | None = None) -> Images:
    """Images of 1 x 2 x 3 pixels that carry their own number in the first two bytes."""
    if pixels is None:
        pixels = np.zeros((n, 1, 2, 3), np.uint8)
        pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    label = np.arange(n, dtype=np.int64) if labels else None
    return Images(pixels, label, ImageSpec(*pixels.shape[1:], n if labels else 0), "numbered", "train", "f")


def uint8(batch: Batch) -> torch.Tensor:
    return ((batch.image + 1) * 127.5).round().to(torch.uint8)


def take(loader: Loader, batches: int) -> list[torch.Tensor]:
    return [loader.next().label for _ in range(batches)]


@pytest.fixture
def make():
    """Loader(images, batch_size, device=cpu, ...), closed at the end."""
    made = []

    def build(*args: object, **kwargs: object) -> Loader:
        made.append(Loader(*args, device=CPU, **kwargs))
        return made[-1]

    yield build
    for loader in made:
        loader.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "batch"), [(60, 12), (10, 4), (7, 7), (5, 13), (3, 1)])
def test_every_image_once_per_epoch_and_batches_always_full(make, kind: dict, n: int, batch: int) -> None:
    loader = make(numbered(n), batch, **kind)
    labels = take(loader, 3 * n)  # `batch` * 3 epochs
    assert {len(label) for label in labels} == {batch}
    epochs = torch.cat(labels).reshape(-1, n)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(n).expand(len(epochs), n))
    if n > 5:
        assert len({tuple(epoch.tolist()) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("kind", KINDS)
def test_images_go_with_their_labels_and_scale_exactly(make, kind: dict) -> None:
    loader = make(numbered(600), 50, **kind)
    for _ in range(12):
        batch = loader.next(0.25)
        pixels = uint8(batch)
        assert torch.equal(pixels[:, 0, 0, 0].long() + 256 * pixels[:, 0, 1, 0].long(), batch.label)
        assert batch.image.dtype == torch.float32 and batch.image.shape == (50, 1, 2, 3)
        assert torch.equal(batch.image, pixels.to(torch.float32) / 127.5 - 1)
        assert batch.progress.shape == () and batch.progress.dtype == torch.float32 and batch.progress == 0.25
        assert batch.source is None
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 256)
    values = make(numbered(1, False, every), 1, **kind).next().image.flatten()
    assert values[0] == -1 and values[255] == 1 and torch.all(values.diff() > 0)


def test_order_does_not_depend_on_kind_or_workers_but_on_the_seed(make) -> None:
    runs = []
    for kind in KINDS:
        loader = make(numbered(50), 8, seed=3, flip=True, **kind)
        runs.append(torch.cat([loader.next().image for _ in range(30)]))
    assert all(torch.equal(runs[0], run) for run in runs)
    other = make(numbered(50), 8, seed=4, flip=True)
    assert not torch.equal(runs[0], torch.cat([other.next().image for _ in range(30)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taken", [0, 3, 5, 23])  # of 5 batches per 2 epochs
def test_resume_is_bit_for_bit(make, kind: dict, taken: int) -> None:
    images = numbered(20)
    straight, first, second = (make(images, 8, seed=1, flip=True, **kind) for _ in range(3))
    for _ in range(taken):
        straight.next()
        first.next()
    state = first.state_dict()
    first.next()  # what happens after the state was taken must not matter
    second.next()
    second.load_state_dict(state)
    for _ in range(20):
        a, b = straight.next(), second.next()
        assert torch.equal(a.image, b.image) and torch.equal(a.label, b.label)


def test_state_is_plain_and_survives_weights_only_loading(make, tmp_path) -> None:
    loader = make(numbered(20), 8, flip=True, resident=False)
    loader.next()
    torch.save(loader.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert {type(value) for value in state.values()} <= {int, torch.Tensor} and state["given"] == 8
    expected = loader.next().image
    other = make(numbered(20), 8, seed=99, flip=True, resident=True)
    other.load_state_dict(state)  # seed comes with the state
    assert torch.equal(other.next().image, expected)


def test_resume_with_another_batch_size_goes_on_where_it_was(make) -> None:
    loader = make(numbered(20), 6)
    seen = take(loader, 2)
    other = make(numbered(20), 4)
    other.load_state_dict(loader.state_dict())
    assert sorted(torch.cat([*seen, *take(other, 2)]).tolist()) == list(range(20))


def test_state_of_other_data_is_refused(make) -> None:
    with pytest.raises(UsageError, match="20 training images, this data has 21"):
        make(numbered(21), 4).load_state_dict(make(numbered(20), 4).state_dict())


def test_state_from_another_kind_of_device_is_taken_without_its_generator(make) -> None:
    loader, other = make(numbered(20), 6, flip=True), make(numbered(20), 6, flip=True)
    loader.next()
    state = {**loader.state_dict(), "flips": torch.zeros(16, dtype=torch.uint8)}  # a CUDA generator's state
    other.load_state_dict(state)
    assert torch.equal(loader.next().label, other.next().label)


@pytest.mark.parametrize("kind", KINDS)
def test_flip_mirrors_half_of_the_images(make, kind: dict) -> None:
    images = numbered(400)
    images.pixels[:, 0, 0, 1:] = [1, 2]  # first row: number, 1, 2
    flipped = torch.cat([uint8(make(images, 400, flip=True, **kind).next())])
    mirrored = flipped[:, 0, 0, 0] == 2
    plain = uint8(make(images, 400, **kind).next())
    assert 140 < mirrored.sum() < 260
    assert torch.equal(flipped[mirrored], plain[mirrored].flip(-1)) and torch.equal(
        flipped[~mirrored], plain[~mirrored]
    )


def test_labels_may_be_absent(make) -> None:
    assert all(make(numbered(20, labels=False), 4, **kind).next().label is None for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_next_never_waits_for_the_device(make, kind: dict) -> None:
    loader = make(numbered(20), 6, flip=True, **kind)
    with NoHostSync():
        for _ in range(10):  # across borders of epochs
            loader.next(0.5)
        with pytest.raises(AssertionError, match="waits for the device"):
            loader.next().label[0].item()


def test_resident_by_default_only_when_small(make, monkeypatch) -> None:
    assert make(numbered(20), 4).resident
    monkeypatch.setattr("gancli.data.loader.RESIDENT_BYTES", 20 * 6 - 1)
    assert not make(numbered(20), 4).resident


def test_memmaps_stream_and_stay_unchanged(make, tmp_path) -> None:
    np.save(tmp_path / "pixels.npy", numbered(30).pixels)
    for mode in ("r", "c"):
        images = numbered(30, True, np.load(tmp_path / "pixels.npy", mmap_mode=mode))
        for kind in KINDS:
            loader = make(images, 7, flip=True, **kind)
            labels = torch.cat(take(loader, 30))
            assert torch.equal(labels.reshape(-1, 30).sort(dim=1).values, torch.arange(30).expand(7, 30))
    assert np.array_equal(np.load(tmp_path / "pixels.npy"), numbered(30).pixels)


class Failing(np.ndarray):
    """An array whose rows cannot be read."""

    def take(self, *args: object, **kwargs: object) -> None:
        raise OSError("disk gone")


def test_a_failing_thread_raises_in_next_and_close_joins(make) -> None:
    loader = make(numbered(20, True, numbered(20).pixels.view(Failing)), 4, resident=False, workers=2)
    for _ in range(2):
        with pytest.raises(OSError, match="disk gone"):
            loader.next()
    loader.close()
    loader.close()
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("gancli-data") and thread.is_alive()
    ]


def test_prefetch_is_bounded(make) -> None:
    loader = make(numbered(20), 4, resident=False, workers=2)
    loader.next()
    time.sleep(0.05)
    assert len(loader._rows.waiting) <= 4


@pytest.mark.parametrize(("n", "batch", "kwargs"), [(0, 4, {}), (5, 0, {}), (5, 4, {"workers": -1})])
def test_impossible_numbers(make, n: int, batch: int, kwargs: dict) -> None:
    with pytest.raises(UsageError):
        make(numbered(n), batch, **kwargs)
