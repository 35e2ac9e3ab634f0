"""Pictures of points: what they show is where it should be, and drawing them changes nothing."""

import numpy as np
import pytest
import torch
from helpers import compose, tensors
from PIL import Image
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.toy_gan import ToyGAN
from gancli.training import checkpoint
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate
from gancli.verbs.sample.run import sample
from gancli.views.grids import FRAMES, animate, save_png
from gancli.views.scatter import field, picture, window

SMALL = [
    "model=toy_gan", "model.width=8", "data=ring8", "data.n=1000", "data.n_test=500", "batch_size=32", "samples.n=64",
    "samples.every=32", "eval.every=0", "images=96", "runtime=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ring8")
    train(compose("train", SMALL), folder)
    return folder


def toy_gan(dim: int = 2) -> ToyGAN:
    torch.manual_seed(0)
    return ToyGAN(ImageSpec(dim, 1, 1, points=True), width=8)


class Bowl(nn.Module):
    """D(x) = a x_1^2 + x_2, with a state that would show whether it ran in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Parameter(torch.tensor(3.0)), 0
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        self.calls += self.training
        x1, x2 = self.drop(x).flatten(1).T
        return self.a * x1**2 + x2


def test_the_window_is_a_square_around_all_points():
    points = np.array([[0, 0], [4, 1], [2, 3]], np.float32)
    where = window(points, margin=0.25)
    assert where.low.tolist() == [-1, -1.5] and where.high.tolist() == [5, 4.5]


def test_the_field_is_the_score_and_its_gradient_and_changes_nothing():
    model = toy_gan()
    model.discriminator = Bowl()
    model.discriminator.a.requires_grad_(False)
    with torch.no_grad():
        found = field(model, window(np.array([[-1, -1], [2, 2]], np.float32)), 5)
    x1, x2 = found.at[..., 0], found.at[..., 1]
    assert (x1[0] == x1[1]).all() and (x2[:, 0] == x2[:, 1]).all() and found.at.shape == (5, 5, 2)
    assert found.score == pytest.approx(3 * x1**2 + x2, rel=1e-5, abs=1e-5)
    assert found.gradient == pytest.approx(np.stack([6 * x1, np.ones_like(x1)], -1), rel=1e-5, abs=1e-5)
    assert model.discriminator.calls == 0 and model.discriminator.drop.training and model.discriminator.a.grad is None


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_picture_shows_both_kinds_of_points_in_their_colours(dim):
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(400, dim, 1, 1, generator=generator).numpy()
    shown = picture(toy_gan(dim), torch.randn(300, dim, 1, 1, generator=generator) + 1, real, "title").astype(int)
    assert shown.shape[2] == 3 and shown.shape[0] > 500
    red, blue = shown[..., 0], shown[..., 2]
    assert ((blue - red) > 60).sum() > 200 and ((red - blue) > 60).sum() > 200
    assert picture(toy_gan(dim), torch.zeros(2, dim, 1, 1), real, "t").shape == shown.shape  # frames of one animation


def test_a_run_draws_points_and_ends_in_an_animation(trained):
    files = sorted((trained / "samples").glob("*.png"))
    assert [file.stem for file in files] == ["000000000000", "000000000032", "000000000064", "000000000096"]
    with Image.open(trained / "samples" / "run.gif") as gif, Image.open(files[0]) as first:
        assert gif.n_frames == 4 and gif.size == first.size


def test_drawing_changes_no_weight(trained, tmp_path):
    train(compose("train", [*SMALL, "samples.every=0"]), tmp_path)
    with_pictures, without = (tensors(checkpoint.load(folder).state["model"]) for folder in (trained, tmp_path))
    assert all(torch.equal(with_pictures[key], without[key]) for key in without)


def test_an_animation_of_many_pictures_keeps_the_first_and_the_last(tmp_path):
    for i in range(FRAMES + 50):
        picture = np.full((8, 8 if i else 9, 3), 255, np.uint8)  # the first one is of another size: left out
        picture[i % 8, i // 8 % 8] = i
        save_png(tmp_path / f"{i:012d}.png", picture)
    with Image.open(animate(tmp_path)) as gif:
        assert gif.size == (8, 8) and gif.n_frames == FRAMES - 1
        gif.seek(gif.n_frames - 1)
        assert (np.asarray(gif.convert("RGB"))[149 % 8, 149 // 8 % 8] == 149).all()


def test_one_picture_makes_no_animation(tmp_path):
    save_png(tmp_path / "000000000000.png", np.zeros((8, 8, 3), np.uint8))
    assert animate(tmp_path) is None and not (tmp_path / "run.gif").exists()


@pytest.mark.parametrize("kind, file", [("png", "points.csv"), ("npz", "points.npz")])
def test_sampled_points_are_the_models_and_can_be_scored(trained, tmp_path, kind, file):
    sample(compose("sample", [f"ckpt={trained}", f"out={tmp_path}/out", "n=20", f"format={kind}", "runtime=cpu"]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["grid.png", file]
    path = tmp_path / "out" / file
    points = np.loadtxt(path, delimiter=",") if kind == "png" else np.load(path)["points"]
    model = checkpoint.rebuild(trained)
    expected = model.sample(20, generator=torch.Generator().manual_seed(0)).flatten(1)
    assert points == pytest.approx(expected.numpy(), rel=1e-6)
    values = score(f"images={path}", "data=ring8")
    nearest = np.linalg.norm(points[:, None] - 1.41421 * ring(8), axis=2)
    assert values["high_quality"] == 100 * (nearest.min(1) < 3 * 0.0141421).mean()


def ring(count: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def score(*overrides: str) -> dict[str, float]:
    return evaluate(compose("eval", [*overrides, "metrics=[modes]", "features=modes", "runtime=cpu"]))


def test_a_walk_between_latents_is_a_walk_of_points(trained, tmp_path):
    sample(compose("sample", [f"ckpt={trained}", f"out={tmp_path}/out", "n=20", "view=interpolation", "runtime=cpu"]))
    assert np.loadtxt(tmp_path / "out" / "points.csv", delimiter=",").shape == (20, 2)


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b\n", "nan,1\n"])
def test_a_file_that_holds_no_such_points_is_refused(tmp_path, text):
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(UsageError, match="points.csv"):
        score(f"images={tmp_path}/points.csv", "data=ring8")
