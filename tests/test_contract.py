"""What every option of conf/ must do, tested by existing: a new model, loss or dataset is covered by its yaml alone."""

import pytest
import torch
from helpers import NoHostSync, compose, distinct, drawn, options, overrides, run, tensors

from gancli.config import options as options_of
from gancli.config import target_class
from gancli.errors import UsageError
from gancli.losses.base import Loss
from gancli.models.autoregressive import Autoregressive
from gancli.models.base import Model
from gancli.models.pixel_sampling import Given
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.ema import EMA
from gancli.training.loop import train
from gancli.training.turn import run_turn

MODELS = options("model")
CLASSES = {name: target_class(node, Model) for name, node in options_of("model").items()}
TRAINED = [name for name in MODELS if CLASSES[name].sampled]  # the others are fitted before the first step
DISTINCT = [name for name in TRAINED if name in distinct()]  # for what takes a while
KINDS = [*{CLASSES[name]: name for name in reversed(MODELS)}.values()]  # one of each class: x, not x_paper


@pytest.mark.parametrize("model", TRAINED)
def test_two_steps_change_exactly_the_networks_of_their_phase(model):
    """In the first turn not all of them: layers before one that starts at zero have no gradient yet."""
    parts = build(compose("train", overrides(model)))
    for turn in range(2):
        for step in parts.steps:
            before = {k: v.clone() for k, v in parts.model.named_parameters()}
            step(parts.loader.next())
            for name, p in parts.model.named_parameters():
                changed, inside = not torch.equal(p, before[name]), name.split(".")[0] in step.phase.networks
                assert (changed == inside) if turn else (changed <= inside), f"{name} in phase {step.phase.name}"


@pytest.mark.parametrize("model", MODELS)
def test_samples_have_the_shape_the_range_and_depend_on_the_seed_alone(model):
    parts = build(compose("train", overrides(model)))
    with EMA(parts.model, 0).sampling() as net:
        one, again, other = (drawn(net, 3, s) for s in (1, 1, 2))
    assert one.shape == (3, *parts.model.spec.shape) and one.dtype == torch.float32 and one.abs().max() <= 1
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("model", [name for name in MODELS if issubclass(CLASSES[name], Autoregressive)])
def test_all_samplers_of_a_model_of_pixels_in_order_draw_the_same_images(model):
    net = build(compose("train", overrides(model))).model.double().eval()
    torch.manual_seed(0)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)  # fresh weights hardly look at other pixels
    noise, label = net.noise(3), net.labels(3)
    given = Given(net.likelihood.snap(torch.rand(3, *net.spec.shape) * 2 - 1).double(), torch.rand(8, 8) < 0.3)
    for temperature, known in ((1.0, None), (0.7, given)):
        net.temperature = temperature
        naive, *others = (net.from_noise(noise, label, sampler=s, given=known) for s in net.SAMPLERS)
        assert len(naive.unique(dim=0)) == 3 and all(torch.equal(naive, each) for each in others)


@torch.no_grad()
@pytest.mark.parametrize("model", [name for name in MODELS if getattr(CLASSES[name], "bounded", False)])
def test_bounds_grow_with_the_codes_and_samples_are_decoded_from_the_prior(model):
    parts = build(compose("train", overrides(model)))
    net, batch = parts.model, parts.loader.next()
    label, n = (batch.label if net.conditional else None), len(batch.image)
    posterior = net.encode(batch.image, label, 2)
    assert posterior.cost.shape == (n,) and len(posterior.z) == 2 * n
    assert not net.groups or torch.allclose(posterior.stats["groups"].sum(1), posterior.cost)
    torch.nn.init.normal_(next(net.decoder.parameters()), std=3)  # a fresh decoder hardly looks at its code
    codes = 1 if net.certain else 200
    elbo = torch.stack([net.bound(batch.image, label) for _ in range(codes)]).mean()
    few, many = (torch.stack([net.bound(batch.image, label, k) for _ in range(codes)]).mean() for k in (8, 64))
    assert (elbo == few == many < 0) if net.certain else (elbo < few < many <= 0)
    drawn = net.sample(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn, net.picture(net.prior(3, torch.Generator().manual_seed(5))))


@pytest.mark.parametrize("model", DISTINCT)
def test_nothing_in_a_step_waits_for_the_device(model, tmp_path):
    class Silent:
        def add(self, scalars):
            self.last = scalars

    parts = build(compose("train", overrides(model, "optimizer=adam")))
    with NoHostSync():
        run_turn(parts, Silent(), measure=True)
        run_turn(parts, Silent(), measure=False)
    assert parts.images > 0


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.item(), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: torch.equal(x, x),
        lambda x: x.long().bincount(), lambda x: x.unique(), lambda x: x.masked_select(x > 0),
    ],
)  # fmt: skip
def test_the_guard_against_waiting_can_fail(waits):
    with pytest.raises(AssertionError, match="waits"), NoHostSync():
        waits(torch.ones(1))


@pytest.mark.parametrize("model", distinct())
def test_a_checkpoint_rebuilds_the_model_that_was_saved(model, tmp_path):
    fast = ["optimizer=adam", "optimizer.lr=0.1", "ema.half_life=10k"]  # fast enough for the average to lag
    run(tmp_path, "images=32", *fast, model=model)
    saved = checkpoint.load(tmp_path)
    ema, raw = (checkpoint.rebuild(tmp_path, ema=flag) for flag in (True, False))
    for net, key in ((ema, "ema"), (raw, "model")):
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        state = net.state_dict()
        assert all(torch.equal(state[k], v) for k, v in saved.state[key].items())
    if model in TRAINED:
        assert not torch.equal(*(drawn(m, 256, 0) for m in (ema, raw)))


