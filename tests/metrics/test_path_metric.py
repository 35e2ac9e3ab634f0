"""Path length: closed forms of linear synthesis networks, a slow twin in float64, and the card."""

import json
import math

import numpy as np
import pytest
import torch
from helpers import compose, run
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.metrics.base import PATHS
from gancli.metrics.path_length import Lengths, PathLength, measured, trimmed
from gancli.metrics.raw import RawPixels
from gancli.models.paths import KINDS, STEP, slerp, steps
from gancli.models.style import StyleBased, StyleGenerator
from gancli.models.stylegan2 import StyleGAN2
from gancli.verbs.evaluate.run import evaluate

SPEC, DIM = ImageSpec(1, 2, 3), 5


class Plain(nn.Module):
    """Latents as styles, or a bent version of them."""

    def __init__(self, bend: float) -> None:
        super().__init__()
        self.bend = nn.Parameter(torch.tensor(bend))

    def forward(self, z, label=None):
        return z + self.bend * z.sin().flip(1)


class Linear(nn.Module):
    """Images that are a linear map of the first style."""

    def __init__(self, bend: float = 0.0) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, DIM, generator=torch.Generator().manual_seed(1)))
        self.bend = bend

    def forward(self, ws):
        x = ws[:, 0] @ self.matrix.T
        return (x + self.bend * x.square()).unflatten(1, SPEC.shape)


class Model(StyleBased):
    def __init__(self, mapping: float = 0.0, synthesis: float = 0.0) -> None:
        super().__init__(SPEC, DIM)
        self.generator = StyleGenerator(Plain(mapping), Linear(synthesis), 2)

    def latent(self, n, generator=None):
        return super().latent(n, generator).to(self.generator.mapping.bend)


def pixels():
    features = RawPixels()
    features.dim, features.classes, features._device = 6, 0, torch.device("cpu")
    return features


def lengths(model, n=200, batch_size=64, seed=0):
    found = Lengths()
    for batch in measured(steps(model, n, seed=seed, batch_size=batch_size), pixels()):
        found.add(batch)
    return {kind: torch.cat(each) for kind, each in found.parts.items()}


