"""Everything that trains and scores, on a GPU that is not there: no tensor on another device, no value that is read."""

import contextlib
from collections.abc import Callable

import pytest
import torch
from fake_cuda import FakeCuda, Fused, bf16
from helpers import compose, distinct, options, overrides
from noise import CLASSES, REAL, SIZE, Looking
from torch import Tensor

from gancli import config
from gancli.config import options as options_of
from gancli.config import target_class
from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.base import Loss, Term
from gancli.losses.game import AdversarialLoss
from gancli.losses.penalties import Regularizer
from gancli.losses.stabilizers import Stabilizer
from gancli.metrics import classifier, inception
from gancli.metrics.base import Batch as Scored
from gancli.metrics.base import SetInfo
from gancli.metrics.classifier import Classifier
from gancli.metrics.features import Features
from gancli.metrics.inception import Inception
from gancli.metrics.points import Coordinates, NearestMode
from gancli.metrics.raw import RawPixels
from gancli.metrics.registry import METRICS
from gancli.metrics.stacked import StackedClassifier
from gancli.models.base import Model
from gancli.models.explicit import Explicit
from gancli.models.held_out import HeldOut
from gancli.models.translation import Translation
from gancli.training.build import build
from gancli.training.run import Run

CUDA = torch.device("cuda", 0)
ADVERSARIAL = [n for n, node in options_of("loss").items() if issubclass(target_class(node, Loss), AdversarialLoss)]
GAMES = [name for name in ADVERSARIAL if name != "acgan"]  # those whose model is a DCGAN; acgan's is in MODELS
PARTS = [f"{group}=[{','.join(options(group))}]" for group in ("penalty", "stabilizer")]


def faked(run: Run, fake: FakeCuda) -> Batch:
    """Move the model and the loss of a run to the fake GPU, and return a batch there."""
    fake.module(run.model), fake.module(run.loss)
    return Batch(*(None if each is None else fake.tensor(each) for each in run.loader.next()))


def scalars(term: Term, run: Run, batch: Batch) -> dict[str, Tensor]:
    found = term.fn(run.model, batch)
    assert found and all(each.device == CUDA and each.ndim == 0 for each in found.values())
    return found


@pytest.mark.parametrize("model", distinct())
def test_every_model_with_its_loss(model: str) -> None:
    fake = FakeCuda()
    run = build(compose("train", overrides(model)))
    batch = faked(run, fake)
    with fake.running():
        for step in run.steps:
            for term in step.phase.terms:
                scalars(term, run, batch)
                if not term.second_order:  # as in Step
                    with bf16():
                        scalars(term, run, batch)
            if step.phase.after is not None:
                with torch.no_grad():
                    step.phase.after(run.model)
    draws(run.model.eval(), fake, batch)


def draws(model: Model, fake: FakeCuda, batch: Batch) -> None:
    """Draw images, also under autocast; samplers of pixels, and what looks at a value, are tested elsewhere."""
    for precision in (contextlib.nullcontext(), bf16()):
        with fake.running(strict=False), torch.no_grad(), precision:
            if isinstance(model, Translation):
                found = model.translate(batch.image if batch.source is None else batch.source, model.directions[0])
            elif isinstance(model, Explicit):
                return
            else:
                found = model.sample(4, label=None if batch.label is None else batch.label[:4])
            assert found.device == CUDA and found.shape[1:] == batch.image.shape[1:]


@pytest.mark.parametrize("name", options("optimizer"))
def test_every_optimizer_takes_a_rate_from_the_memory_of_a_graph(name: str) -> None:
    """No update reads it, which a recording would refuse."""
    fake = FakeCuda()
    run = build(compose("train", overrides("dcgan", f"optimizer={name}")))
    faked(run, fake)
    with fake.running(strict=False), Fused():
        rate = torch.full((), 1e-3, device=CUDA)
        for step in run.steps:
            for network, group in zip(step.phase.networks, step.optimizer.param_groups):
                group["params"] = list(run.model.get_submodule(network).parameters())
                group |= {"lr": rate} | ({"capturable": True} if "capturable" in group else {})
                for parameter in group["params"]:
                    parameter.grad = torch.empty_like(parameter)
            for _ in range(2):
                step.optimizer.step()
            counts = [each["step"] for each in step.optimizer.state.values() if "step" in each]
            assert all(each.device == CUDA for each in counts) and (counts or name == "sgd")


