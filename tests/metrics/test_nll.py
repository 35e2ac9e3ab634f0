"""The likelihood of a split, and the loss, against sums by hand."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import compose, run

from gancli.data.digits import Digits
from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.nll import NLL
from gancli.metrics.features import Pixels
from gancli.metrics.scorer import Scorer
from gancli.models.held_out import HeldOut
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Bernoulli
from gancli.verbs.evaluate.run import evaluate

CPU = torch.device("cpu")


def brightness(image, label):
    """Some nats that differ between images."""
    return (image + 1).flatten(1).sum(1) * 50 + label


def nll(nats, batch_size=50, kind="exact", spread=0):
    """Score the test digits with nothing but nll; no image is drawn, for there is no stream."""
    images = Digits().split("test")
    scorer = Scorer(["nll"], images, Pixels(), batch_size=batch_size, device=CPU, splits=Digits().split, floor=True)
    assert scorer.floor()[1] == {} and not scorer.draws
    return images, scorer.score(None, HeldOut(nats, kind, 256, spread)).values


@pytest.mark.parametrize("batch_size", [1, 64, 359, 360, 1000])
def test_every_image_counts_once_whatever_the_batch_size(batch_size):
    images, found = nll(brightness, batch_size)
    values = (images.pixels.astype(np.float64) / 127.5).sum((1, 2, 3)) * 50 + images.labels
    assert found["nll"] == pytest.approx(values.mean(), rel=1e-6)
    assert found["nll_se"] == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)), rel=1e-5)
    assert found["bits_per_dim"] == pytest.approx(values.mean() / math.log(2) / 64, rel=1e-6)
    assert found["impossible"] == 0


def test_a_likelihood_is_computed_without_tf32():
    seen, cudnn, matmul = set(), torch.backends.cudnn, torch.backends.cuda.matmul

    def watched(image, label):
        seen.add((cudnn.allow_tf32, matmul.allow_tf32))
        return brightness(image, label)

    assert cudnn.allow_tf32  # as torch and runtime.tf32 have it
    nll(watched)
    assert seen == {(False, False)} and cudnn.allow_tf32


def test_impossible_images_are_counted_and_not_averaged():
    images, found = nll(lambda image, label: torch.where(label == 0, math.inf, 3.0), kind="density")
    assert found["nll_density"] == 3 and found["impossible"] == pytest.approx((images.labels == 0).mean())
    assert "bits_per_dim" not in found and "nll" not in found  # another quantity, another column


def test_not_a_number_stays():
    assert math.isnan(nll(lambda x, y: torch.full((len(x),), math.nan))[1]["nll"])


@pytest.mark.parametrize(
    "likelihood, text", [(None, "but thing has none"), (HeldOut(brightness, "exact", 2), "256 levels per channel")]
)
def test_what_has_no_likelihood_or_one_of_other_images_is_refused(likelihood, text):
    source = Digits()
    scorer = Scorer(["nll"], source.split("test"), Pixels(), device=CPU, splits=source.split)
    with pytest.raises(UsageError, match=text):
        scorer.check(likelihood, "thing", labelled=False)


def score(folder, *overrides):
    return evaluate(compose("eval", [f"ckpt='{folder}'", "runtime=cpu", "metrics=[nll]", *overrides]))


def test_training_keeps_the_best_by_validation_nats_and_eval_gives_the_same_number(tmp_path):
    run(tmp_path, "eval.every=200", "images=400", model="pixelcnn")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    curve = {row["images"]: row["eval/nll"] for row in rows if "eval/nll" in row}
    assert list(curve) == [200, 400] and curve[400] < curve[200] < 64 * math.log(2) + 5
    assert score(tmp_path, "split=validation")["nll"] == pytest.approx(curve[400], rel=1e-6)
    card = json.loads((tmp_path / "eval" / "000000000400-pixels.json").read_text())
    assert card["protocol"]["levels"] == "2 levels, drawn once with seed 0"
    assert card["protocol"]["images_generated"] is None and card["floor"] == {}
    with pytest.raises(UsageError, match="256 levels per channel, but the PixelCNN"):
        score(tmp_path, "data=fake", "data.size=8", "data.channels=1", "data.n_test=20")


def test_the_loss_is_the_mean_of_the_nats():
    spec = ImageSpec(1, 4, 4, levels=2)
    model = PixelCNN(spec, Bernoulli, width=2, blocks=1, head=4)
    image = torch.randint(0, 2, (5, 1, 4, 4)).float() * 2 - 1
    loss = NLL()
    (phase,) = loss.phases(model)
    scalars = loss.term(model, Batch(image))
    assert phase.networks == ("net",)
    assert torch.allclose(scalars["nats"], -model.log_prob(image).mean()) and scalars["nats"].requires_grad
    assert not scalars["bits_per_dim"].requires_grad
    assert scalars["bits_per_dim"].item() == pytest.approx(scalars["nats"].item() / (16 * math.log(2)))


@pytest.mark.parametrize("density, bound, kind", [(0, 0, "exact"), (1, 0, "density"), (0, 1, "bound"), (1, 1, "bound")])
def test_the_likelihood_of_the_pixels_says_what_a_models_number_is(density, bound, kind):
    likelihood = type("Told", (Bernoulli,), {"density": bool(density), "bound": bool(bound)})
    model = PixelCNN(ImageSpec(1, 4, 4, levels=2), likelihood=likelihood, width=4, blocks=1, head=4, kernel=3)
    assert model.held_out().kind == kind
