"""Labels from the loader to the networks, and from the command line to grids, files and scores."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose, overrides, run
from PIL import Image
from torch import Tensor, nn

from gancli import config
from gancli.data.fake import FakeImages
from gancli.data.source import Images
from gancli.data.spec import Batch, ImageSpec, quantise
from gancli.errors import UsageError
from gancli.losses.adversarial import NonSaturating
from gancli.losses.relativistic import Relativistic
from gancli.metrics.scoring import evaluation, samples
from gancli.models.base import NormalPrior
from gancli.models.sampling import class_labels, columns, draw, labels_like
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.verbs.evaluate import run as evaluate
from gancli.verbs.sample.run import sample
from gancli.views.base import RunData
from gancli.views.interpolation import STEPS, walk

SPEC = ImageSpec(1, 2, 2, num_classes=4)


class Flat(NormalPrior):
    """Draws images that are as bright as their label says, and remembers every label it is given."""

    conditional = True

    def __init__(self) -> None:
        super().__init__(SPEC, 3)
        self.generator, self.discriminator = nn.Linear(1, 1), nn.Linear(1, 1)
        self.drawn: list[Tensor] = []
        self.judged: list[Tensor] = []

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        self.drawn.append(label)
        return (label / 2 - 1).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) + 0 * self.generator.weight

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        self.judged.append(label)
        return image.mean((1, 2, 3)) + 0 * self.discriminator.weight.sum()


class Uniform(Flat):
    """Trains on labels of its own choice."""

    def target_labels(self, label: Tensor | None) -> Tensor | None:
        return 3 - label


BATCH = Batch(torch.zeros(6, 1, 2, 2), torch.tensor([0, 1, 2, 3, 3, 0]), None, torch.tensor(0.5))


@pytest.mark.parametrize("loss", [NonSaturating(), Relativistic()])
@pytest.mark.parametrize("model", [Flat(), Uniform()])
def test_every_image_is_judged_with_its_own_label(loss, model):
    own = model.target_labels(BATCH.label)
    for phase in loss.phases(model):
        model.drawn, model.judged = [], []
        phase.terms[0].fn(model, BATCH)
        assert [x.tolist() for x in model.drawn] == [own.tolist()]
        expected = [BATCH.label.tolist(), own.tolist()]
        both = phase.name == "discriminator" or isinstance(loss, Relativistic)
        assert sorted(x.tolist() for x in model.judged) == sorted(expected if both else expected[1:])


def test_between_real_and_generated_images_all_have_the_batchs_labels():
    from gancli.losses.penalties import R2, GradientPenalty

    model = Uniform()
    loss = NonSaturating(penalties={"gradient_penalty": GradientPenalty(), "r2": R2()})
    for term in loss.phases(model)[0].terms[1:]:
        model.drawn, model.judged = [], []
        term.fn(model, BATCH)
        assert [x.tolist() for x in model.drawn + model.judged] == [BATCH.label.tolist()] * 2


def test_the_loaders_labels_reach_both_networks(monkeypatch):
    parts = build(compose("train", overrides("cgan")))
    seen = {"generate": [], "score": []}
    for name in seen:
        original = getattr(parts.model, name)
        note = lambda x, label=None, name=name, original=original: (seen[name].append(label), original(x, label))[1]  # noqa: E731
        monkeypatch.setattr(parts.model, name, note)
    batch = parts.loader.next()
    for step in parts.steps:
        step(batch)
    assert [len(v) for v in seen.values()] == [2, 3]
    assert all(torch.equal(label, batch.label) for v in seen.values() for label in v)


def test_data_without_classes_is_refused_in_one_line():
    with pytest.raises(UsageError, match="CGAN is class-conditional.*data=mnist.*model=dcgan") as error:
        build(compose("train", overrides("cgan", "data.num_classes=0")))
    assert "\n" not in str(error.value)


def test_a_conditional_model_draws_uniform_labels_when_told_none():
    model = Flat()
    model.sample(4000, generator=torch.Generator().manual_seed(0))
    counts = model.drawn[0].bincount(minlength=4)
    assert counts.sum() == 4000 and (counts - 1000).abs().max() < 5 * (4000 * 3 / 16) ** 0.5
    model.sample(2, label=torch.tensor([3, 1]))
    assert model.drawn[1].tolist() == [3, 1]


def test_the_classes_come_in_turn_or_one_alone():
    assert class_labels(Flat(), 6).tolist() == [0, 1, 2, 3, 0, 1]
    assert class_labels(Flat(), 3, label=2).tolist() == [2, 2, 2]
    assert columns(Flat(), 4) == 4 and columns(Flat(), 3) is None  # more classes than images: a square
    drawn = list(draw(Flat(), 5, seed=0, batch_size=2, labels=class_labels(Flat(), 5)))
    assert [labels.tolist() for _, labels in drawn] == [[0, 1], [2, 3], [0]]
    assert torch.cat([images for images, _ in drawn])[:, 0, 0, 0].tolist() == [0, 64, 128, 191, 0]


def data(labels: list[int], classes: int = 4) -> Images:
    spec = ImageSpec(1, 2, 2, num_classes=classes)
    return Images(np.zeros((len(labels), 1, 2, 2), np.uint8), np.array(labels), spec, "few", "test", "")


def test_scored_images_have_the_frequencies_of_the_split():
    labels = labels_like(Flat(), data([3, 3, 3, 1]), 8000, seed=0)
    counts = labels.bincount(minlength=4)
    assert counts[0] == counts[2] == 0 and counts[3].item() == pytest.approx(6000, abs=5 * (8000 * 3 / 16) ** 0.5)
    assert torch.equal(labels, labels_like(Flat(), data([3, 3, 3, 1]), 8000, seed=0))
    assert not torch.equal(labels, labels_like(Flat(), data([3, 3, 3, 1]), 8000, seed=1))
    with pytest.raises(UsageError, match="few has 5 classes and the model 4"):
        labels_like(Flat(), data([0, 1], classes=5), 2, seed=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run(folder, "images=32", "samples.n=25", "optimizer.lr=0.5", "features.epochs=1", model="cgan")
    return folder


def take(trained: Path, out: Path, *more: str) -> np.lib.npyio.NpzFile:
    sample(compose("sample", [f"ckpt={trained}", f"out={out}", "n=23", "runtime=cpu", "format=npz", *more]))
    return np.load(out / "images.npz")


def tiles(file: Path) -> tuple[int, int]:
    """Rows and columns of a grid of 8x8 images, which are enlarged to 56 pixels with gaps of 2."""
    width, height = Image.open(file).size
    return (height - 2) // 58, (width - 2) // 58


def test_the_grids_of_a_run_have_a_column_per_class(trained):
    assert {tiles(file) for file in (trained / "samples").glob("*.png")} == {(2, 10)}  # full rows only: 20 of 25


def test_sample_draws_all_classes_in_turn_or_one(trained, tmp_path):
    every, one = take(trained, tmp_path / "all"), take(trained, tmp_path / "one", "view=grid", "view.label=3")
    assert every["labels"].tolist() == [i % 10 for i in range(23)] and set(one["labels"].tolist()) == {3}
    assert tiles(tmp_path / "all" / "grid.png") == (3, 10) and tiles(tmp_path / "one" / "grid.png") == (5, 5)
    model = checkpoint.rebuild(trained)
    drawn = model.sample(23, label=torch.full((23,), 3), generator=torch.Generator().manual_seed(0))
    assert np.array_equal(one["images"], quantise(drawn).permute(0, 2, 3, 1).numpy())
    same = (every["images"] == one["images"]).reshape(23, -1).all(1)
    assert same[3] and same[13] and not same[[0, 1, 2, 4]].any()  # the same latents


def test_a_walk_stays_in_its_class(trained, tmp_path):
    walked = take(trained, tmp_path / "walk", "view=interpolation", "n=30", "view.label=7")
    assert walked["labels"].tolist() == [7] * 30
    model = checkpoint.rebuild(trained)
    rows, ends = (
        walk(model, 2, seed=3, labels=torch.arange(2)).view(2, STEPS, 1, 8, 8),
        model.latent(4, torch.Generator().manual_seed(3)),
    )
    expected = quantise(model.generate(ends, torch.tensor([0, 0, 1, 1])))
    assert (rows[:, [0, -1]].int() - expected.view(2, 2, 1, 8, 8).int()).abs().max() <= 1


def test_a_class_has_a_name_too():
    data = RunData(lambda: None, ["cat", "dog", "3"])
    assert [data.class_number(given) for given in (None, 1, "dog", 3, "3")] == [None, 1, 1, 3, 2]
    for given, said in (("dgo", "did you mean 'dog'.* .allowed: cat, dog, 3.$"), (1.5, "label=1.5: no such class")):
        with pytest.raises(UsageError, match=said):
            data.class_number(given)


@pytest.mark.parametrize("label, said", [("10", "label=10: .*0 to 9"), ("-1", "label=-1: must be 0 or more")])
def test_labels_that_the_model_does_not_know_are_refused(trained, tmp_path, label, said):
    with pytest.raises(UsageError, match=said):
        take(trained, tmp_path / "out", "view=grid", f"view.label={label}")
    assert not (tmp_path / "out").exists()


def test_an_unconditional_model_takes_no_label(tmp_path):
    run(tmp_path / "run", "images=16")
    with pytest.raises(UsageError, match="label=3: DCGAN is unconditional.*model=cgan"):
        take(tmp_path / "run", tmp_path / "out", "view=grid", "view.label=3")


def test_labels_reach_the_score(trained, monkeypatch):
    """The accuracy that gancli eval tells is the classifier's on the labels that the images were drawn for."""
    told, seen, original = [], [], samples.draw

    def spied(*args, **kwargs):
        for images, labels in original(*args, **kwargs):
            seen.append(labels)
            yield images, labels

    monkeypatch.setattr(samples, "draw", spied)
    monkeypatch.setattr(
        evaluation.scorecard, "write", lambda folder, stem, facts, *args, **kwargs: told.append(facts) or folder
    )
    scored = partial(config.compose, "eval")
    options = [f"ckpt='{trained}'", "n=100", "floor=false", "runtime=cpu"]
    values = evaluate.evaluate(scored([*options, "metrics=[classes]", "seed=5"]))
    assert 0 <= values["accuracy"] <= 1 and told[0]["labels"] == "as frequent as in the split"
    test = FakeImages(n=60, n_test=20, num_classes=10, size=8, channels=1).split("test")
    assert torch.equal(torch.cat(seen), labels_like(checkpoint.rebuild(trained), test, 100, seed=5))
    other = ["data=fake", "data.num_classes=0", "data.size=8", "data.channels=1", "features=classifier"]
    with pytest.raises(UsageError, match="has 0 classes and the model 10"):
        evaluate.evaluate(scored([*options, "metrics=[parzen]", *other]))


def test_training_scores_with_labels_too(tmp_path):
    on = ["eval.every=16", "eval.n=80", "eval.metrics=[fid,classes]", "eval.split=train", "features.epochs=1"]
    values = run(tmp_path, "images=16", *on, model="cgan")
    assert 0 <= values["eval/accuracy"] <= 1