@pytest.mark.parametrize("written", [False, True])
def test_the_moving_average_is_computed_on_the_gpu(written: bool) -> None:
    fake = FakeCuda()
    run = build(compose("train", overrides("dcgan")))
    ema = run.ema
    for name in ("sources", "targets"):
        setattr(ema, name, [fake.tensor(each) for each in getattr(ema, name)])
    ema.copied = [(fake.tensor(source), fake.tensor(target)) for source, target in ema.copied]
    assert ema.copied
    with fake.running():
        ema.compute(torch.full((), 0.1, device=CUDA) if written else 0.1)


@pytest.fixture(scope="module")
def game() -> Run:
    return build(compose("train", overrides("dcgan", *PARTS)))


@pytest.fixture(scope="module")
def batch(game: Run) -> Batch:
    return faked(game, FakeCuda())


@pytest.mark.parametrize("name", GAMES)
def test_every_loss_with_every_penalty_and_every_stabilizer(name: str, game: Run, batch: Batch) -> None:
    """Each stabilizer and each penalty alone; one of the losses has all of them at once, too."""
    node, nodes = config.plain(options_of("loss")[name]), config.plain(game.cfg.loss)
    fake, taken = FakeCuda(), {}
    fake.mode = batch.image.fake_mode

    def built(penalties: list[str], stabilizers: list[str]) -> Loss:
        parts = {
            "penalties": {key: config.instantiate(nodes["penalties"][key], Regularizer) for key in penalties},
            "stabilizers": {key: config.instantiate(nodes["stabilizers"][key], Stabilizer) for key in stabilizers},
        }
        return fake.module(config.instantiate(node, Loss, **parts))

    for key in nodes["stabilizers"]:
        with contextlib.suppress(UsageError, ValueError):  # a loss without labels, or without a threshold
            taken[key] = built([], [key])
    assert taken and len(nodes["penalties"]) > 5
    both = [built([*nodes["penalties"]], [*taken])] if name == "hinge" else []
    for loss in (*taken.values(), built([*nodes["penalties"]], []), *both):
        with fake.running():
            for phase in loss.phases(game.model):  # each penalty is a term of its own
                for term in phase.terms:
                    scalars(term, game, batch)
                if phase.after is not None:
                    with torch.no_grad():
                        phase.after(game.model)


def a_cpu_tensor(score: Tensor) -> Tensor:
    return torch.ones(len(score)).to(score.device) * score


def a_value(score: Tensor) -> Tensor:
    return score / score.abs().max().item()


def another_device(score: Tensor) -> Tensor:
    return score * WEIGHTS


WEIGHTS = torch.ones(8)


@pytest.mark.parametrize(
    "wrong, says",
    [
        (a_cpu_tensor, "on the CPU"), (a_value, "item|_local_scalar_dense"), (another_device, "device|[Ff]ake"),
        (lambda score: score[score > 0], "nonzero|data.dependent|DynamicOutputShape"),
    ],
)  # fmt: skip
def test_a_fake_gpu_can_fail(wrong: Callable[[Tensor], Tensor], says: str, game: Run, batch: Batch) -> None:
    fake = FakeCuda()
    fake.mode = batch.image.fake_mode
    term = Term(lambda model, batch: {"wrong": wrong(model.score(batch.image)).mean()})
    with pytest.raises((AssertionError, RuntimeError, TypeError), match=says) as error, fake.running():
        scalars(term, game, batch)
    assert error.type is not TypeError or "argument" not in str(error.value)


