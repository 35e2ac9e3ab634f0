"""Scores of latent-variable models against sums by hand, and the words of the command line that choose k."""

import json
import math

import pytest
import torch
from helpers import compose, run

from gancli.data.digits import Digits
from gancli.errors import UsageError
from gancli.metrics.features import Pixels
from gancli.metrics.scorer import Scorer
from gancli.models.held_out import HeldOut
from gancli.verbs.evaluate.run import evaluate

METRICS = ["elbo", "iwae", "active_units"]


def parts(image, label):
    """Some reconstructions and KLs that differ between images."""
    total = (image + 1).flatten(1).sum(1)
    return torch.stack([total, label.to(image.dtype)], 1)


def latents(image, label):
    """One latent that varies, and one that does not."""
    first = image.flatten(1).mean(1)
    return torch.stack([10 * first, 0 * first + 3], 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    run(folder, "images=320", "eval.every=160", "doctor.every=80", model="vae")
    return folder


def score(folder, *words: str) -> dict[str, float]:
    return evaluate(compose("eval", [f"ckpt='{folder}'", "runtime=cpu", *words]))


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_bounds_are_means_over_all_images_and_say_their_k(batch_size):
    also = {"elbo": parts, "iwae": lambda x, y: -y.to(x.dtype), "latents": latents}
    nats = lambda image, label: pytest.fail("nobody asked for it")  # noqa: E731
    images = Digits().split("test")
    scorer = Scorer(METRICS, images, Pixels(), batch_size=batch_size, device=torch.device("cpu"), splits=Digits().split)
    found = scorer.score(None, HeldOut(nats, "bound", 256, 0, "", also, 5)).values
    total, labels = (images.pixels.astype(float) / 127.5).sum((1, 2, 3)), images.labels.astype(float)
    assert found["reconstruction"] == pytest.approx(total.mean(), rel=1e-6)
    assert found["kl"] == pytest.approx(labels.mean(), rel=1e-9)
    assert found["elbo"] == pytest.approx(-(total + labels).mean(), rel=1e-6)
    assert found["elbo_se"] == pytest.approx((total + labels).std(ddof=1) / math.sqrt(len(labels)), rel=1e-5)
    assert found["iwae"] == pytest.approx(-labels.mean(), rel=1e-9) and found["iwae_k"] == 5
    assert (found["active_units"], found["latents"]) == (1, 2)


def test_a_model_that_has_no_latents_is_refused():
    for likelihood in (None, HeldOut(parts, "exact", 256)):
        for metric in METRICS:
            scorer = Scorer(
                [metric], Digits().split("test"), Pixels(), device=torch.device("cpu"), splits=Digits().split
            )
            with pytest.raises(UsageError, match=f"metrics: {metric} needs a latent-variable model, .* thing is none"):
                scorer.check(likelihood, "thing", labelled=False)


def test_training_and_eval_agree_and_the_card_says_that_it_is_a_bound(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    curve = [row["eval/nll_bound"] for row in rows if "eval/nll_bound" in row]
    assert len(curve) == 2 and curve[1] < curve[0] and not any("eval/nll" in row for row in rows)
    assert score(trained, "metrics=[nll]", "split=validation", "batch_size=8")["nll_bound"] == pytest.approx(
        curve[-1], rel=1e-6
    )
    (file,) = (trained / "eval").glob("*320-pixels.json")
    said = json.loads(file.read_text())["protocol"]["likelihood"]
    assert said["kind"] == "bound" and said["how"].startswith("ELBO of one code per image")
    examined = [row for row in rows if "doctor/kl" in row]
    assert len(examined) == 4 and {"doctor/active_units", "doctor/kl_00", "doctor/kl_02"} <= examined[0].keys()
    groups = sum(examined[-1][f"doctor/kl_{i:02d}"] for i in range(3))
    assert examined[-1]["doctor/kl"] == pytest.approx(groups, rel=1e-5)


def test_the_card_of_pictures_says_that_their_pixels_are_means(trained, capsys):
    """Of draws of the pixels, and of a model that has no likelihood of them, it does not."""
    plain = ["metrics=[sharpness]", "n=20", "floor=false", "split=validation"]
    score(trained, *plain)
    assert "20 images (means of the pixels) against" in capsys.readouterr().out
    score(trained, *plain, "sampling.draw=sample")
    assert "20 images against" in capsys.readouterr().out
    found = [json.loads(file.read_text())["protocol"] for file in (trained / "eval").glob("*.json")]
    assert {each["pixels"] for each in found if "sharpness" in each["metrics"] and "sampling" not in each} == {"means"}
    assert not any("pixels" in each for each in found if each.get("sampling", {}).get("draw"))


def test_k_is_an_option_of_sampling_and_a_list_of_it_is_a_curve(trained):
    one = score(trained, "metrics=[elbo,iwae]", "sampling.k=3")
    assert one["iwae_k"] == 3 and one["elbo"] < 0
    assert one["elbo"] == pytest.approx(-(one["reconstruction"] + one["kl"]), rel=1e-9)
    score(trained, "metrics=[iwae]", "sampling.k=[1,500]")
    cards = [json.loads((trained / "eval" / f"000000000320-k{k}-pixels.json").read_text()) for k in (1, 500)]
    assert [card["values"]["iwae_k"] for card in cards] == [1, 500]
    assert cards[0]["values"]["iwae"] < cards[1]["values"]["iwae"]
    assert "iwae: k=500" in cards[1]["protocol"]["likelihood"]["how"]
