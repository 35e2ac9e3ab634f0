"""What the doctor measures: against closed forms, on generators whose images are known, and without a trace."""

import math

import numpy as np
import pytest
import torch
from helpers import NoHostSync, compose, overrides, tensors
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.data.digits import Digits
from gancli.data.spec import ImageSpec
from gancli.losses.adversarial import LSGAN, Hinge, Minimax, NonSaturating, Wasserstein
from gancli.losses.fgan import DIVERGENCES, FGAN
from gancli.losses.relativistic import Relativistic
from gancli.models.base import Adversarial
from gancli.training.build import build
from gancli.training.doctor import measurements as module
from gancli.training.doctor.measurements import Measurements, N, ahead, flat, steepness
from gancli.training.runtime import Runtime
from gancli.training.turn import run_turn

CPU = Runtime(torch.device("cpu"))
TRAIN = Digits().split("train")


class Given(Adversarial):
    """Draws from given images, (M, C, H, W), in order; scores an image by its brightness."""

    def __init__(self, images: torch.Tensor, conditional: bool = False) -> None:
        super().__init__(ImageSpec(1, 8, 8, num_classes=10))
        self.conditional, self.images = conditional, images
        self.generator, self.discriminator = nn.Linear(1, 1), nn.Linear(1, 1)

    def latent(self, n, generator=None):
        self.drawn = getattr(self, "drawn", 0) + n
        return torch.arange(self.drawn - n, self.drawn)

    def generate(self, z, label=None):
        return self.images[label if self.conditional else z % len(self.images)]

    def score(self, image, label=None):
        return image.mean((1, 2, 3))


def real(rows) -> torch.Tensor:
    return torch.from_numpy(TRAIN.pixels[rows]).float() / 127.5 - 1


def examine(images: torch.Tensor, train=TRAIN, held_out=None, loss=None, conditional=False) -> dict[str, float]:
    model = Given(images, conditional)
    found = Measurements(model, loss or NonSaturating(), train, held_out, CPU, 32)(0.5)
    return {key.removeprefix("doctor/"): value.item() for key, value in found.items()}