def test_every_statistic_takes_a_batch_of_the_gpu() -> None:
    kinds = {each for metric in METRICS.values() for needed in metric.needs.values() for each in needed}
    fake = FakeCuda()
    images = torch.zeros(32, 1, SIZE, SIZE, dtype=torch.uint8)
    labels, nats = torch.zeros(32, dtype=torch.int64), torch.zeros(32)
    tensors = (images, torch.zeros(32, SIZE * SIZE), torch.zeros(32, CLASSES), labels, nats)
    likelihood = HeldOut(lambda image, label: nats, kind="bound", levels=256, k=1)
    said = {"elbo": torch.zeros(32, 2), "iwae": nats, "latents": torch.zeros(32, 4)}
    said |= {"codes": torch.zeros(32, 5), "errors": torch.zeros(32, 2), "code_nats": torch.zeros(32, 2)}
    said = {name: fake.tensor(each) for name, each in said.items()}
    steps = {"w": fake.tensor(nats), "z": fake.tensor(nats)}
    batch = Scored(*map(fake.tensor, tensors), likelihood, steps, said)
    assert len(kinds) > 10
    for kind in sorted(kinds, key=lambda each: each.__name__):
        with fake.running(strict=False):
            statistic = kind.of(SetInfo(64, SIZE * SIZE, CLASSES, CUDA))
            statistic.add(batch), statistic.add(batch)


def coordinates(fake: FakeCuda, kind: type[Coordinates]) -> Features:
    features = kind()
    features.dim, features.device = 2, CUDA
    features.centres, features.std = fake.tensor(torch.zeros(5, 2)), fake.tensor(torch.zeros(5))
    return features


def classifying(fake: FakeCuda) -> Classifier:
    features = Classifier()
    features._net, features._device = fake.module(classifier.network(REAL.spec, 0)).eval(), CUDA
    return features


def raw(fake: FakeCuda) -> Features:
    features = RawPixels()
    features.dim, features.classes, features._device = SIZE * SIZE, 0, CUDA
    return features


def stacked(fake: FakeCuda) -> Features:
    features = StackedClassifier()
    features.grey = classifying(fake)
    return features


def looking(fake: FakeCuda, preproc: str) -> Features:
    features = Inception.__new__(Inception)
    with fake.mode, torch.device("cuda"):
        features._net = inception._pytorch_fid().FIDInceptionA(192, pool_features=32).eval()
    features._net.forward = lambda x: x.mean((1, 2, 3))[:, None].expand(-1, 2048)  # the network is pytorch-fid's
    features._device, features.preproc = CUDA, preproc
    features._unbiased = fake.tensor(torch.zeros(1008, 2048))
    return features


EXTRACTORS = {
    "points": (lambda fake: coordinates(fake, Coordinates), torch.zeros(6, 2, 1, 1)),
    "modes": (lambda fake: coordinates(fake, NearestMode), torch.zeros(6, 2, 1, 1)),
    "classifier": (classifying, torch.zeros(6, 1, SIZE, SIZE, dtype=torch.uint8)),
    "pixels": (raw, torch.zeros(6, 1, SIZE, SIZE, dtype=torch.uint8)),
    "stacked": (stacked, torch.zeros(6, 3, SIZE, SIZE, dtype=torch.uint8)),
    "inception": (lambda fake: looking(fake, "pytorch_fid"), torch.zeros(6, 1, 8, 8, dtype=torch.uint8)),
    "inception of TensorFlow": (lambda fake: looking(fake, "tf"), torch.zeros(6, 1, 8, 8, dtype=torch.uint8)),
}


@pytest.mark.parametrize("of_host", [False, True])
@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_takes_images_of_the_gpu_and_of_the_host(name: str, of_host: bool) -> None:
    fake = FakeCuda()
    make, images = EXTRACTORS[name]
    features = make(fake)
    given = fake.mode.from_tensor(images) if of_host else fake.tensor(images)
    with fake.running(strict=False):
        found = features(given)
    assert all(each.device == CUDA and len(each) == len(images) for each in found)


def test_the_extractors_are_all_of_them() -> None:
    assert {name.split()[0] for name in EXTRACTORS} == set(options("features"))


def test_the_features_of_the_tests_have_the_shapes_of_their_statistics() -> None:
    features, logits = Looking()(torch.from_numpy(REAL.pixels[:3]))
    assert features.shape == (3, SIZE * SIZE) and logits.shape == (3, CLASSES)