@pytest.mark.parametrize("model", DISTINCT)
def test_stopping_and_resuming_equals_one_run_bit_for_bit(model, tmp_path):
    """N + M images in one go against N, kill, M: every tensor of the checkpoint, with grids on the way."""
    more = [
        "images=88", "checkpoint.every=32", "samples.every=40", "log.every=24", "data.flip=true", "ema.half_life=50",
        "schedule.warmup=80", "doctor.every=0",
    ]  # fmt: skip
    run(tmp_path / "whole", "checkpoint.keep=9", *more, model=model)
    cfg = compose("train", overrides(model, *more))
    parts = build(cfg)  # the first part, then gone without a word: as if killed right after its checkpoint

    class Silent:
        def add(self, scalars): ...

    while parts.images < 64:  # in the second epoch
        run_turn(parts, Silent(), measure=True)
    checkpoint.save(tmp_path / "parts" / "checkpoints" / checkpoint.name(64), parts.state())
    torch.manual_seed(999)  # whatever the next process starts from
    run(tmp_path / "parts", f"resume={tmp_path / 'parts'}", *more, model=model)
    whole, resumed = (tensors(checkpoint.load(tmp_path / name).state) for name in ("whole", "parts"))
    assert whole.keys() == resumed.keys() and len(whole) > 20
    assert [k for k in whole if not torch.equal(whole[k], resumed[k])] == []


@pytest.mark.parametrize("name", options("loss"))
def test_every_loss_trains_a_model_of_its_family(name, tmp_path):
    family = target_class(options_of("loss")[name], Loss).family
    fitting = [name for name in TRAINED if issubclass(CLASSES[name], family)]
    model = min(fitting, key=lambda each: getattr(CLASSES[each], "certain", False))  # elbo is for codes that are drawn
    values = run(tmp_path, f"loss={name}", "images=32", model=model)
    assert any(key.startswith("loss/") for key in values)


@pytest.mark.parametrize("name", options("likelihood"))
def test_every_likelihood_trains_and_samples(name, tmp_path):
    binary = "data.binarise=dynamic" if name == "bernoulli" else "data.binarise=null"
    words = [f"likelihood@model.likelihood={name}", binary, "data.bits=4", "images=32"]
    values = run(tmp_path, *words, model="vae_conv" if name == "logistic" else "pixelcnn")  # a scale of a whole image
    assert 0 < values.get("loss/nll", values.get("loss/elbo")) < 64 * 8
    assert len(list((tmp_path / "samples").glob("*.png"))) >= 4  # two views, before and after


PARTS = [  # the last takes what a style-based generator alone has, too
    ("penalty", "penalties", "dcgan"), ("stabilizer", "stabilizers", "dcgan"),
    ("generator_penalty", "generator_penalties", "stylegan2"),
]  # fmt: skip


@pytest.mark.parametrize("group, key, model", PARTS)
def test_every_penalty_and_stabilizer_trains_alone_and_with_all_the_others(group, key, model, tmp_path):
    for choice in (*options(group), ",".join(options(group))):
        cfg = compose("train", overrides(model, f"{group}=[{choice}]", "images=16"))
        assert sorted(cfg.loss[key]) == sorted(choice.split(","))  # each yaml goes where its name says
        assert all(value == value for value in train(cfg, tmp_path / choice).values())


@pytest.mark.parametrize("name", options("optimizer"))
def test_every_optimizer_steps(name, tmp_path):
    assert run(tmp_path, f"optimizer={name}", "optimizer.overrides.discriminator.lr=1e-5", "images=32")


def test_a_loss_of_another_family_is_refused_with_those_that_fit(monkeypatch):
    from gancli.losses import adversarial

    class Other(torch.nn.Module):
        pass

    monkeypatch.setattr(adversarial.NonSaturating, "family", Other)
    with pytest.raises(UsageError, match="its losses are: .*minimax"):
        build(compose("train", overrides("dcgan", "loss=nonsaturating")))


RUNTIME = ["runtime.precision=bf16", "runtime.channels_last=true", "accumulate=2", "clip=1.0"]


@pytest.mark.parametrize("model", KINDS)
def test_runtime_choices_train(model, tmp_path):
    """All at once: what one of them breaks is broken then, too."""
    values = run(tmp_path, "images=16", *RUNTIME, model=model)
    assert all(v == v for v in values.values())


@pytest.mark.parametrize("choice", RUNTIME)
@pytest.mark.parametrize("model", ["dcgan", "pixelcnn", "vae", "cyclegan"])
def test_each_runtime_choice_trains_alone(model, choice, tmp_path):
    """One model of each family."""
    values = run(tmp_path, "images=16", choice, model=model)
    assert all(v == v for v in values.values())


@pytest.mark.parametrize(
    "wrong, says",
    [
        ("model.width=0", "must be 1 or more"),
        ("model.latent_dim=0", "must be 1 or more"),
        ("loss.repeat=0", "repeat=0"),
        ("optimizer.lr=-1", "learning rate"),
        ("schedule=linear schedule.start=1", "start=1"),
        ("schedule.warmup=-5", "warmup=-5"),
        ("schedule=goodfellow2014 schedule.ramp=0", "ramp=0"),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_written(wrong, says):
    with pytest.raises(UsageError, match=says) as error:
        build(compose("train", overrides("dcgan") + wrong.split()))
    assert "\n" not in str(error.value)
