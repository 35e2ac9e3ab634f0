"""FID within classes: a slow twin, what only it sees, and what is refused or infinite."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image
from scipy import linalg

from gancli.data.digits import Digits
from gancli.data.fake import FakeImages
from gancli.errors import UsageError
from gancli.metrics.base import GENERATED, REAL, Batch, SetInfo
from gancli.metrics.fid import FID
from gancli.metrics.fid_per_class import FIDPerClass
from gancli.metrics.kept import KeptFeatures, KeptLabels
from gancli.metrics.moments import Moments
from gancli.verbs.evaluate.run import evaluate

DIM, CLASSES = 6, 3


def sample(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features whose mean and scale depend on the class."""
    labels = torch.arange(n) % CLASSES
    noise = torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed))
    return 4 * torch.eye(CLASSES, DIM)[labels] + (1 + labels[:, None]) * noise, labels


def kept(x: torch.Tensor, labels: torch.Tensor) -> dict:
    about = SetInfo(len(x), DIM, 0, torch.device("cpu"))
    statistics = {each: each.of(about) for each in (KeptFeatures, KeptLabels, Moments)}
    for start in range(0, len(x), 7):
        part = slice(start, start + 7)
        for statistic in statistics.values():
            statistic.add(Batch(torch.zeros(1), x[part], None, labels[part]))
    return statistics


def twin(x: torch.Tensor, y: torch.Tensor) -> float:
    a, b = x.double().numpy(), y.double().numpy()
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


def test_equals_a_twin_class_by_class() -> None:
    (x, own), (y, real) = sample(200, 0), sample(300, 1)
    sets = {GENERATED: kept(x, own), REAL: kept(y, real)}
    expected = [twin(x[own == k], y[real == k]) for k in range(CLASSES)]
    assert FIDPerClass()(sets)["fid_per_class"] == pytest.approx(np.mean(expected), rel=1e-9)
    details = FIDPerClass().details(sets)
    assert [details[str(k)]["fid"] for k in range(CLASSES)] == pytest.approx(expected, rel=1e-9)
    assert details["0"]["generated"] == 67 and details["0"]["real"] == 100


def test_it_sees_wrong_labels_and_classes_without_variety_which_fid_does_not() -> None:
    (x, own), (y, real) = sample(900, 0), sample(900, 1)
    right = {GENERATED: kept(x, own), REAL: kept(y, real)}
    wrong = {GENERATED: kept(x, (own + 1) % CLASSES), REAL: kept(y, real)}
    assert FID()(wrong) == FID()(right)
    assert FIDPerClass()(wrong)["fid_per_class"] > FIDPerClass()(right)["fid_per_class"] + 10


@pytest.mark.parametrize("left", [0, 1])  # one image has no covariance
def test_a_class_without_images_is_infinite_and_named(left) -> None:
    (x, own), (y, real) = sample(90, 0), sample(90, 1)
    lost = own != 2
    lost[2] = bool(left)
    sets = {GENERATED: kept(x[lost], own[lost]), REAL: kept(y, real)}
    assert FIDPerClass()(sets)["fid_per_class"] == math.inf
    assert "fewer than 2 images of class 2" in FIDPerClass().warn(sets)
    assert FIDPerClass().details(sets)["2"] == {"fid": None, "generated": left, "real": 30}


def test_pictures_in_class_folders_from_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "outputs"))
    split = Digits().split("train")
    for i in range(120):
        place = tmp_path / "named" / str(split.labels[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.pixels[i, 0]).save(place / f"{i:04d}.png")
    settings = ["data=digits", "features.epochs=1", "runtime=cpu", "metrics=[fid,fid_per_class]"]
    values = evaluate(compose("eval", [f"images={tmp_path / 'named'}", *settings]))
    assert values["fid_per_class"] > values["fid"] > 0
    (file,) = (tmp_path / "outputs" / "images" / "named").glob("*.json")
    per_class = json.loads(file.read_text())["details"]["fid_per_class"]
    assert (
        list(per_class) == [str(k) for k in range(10)] and sum(each["generated"] for each in per_class.values()) == 120
    )
    assert values["fid_per_class"] == pytest.approx(np.mean([each["fid"] for each in per_class.values()]))


def test_models_without_classes_and_data_without_labels_are_refused(tmp_path) -> None:
    run(tmp_path / "run", "images=8", "features.epochs=1")
    with pytest.raises(UsageError, match="fid_per_class needs the class of each image.*model=cgan"):
        evaluate(compose("eval", [f"ckpt='{tmp_path / 'run'}'", "runtime=cpu", "metrics=[fid_per_class]", "n=12"]))
    with pytest.raises(UsageError, match="needs labelled data"):
        FIDPerClass().check(None, FakeImages(n=10, size=8, channels=1, num_classes=0).split("train"))
