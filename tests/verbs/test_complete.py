"""Completions: masks, what is kept, exact conditional probabilities of kernels, and the verb."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import run
from PIL import Image

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.kde import KDE
from gancli.verbs.complete.run import _measured
from gancli.views.completion import Completed, missing_part

SPEC = ImageSpec(1, 8, 8)


@pytest.mark.parametrize(
    "word,rows,columns",
    [
        ("bottom", (4, 8), (0, 8)),
        ("top", (0, 4), (0, 8)),
        ("left", (0, 8), (0, 4)),
        ("right", (0, 8), (4, 8)),
        ("center", (2, 6), (2, 6)),
    ],
)
def test_words_are_parts_of_the_image(word, rows, columns):
    found = missing_part(word, SPEC)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[slice(*rows), slice(*columns)] = True
    assert torch.equal(found, expected)


def test_a_picture_is_missing_where_it_is_white(tmp_path):
    values = np.zeros((8, 8), np.uint8)
    values[1, 2:5] = 255
    Image.fromarray(values).save(tmp_path / "m.png")
    assert missing_part(str(tmp_path / "m.png"), SPEC).nonzero().tolist() == [[1, 2], [1, 3], [1, 4]]
    Image.fromarray(values * 0).save(tmp_path / "m.png")
    with pytest.raises(UsageError, match="nothing is white"):
        missing_part(str(tmp_path / "m.png"), SPEC)
    with pytest.raises(UsageError, match="has 8x8 pixels, but the model's images 4x4"):
        missing_part(str(tmp_path / "m.png"), ImageSpec(1, 4, 4))
    with pytest.raises(UsageError, match="allowed are bottom.*did you mean"):
        missing_part("botom", SPEC)


@pytest.mark.parametrize("kernel,h,levels", [("gaussian", 0.3, 256), ("aitchison_aitken", 0.2, 2)])
def test_kernels_complete_by_the_exact_conditional(kernel, h, levels):
    """Two training images: the completion is of the first with the weight that its visible part gives."""
    spec = ImageSpec(1, 1, 2, levels=levels)
    model = KDE(spec, kernel=kernel, bandwidth=h, chunk=1)
    model.fit_data(torch.tensor([[[[0, 0]]], [[[255, 255]]]], dtype=torch.uint8))
    mask = torch.tensor([[False, True]])
    seen = torch.tensor([[[[-1.0, 1.0]]]])
    k = (lambda d: math.exp(-d * d / (2 * h * h))) if kernel == "gaussian" else (lambda d: h if d else 1 - h)
    weight = k(0) / (k(0) + k(1))  # of the image that agrees with the visible pixel, 0
    done = model.complete(seen.expand(4000, -1, -1, -1), mask, generator=torch.Generator().manual_seed(0))
    assert (done[..., 0] == -1).all()
    if kernel == "aitchison_aitken":
        dark = weight * (1 - h) + (1 - weight) * h
        assert (done[..., 1] < 0).double().mean().item() == pytest.approx(dark, abs=0.03)
        assert model.log_prob_of(seen, mask).item() == pytest.approx(math.log(1 - dark))
    else:
        density = lambda d: k(d) / (h * math.sqrt(2 * math.pi))  # noqa: E731
        expected = weight * density(1) + (1 - weight) * density(0)
        assert model.log_prob_of(seen, mask).item() == pytest.approx(math.log(expected))
        assert (done[..., 1] < 0).double().mean().item() == pytest.approx(weight, abs=0.06)
    assert not model.unseen(mask).any()


def test_an_impossible_image_cannot_be_completed():
    model = KDE(ImageSpec(1, 1, 2), kernel="box", bandwidth=0.1)
    model.fit_data(torch.tensor([[[[0, 0]]], [[[9, 9]]]], dtype=torch.uint8))
    with pytest.raises(UsageError, match="cannot be completed"):
        model.complete(torch.ones(1, 1, 1, 2), torch.tensor([[False, True]]))


def test_the_verb_keeps_what_is_there_and_tells_the_probability(cli, tmp_path, caplog):
    run(tmp_path / "r", "images=32", "data.binarise=fixed_seed", model="pixelcnn")
    assert len(list((tmp_path / "r" / "samples").glob("*-completion.png"))) == 2  # of training, first and last
    answer = cli(
        "complete", f"ckpt={tmp_path / 'r'}", "image=[3,0]", "mask=top", "n=2", f"out={tmp_path / 'c'}", "runtime=cpu"
    )
    assert answer.code == 0, answer.err
    assert "32 given pixels come after the first missing one" in answer.out + answer.err + caplog.text
    result = json.loads((tmp_path / "c" / "completions.json").read_text())
    assert result["missing_pixels"] == 32 and result["pixels_there_but_unseen"] == 32
    assert [each["name"] for each in result["images"]] == ["test-000003", "test-000000"]
    assert all(v < 0 for each in result["images"] for v in [each["log_prob_truth"], *each["log_prob"]])
    names = sorted(path.name for path in (tmp_path / "c").glob("test-*.png"))
    assert len(names) == 4
    first = [np.asarray(Image.open(tmp_path / "c" / f"test-000003-{i:02d}.png")) for i in range(2)]
    assert (first[0][4:] == first[1][4:]).all() and (first[0][:4] != first[1][:4]).any()
    again = cli("complete", f"ckpt={tmp_path / 'r'}", f"image={tmp_path / 'c' / names[0]}", "mask=bottom", "n=1",
                "sampler=naive", "temperature=0.5", "runtime=cpu", f"out={tmp_path / 'd'}")  # fmt: skip
    assert again.code == 0 and "come after" not in again.out + again.err
    done = np.asarray(Image.open(tmp_path / "d" / f"{names[0][:-4]}-00.png"))
    assert (done[:4] == np.asarray(Image.open(tmp_path / "c" / names[0]))[:4]).all()
    refused = {
        "image=99": "has images 0 to 19",
        "image=1.5": "image=1.5: expected numbers of images",
        "image=true": "expected numbers of images",
        "image=[1,1.5]": "has images 0 to 19",
        "image=[1,1]": "an image is named twice",
        "mask=nowhere": "allowed are bottom",
        "sampler=quick": "allowed are naive",
        "temperature=0": "must be above 0",
        "image=no.png": "cannot be read",
    }
    for wrong, says in refused.items():
        answer = cli("complete", f"ckpt={tmp_path / 'r'}", wrong, "runtime=cpu", f"out={tmp_path / 'e'}")
        assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1


def test_a_gan_cannot_complete(cli, tmp_path):
    run(tmp_path / "r", "images=8")
    answer = cli("complete", f"ckpt={tmp_path / 'r'}", "image=0", "runtime=cpu")
    assert answer.code == 2 and "DCGAN cannot complete images" in answer.err
    answer = cli("sample", f"ckpt={tmp_path / 'r'}", "temperature=0.5", "runtime=cpu")
    assert answer.code == 2 and "temperature: no such key (allowed: " in answer.err


def test_each_completion_is_measured_with_the_class_of_its_image():
    """Batches of 4 over 3 images of 5 completions, the i-th of all i levels bright: log p = 100 label + i."""

    class Model:
        def log_prob_of(self, image, mask, label):
            return 100 * label + 255 * image[:, 0, 0, 0]

    done = torch.arange(15.0).view(15, 1, 1, 1) / 255
    mask, label, nats = torch.ones(1, 1, dtype=torch.bool), torch.tensor([7, 8, 9]), []
    found = Completed(["a", "b", "c"], done[:3], mask, label, 5, iter(done.split(4)))
    assert torch.equal(torch.cat(list(_measured(Model(), found, nats))), done)
    expected = torch.tensor([[100.0 * each + 5 * row + i for i in range(5)] for row, each in enumerate((7, 8, 9))])
    assert torch.allclose(torch.cat(nats).unflatten(0, (3, 5)), expected)