def test_a_linear_synthesis_has_the_length_of_its_lines():
    """|A (w1 - w0)|^2 / 4 everywhere on a line: pixels in [0, 1] are half of those in [-1, 1]."""
    model = Model().double().eval()
    generator = torch.Generator().manual_seed(0)
    first, last = torch.randn(200, DIM, generator=generator), torch.randn(200, DIM, generator=generator)
    expected = ((last - first).double() @ model.generator.synthesis.matrix.T).square().sum(1) / 4
    found = lengths(model, batch_size=200)
    assert set(found) == set(KINDS)
    torch.testing.assert_close(found["w"], expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(found["w_end"], expected, rtol=1e-6, atol=0)


def test_a_linear_generator_has_the_length_of_its_arcs():
    """Speed on the arc: |A (-a sin + c cos)| angle sqrt(d), with c the direction across a; at the end, |A c|."""
    model = Model().double().eval()
    generator = torch.Generator().manual_seed(0)
    first, last = (torch.randn(200, DIM, generator=generator).double() for _ in range(2))
    t = torch.rand(200, generator=generator).double()
    a, b = first / first.norm(dim=1, keepdim=True), last / last.norm(dim=1, keepdim=True)
    angle = (a * b).sum(1).acos()
    c = b - (a * b).sum(1, keepdim=True) * a
    c = c / c.norm(dim=1, keepdim=True)
    matrix = model.generator.synthesis.matrix
    for kind, at in (("z", t), ("z_end", torch.zeros(200).double())):
        middle = ((at + STEP / 2) * angle)[:, None]
        speed = math.sqrt(DIM) * angle[:, None] * (c * middle.cos() - a * middle.sin())
        expected = (speed @ matrix.T).square().sum(1) / 4
        torch.testing.assert_close(lengths(model, batch_size=200)[kind], expected, rtol=1e-5, atol=0)


def test_bent_networks_agree_with_a_slow_twin():
    model = Model(0.4, 0.3).double().eval()
    generator = torch.Generator().manual_seed(3)
    first, last = (torch.randn(9, DIM, generator=generator).double() for _ in range(2))
    t = torch.rand(9, generator=generator).double().tolist()
    found = lengths(model, 9, batch_size=9, seed=3)
    matrix, bend = model.generator.synthesis.matrix.detach().numpy(), 0.3
    for i, (p, q) in enumerate(zip(first.numpy(), last.numpy())):
        w = [z + 0.4 * np.sin(z)[::-1] for z in (p, q)]
        image = lambda w: (matrix @ w) + bend * (matrix @ w) ** 2  # noqa: E731
        for kind, at in (("w", t[i]), ("w_end", 0.0)):
            near, far = (image(w[0] + each * (w[1] - w[0])) for each in (at, at + STEP))
            expected = ((far - near) ** 2).sum() / 4 / STEP**2
            assert found[kind][i].item() == pytest.approx(expected, rel=2e-5)  # t itself is of 32 bits


def test_the_mean_leaves_both_tails_out():
    values = np.random.RandomState(0).permutation(np.arange(1000.0))
    values[np.argmax(values)] = 1e9
    kept = np.sort(values)[9:991]  # 9 is the value at or below the 1st percentile, 990 that at or above the 99th
    assert trimmed(values) == kept.mean()
    assert trimmed(np.array([3.0])) == 3.0
    found = Lengths()
    found.parts = {"w": [torch.full((5,), 2.0), torch.full((5,), 4.0)]}
    assert PathLength()({PATHS: {Lengths: found}}) == {"path_length_w": 3.0}


def test_arcs_have_constant_speed_and_length():
    start, end = torch.randn(2, 4, 7, dtype=torch.float64)
    points = [slerp(start, end, torch.full((4, 1), t / 10, dtype=torch.float64)) for t in range(11)]
    gaps = torch.stack([(b - a).norm(dim=1) for a, b in zip(points, points[1:])])
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps))
    torch.testing.assert_close(points[4].norm(dim=1), torch.full((4,), math.sqrt(7), dtype=torch.float64))
    torch.testing.assert_close(points[-1] / math.sqrt(7), end / end.norm(dim=1, keepdim=True))
    assert slerp(start, start, torch.full((4, 1), 0.5, dtype=torch.float64)).isfinite().all()


def test_float32_is_enough_and_truncation_shortens_the_paths():
    torch.manual_seed(0)
    model = StyleGAN2(ImageSpec(1, 8, 8), latent_dim=6, width=8, mapping=2).eval()
    found = lengths(model, 64)
    model.set_sampling(truncation=0.5)
    half = lengths(model, 64)
    model.set_sampling()
    kept = model.double().latent
    model.latent = lambda n, generator=None: kept(n, generator).double()
    exact = lengths(model, 64)
    for kind in KINDS:
        torch.testing.assert_close(found[kind], exact[kind], rtol=0.02, atol=1e-3)
    assert half["w"].mean() < 0.7 * found["w"].mean()


def test_the_card_names_the_features_and_what_the_values_depend_on(tmp_path):
    run(tmp_path / "run", "images=16", "samples.every=0", "data.n_test=24", model="stylegan2")
    words = [f"ckpt='{tmp_path / 'run'}'", "metrics=[path_length]", "n=30", "runtime=cpu"]
    values = evaluate(compose("eval", [*words, "features=pixels"]))
    assert set(values) == set(PathLength.values) and all(value > 0 for value in values.values())
    assert evaluate(compose("eval", [*words, "features=pixels", "again=true"])) == values
    (file,) = (tmp_path / "run" / "eval").glob("*-pixels.json")
    facts = json.loads(file.read_text())["protocol"]
    assert facts["features"] == {"name": "pixels", "dim": 64} and facts["path_length_step"] == STEP
    assert facts["images_generated"] == 30 and facts["seed"] == 0 and facts["metrics"] == ["path_length"]
    other = evaluate(compose("eval", [*words, "features=classifier", "features.epochs=1"]))
    assert other["path_length_w"] != values["path_length_w"]
    both = evaluate(compose("eval", [*words[:1], "metrics=[path_length,fid]", *words[2:], "features=pixels"]))
    assert {key: both[key] for key in values} == values and both["fid"] > 0