def heaps(count: int, noise: float) -> torch.Tensor:
    torch.manual_seed(0)
    return real(slice(0, count)).repeat(N // count, 1, 1, 1) + noise * torch.randn(N, 1, 8, 8)


def test_real_images_that_the_doctor_does_not_know_look_real():
    unknown = Digits().split("test")
    found = examine(torch.from_numpy(unknown.pixels).float() / 127.5 - 1)
    assert 0.9 < found["spread"] < 1.1 and 0.8 < found["nearest"] < 1.25 and found["classes"] > 0.9
    assert found["copies"] < 0.03 and found["duplicates"] < 0.03 and 0.8 < found["distance"] < 1.2


def test_copies_of_training_images():
    found = examine(real(slice(500, 700)))
    assert found["copies"] == 1 and found["distance"] < 1e-3 and found["duplicates"] < 0.03
    assert examine(real(slice(500, 700)) + 0.01)["copies"] > 0.9


def test_copies_are_scaled_up_from_the_images_looked_through(monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 400)
    shown = real(np.random.RandomState(5).permutation(len(TRAIN))[:N])  # a fair sample of all 1,366
    assert examine(shown)["copies"] == pytest.approx(1.0, abs=0.4)


def test_one_image_for_all_latents():
    found = examine(real([7]))
    assert found["spread"] < 1e-3 and found["duplicates"] == 1 and found["classes"] == pytest.approx(0.1, abs=0.01)


def test_heaps_are_near_neighbours_far_apart():
    found = examine(heaps(4, 0.02))
    assert found["duplicates"] == 1 and found["nearest"] < 0.25 * found["spread"] and found["spread"] > 0.5


def test_a_missing_variety_of_classes_is_their_entropy():
    ones = real(np.flatnonzero(TRAIN.labels == 1))
    assert examine(ones)["classes"] < 0.2  # nearest neighbours of a one are ones, nearly all
    half = real(np.flatnonzero(TRAIN.labels < 5))
    assert examine(half)["classes"] == pytest.approx(0.5, abs=0.1)


def test_distances_by_hand():
    """Pairs and nearest neighbours of few images against loops in float64."""
    images = real(slice(0, N)) * 0.7
    x = flat(images).double()
    distance = torch.stack([torch.stack([(a - b).norm() for b in x]) for a in x])
    order = np.random.RandomState(0).permutation(len(TRAIN))
    known = flat(real(order)).double()
    base = torch.cdist(known[:N], known[:N])

    def nearest(d):
        return (d + torch.diag(torch.full((len(d),), math.inf))).min(1).values

    found = examine(images)
    assert found["spread"] == pytest.approx((distance.sum() / base.sum()).item(), rel=1e-4)
    expected = nearest(distance).sort().values[(N - 1) // 2] / nearest(base).sort().values[(N - 1) // 2]
    assert found["nearest"] == pytest.approx(expected.item(), rel=1e-3)


def test_a_conditional_model_is_compared_within_its_classes():
    """One image per class: variety over all, none within a class; the histogram of given labels says nothing."""
    each = real([int(np.flatnonzero(TRAIN.labels == c)[0]) for c in range(10)])
    found = examine(each, conditional=True)
    assert found["spread"] < 1e-3 and found["duplicates"] == 1 and "classes" not in found
    assert examine(each)["spread"] > 0.5


@pytest.mark.parametrize("shape", [(3, 40, 24), (1, 8, 8)])
def test_pictures_are_averaged_down_to_sixteen_pixels(shape):
    images = torch.randn(5, *shape)
    assert flat(images).shape == (5, shape[0] * min(shape[1], 16) * min(shape[2], 16))
    if shape[1] == 8:
        assert torch.equal(flat(images), images.flatten(1))


def test_ahead_is_the_area_under_the_roc_curve():
    high, low = torch.randn(40).round(decimals=1) + 0.3, torch.randn(30).round(decimals=1)
    expected = roc_auc_score([1] * 40 + [0] * 30, torch.cat([high, low]).numpy())
    assert ahead(high, low).item() == pytest.approx(expected, abs=1e-6)
    assert ahead(torch.zeros(5), torch.zeros(3)).item() == 0.5


def test_surprise_and_feedback_of_the_first_gan_are_its_own_probabilities():
    """With D = sigmoid(s): slopes 1 - D(x) and D(G(z)) of D's loss, D of the saturating generator's."""
    r, f = torch.tensor([0.5, 2.0]), torch.tensor([-1.0, -3.0])
    certain = ((1 - r.sigmoid()).mean() + f.sigmoid().mean()) / 2
    pays = {loss: steepness(loss.discriminator_loss, (r, f), (0, 1)) for loss in (Minimax(), NonSaturating())}
    assert all(value.item() == pytest.approx(certain.item(), rel=1e-6) for value in pays.values())
    assert steepness(Minimax().generator_pays, (r, f), (1,)).item() == pytest.approx(f.sigmoid().mean().item())
    assert steepness(NonSaturating().generator_pays, (r, f), (1,)).item() == pytest.approx((-f).sigmoid().mean().item())


LOSSES = {
    "minimax": Minimax(), "nonsaturating": NonSaturating(), "lsgan": LSGAN(), "pearson": LSGAN(-1, 1, 0),
    "hinge": Hinge(), "wasserstein": Wasserstein(),
    **{v: Relativistic(v) for v in ("rsgan", "rasgan", "ralsgan", "rahinge")},
    **{f"fgan-{d}-{g}": FGAN(d, g) for d in DIVERGENCES for g in ("literal", "alternative")},
}  # fmt: skip


def asked(loss, real: torch.Tensor, fake: torch.Tensor) -> tuple[float, float]:
    examination = Measurements(Given(torch.zeros(1, 1, 8, 8)), loss, TRAIN, None, CPU, 32)
    return examination._surprise(real, fake).item(), examination._feedback(real, fake).item()


@pytest.mark.parametrize("name", LOSSES)
def test_an_undecided_discriminator_is_all_surprise_under_every_loss(name):
    loss = LOSSES[name]
    level = torch.full((8,), loss.threshold)
    surprise, feedback = asked(loss, level, level)
    assert surprise == pytest.approx(1) and 0 <= feedback <= 1


@pytest.mark.parametrize(
    "name", ["minimax", "nonsaturating", "hinge", "rsgan", "rasgan", "rahinge", "fgan-gan-literal"]
)
def test_a_certain_discriminator_is_not_surprised(name):
    surprise, feedback = asked(LOSSES[name], torch.full((8,), 9.0), torch.full((8,), -9.0))
    assert surprise < 1e-3
    assert (feedback < 1e-3) == (name in ("minimax", "fgan-gan-literal"))  # the only ones that saturate


def test_a_critic_is_never_content_and_least_squares_are_at_their_labels():
    assert asked(LOSSES["wasserstein"], torch.full((8,), 99.0), torch.full((8,), -99.0)) == (1, 1)
    surprise, feedback = asked(LOSSES["lsgan"], torch.ones(8), torch.zeros(8))
    assert surprise == 0 and feedback > 0.5
    surprise, feedback = asked(LOSSES["pearson"], torch.ones(8), -torch.ones(8))
    assert surprise == 0 and feedback == 1


def test_known_compares_training_images_with_held_out_ones():
    """The stand-in's score is brightness: a darker held-out split is told from the training images."""
    darker = Digits().split("validation")
    darker.pixels[:] = darker.pixels // 8
    assert examine(real([0]), held_out=darker)["known"] > 0.95
    assert 0.35 < examine(real([0]), held_out=Digits().split("validation"))["known"] < 0.65
    assert "known" not in examine(real([0]))


def test_few_images_are_no_crowd():
    from dataclasses import replace

    few = replace(TRAIN, pixels=TRAIN.pixels[:9], labels=TRAIN.labels[:9])
    assert {"auc", "surprise"} < examine(real([0]), train=few).keys() and "spread" not in examine(real([0]), train=few)


@pytest.mark.parametrize("model", ["dcgan", "sngan", "mlp_gan", "cgan", "wgan_gp", "pixelcnn"])
def test_an_examination_waits_for_nothing_and_leaves_no_trace(model):
    """Batch norm's statistics, the power iterations, dropout's and the latents' generator: all as they were."""
    parts = build(compose("train", overrides(model, "stabilizer=[instance_noise]" if "gan" in model else "seed=0")))

    class Silent:
        def add(self, scalars): ...

    run_turn(parts, Silent(), measure=False)
    before = {k: v.clone() for k, v in tensors(parts.state()).items()}
    with NoHostSync():
        found = parts.measurements.measure(0.5)
    after = tensors(parts.state())
    assert before.keys() == after.keys() and [k for k in before if not torch.equal(before[k], after[k])] == []
    assert all(torch.isfinite(value) and value.ndim == 0 for value in found.values())
    assert ({"doctor/spread", "doctor/auc", "doctor/known"} if "gan" in model else {"doctor/nats"}) <= found.keys()


def test_an_examination_that_leaves_a_trace_would_be_seen(monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(module, "unchanged", lambda *modules: nullcontext())
    parts = build(compose("train", overrides("sngan")))
    before = {k: v.clone() for k, v in parts.model.state_dict().items()}
    parts.measurements.measure(0.5)
    assert not all(torch.equal(v, before[k]) for k, v in parts.model.state_dict().items())


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_off_costs_nothing_and_on_costs_no_step_anything(monkeypatch):
    """Operations of a step, counted: the same with the doctor, without, and without a trace of its code."""

    def operations(*more: str) -> int:
        parts = build(compose("train", overrides("dcgan", *more)))

        class Silent:
            def add(self, scalars): ...

        with Counting() as counter:
            for _ in range(3):
                run_turn(parts, Silent(), measure=False)
        return counter.calls

    on = operations("doctor.every=16")
    monkeypatch.setattr("gancli.training.build.Measurements", None)  # whoever builds one fails
    assert operations("doctor.every=0") == on > 100


def test_the_generators_state_is_the_trainings_own():
    parts = build(compose("train", overrides("mlp_gan")))
    before = parts.runtime.rng_state()["cpu"].clone()
    parts.measurements.measure(0.0)
    assert torch.equal(parts.runtime.rng_state()["cpu"], before)
