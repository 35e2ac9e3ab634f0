"""Networks that grow: when, continuously, with what they do not use at rest, and the same after a resume."""

import copy
import math

import pytest
import torch
from helpers import NoHostSync, compose, overrides, tensors
from torch import nn

from gancli.data.spec import Batch, ImageSpec
from gancli.models.growing import GrowingGAN, Growth, Stage
from gancli.models.progan import ProGAN
from gancli.models.stylegan import StyleGAN
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.loop import train
from gancli.training.turn import run_turn

GROWING = {"progan": ProGAN, "stylegan": StyleGAN}
STYLES = {"mapping": 2, "start": 4}  # all three levels of 16 pixels, from 4 on
SIZES = {
    "progan": ["model.width=4", "model.max_width=8", "model.latent_dim=8"],
    "stylegan": ["model.width=4", "model.max_width=8", "model.latent_dim=8", "model.mapping=2", "model.start=4"],
}


class Silent:
    def add(self, scalars): ...


def small(name: str, *more: str) -> list[str]:
    """The overrides of a run of 16x16 images (4, 8, 16) whose six parts take 16 images each: 64 of 96 to grow."""
    sizes = [*SIZES[name], "model.grown=0.6666666666666666", "data.size=16", "images=96", *more]
    return [each for each in overrides(name) if not each.startswith("model.")] + [f"model={name}", *sizes]


def net(name: str = "progan", size: int = 16, **more) -> GrowingGAN:
    torch.manual_seed(0)
    more |= STYLES if name == "stylegan" else {}
    model = GROWING[name](ImageSpec(1, size, size), latent_dim=8, width=4, max_width=8, **more)
    for p in model.parameters():
        if p[0].numel() == 1:
            nn.init.normal_(p, std=0.3)  # biases and the strengths of noise begin at 0
    return model


def put(model: GrowingGAN, level: int, fading: bool, alpha: float = 1.0) -> None:
    model.enter(Stage(level, fading))
    for each in (model.grower, model.discriminator):
        each.alpha.fill_(alpha)


def test_the_schedule_is_that_of_the_release():
    """lod = 3 - idx - max(kimg - 400, 0) / 400 within parts of 800,000 images, from 4 to 32 pixels; 20M in all."""
    growth = Growth(4, 0.12)
    for images in range(0, 20_000_000, 50_000):
        index, within = divmod(images, 800_000)
        lod = max(3 - index - max(within / 400_000 - 1, 0), 0)
        stage, alpha = growth.stage(images / 20e6), growth.alpha(images / 20e6)
        if within != 400_000:  # where a fade begins, with weight 0
            assert stage == Stage(3 - math.floor(lod), lod % 1 > 0), images
        assert stage.level - 1 + alpha == pytest.approx(3 - lod, abs=1e-9)
    assert [growth.begins(level) for level in range(4)] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert growth.stage(1.0) == Stage(3, False)


def test_growth_may_begin_later_and_not_at_all():
    growth = Growth(4, 0.4, first=1)
    assert [growth.stage(s) for s in (0, 0.15, 0.25, 0.35, 0.4)] == [
        Stage(1, False), Stage(2, True), Stage(2, False), Stage(3, True), Stage(3, False),
    ]  # fmt: skip
    assert growth.alpha(0.15) == pytest.approx(0.5)
    assert Growth(4, 0.0).stage(0.0) == Stage(3, False) and Growth(4, 0.0).alpha(0.0) == 1
    assert Growth(2, 1.0).stage(1.0) == Stage(1, False)
    assert Growth(4, 0.06).stage(0.06 / 2) == Stage(2, True)  # .03 / .06 * 6 is below 3


@pytest.mark.parametrize("name", GROWING)
def test_nothing_jumps_where_a_stage_ends(name):
    model = net(name).eval()
    z, real = model.latent(4), Batch(torch.rand(4, 1, 16, 16) * 2 - 1)
    ways = [
        (0, False, 1.0),
        (1, True, 0.0),
        (1, True, 1.0),
        (1, False, 1.0),
        (2, True, 0.0),
        (2, True, 1.0),
        (2, False, 1.0),
    ]
    found = {}
    for level, fading, alpha in ways:
        put(model, level, fading, alpha)
        with torch.no_grad():
            fake, shown = model.generate(z), model.present(real).image
            found[level, fading, alpha] = fake, shown, model.score(fake), model.score(shown), model.score(real.image)
    for one, other in (
        ((0, False, 1.0), (1, True, 0.0)), ((1, True, 1.0), (1, False, 1.0)),
        ((1, False, 1.0), (2, True, 0.0)), ((2, True, 1.0), (2, False, 1.0)),
    ):  # fmt: skip
        for a, b in zip(found[one], found[other]):
            assert (a - b).abs().max() < 1e-5
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(found[1, True, 0.0], found[1, True, 1.0]))
    assert torch.equal(found[2, False, 1.0][1], real.image)


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("level", [1, 2])
def test_a_fade_uses_one_branch_at_each_end(name, level):
    model = net(name)
    z, image = model.latent(4), torch.rand(4, 1, 16, 16)
    for alpha in (0.0, 1.0):
        put(model, level, True, alpha)
        for score in (model.generate(z).square().sum(), model.score(image).square().sum()):
            model.zero_grad()
            score.backward()
            for heads in (model.grower.to_image, model.discriminator.from_image):
                low, high = (
                    [p.grad for p in heads[str(each)].parameters() if p.grad is not None] for each in (level - 1, level)
                )
                if not low:  # the other network
                    continue
                unused, used = (low, high) if alpha else (high, low)
                assert not any(g.any() for g in unused) and all(g.any() for g in used)


@pytest.mark.parametrize("name", GROWING)
def test_real_images_are_faded_like_generated_ones(name):
    model = net(name)
    image = torch.rand(3, 1, 16, 16, dtype=torch.float64)
    put(model, 1, True, 0.25)
    shown = model.present(Batch(image)).image
    slow = torch.empty_like(image)
    for i in range(16):
        for j in range(16):
            own = image[:, :, i // 2 * 2 : i // 2 * 2 + 2, j // 2 * 2 : j // 2 * 2 + 2].mean((2, 3))
            low = image[:, :, i // 4 * 4 : i // 4 * 4 + 4, j // 4 * 4 : j // 4 * 4 + 4].mean((2, 3))
            slow[:, :, i, j] = low + 0.25 * (own - low)
    assert (shown - slow).abs().max() < 1e-7


@pytest.mark.parametrize("name", GROWING)
def test_each_part_trains_its_layers_and_leaves_all_others(name):
    """96 images in turns of 8, two per part; in the first turn of a fade its new layers have weight 0 yet."""
    parts = build(compose("train", small(name)))
    stages = []
    while parts.images < parts.total:
        stage = parts.stage
        stages.append(stage)
        before = copy.deepcopy(parts.model.state_dict())
        run_turn(parts, Silent(), measure=False)
        for key, value in parts.model.named_parameters():
            if not in_use(key, stage):
                assert torch.equal(value, before[key]), (key, stage)
            elif len(stages) % 2 == 0:
                assert not torch.equal(value, before[key]), (key, stage)
    assert stages == [Stage(level, f) for level, f in ((0, 0), (1, 1), (1, 0), (2, 1), (2, 0), (2, 0)) for _ in "ab"]


def in_use(key: str, stage: Stage) -> bool:
    """Tell whether a parameter has a gradient in a stage."""
    part, number = [*key.replace(".synthesis", "").split("."), ""][1:3]
    if part in ("to_image", "from_image"):
        return int(number) == stage.level or (stage.fading and int(number) == stage.level - 1)
    if part != "blocks":
        return True
    return int(number) < stage.level + ("synthesis" in key)  # StyleGAN's first block is the smallest level


@pytest.mark.parametrize("name", GROWING)
def test_the_optimizers_start_anew_twice_per_level(name):
    parts = build(compose("train", small(name, "batch_size=4")))
    counts = []
    while parts.images < parts.total:
        run_turn(parts, Silent(), measure=False)
        states = [max((int(s["step"]) for s in step.optimizer.state.values()), default=0) for step in parts.steps]
        counts.append(states)
    assert [c[0] for c in counts] == [1, 2, 3, 0] * 4 + [*range(1, 9)]
    assert all(a == b for a, b in counts)


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("at", [24, 32, 48, 56])
def test_a_wordsresumes_bit_for_bit_within_a_fade_and_at_its_ends(name, at, tmp_path):
    words = small(name, "ema.half_life=50")
    train(compose("train", words), tmp_path / "whole")
    parts = build(compose("train", words))
    while parts.images < at:
        run_turn(parts, Silent(), measure=True)
    checkpoint.save(tmp_path / "parts" / "checkpoints" / checkpoint.name(at), parts.state())
    rebuilt = parts.runtime.place(checkpoint.rebuild(tmp_path / "parts"))  # formats of memory round differently
    z = rebuilt.latent(2)
    with parts.ema.sampling() as averaged:
        assert torch.equal(averaged.generate(z), rebuilt.generate(z))
    torch.manual_seed(999)
    train(compose("train", [*words, f"resume={tmp_path / 'parts'}"]), tmp_path / "parts")
    whole, resumed = (tensors(checkpoint.load(tmp_path / part).state) for part in ("whole", "parts"))
    assert whole.keys() == resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


@pytest.mark.parametrize("name", GROWING)
def test_the_average_is_in_the_stage_of_the_trained_networks_and_nothing_waits(name):
    parts = build(compose("train", small(name, "optimizer=adam")))
    seen = set()
    while parts.images < parts.total:
        with NoHostSync():
            run_turn(parts, Silent(), measure=True)
        raw, averaged = parts.model.grower, parts.ema.model.grower
        assert raw is not averaged and raw.stage == averaged.stage == parts.model.discriminator.stage
        assert torch.equal(raw.alpha, averaged.alpha)
        assert raw.alpha.item() == pytest.approx(parts.model.growth.alpha(parts.images / 96))
        seen.add(raw.alpha.item())
    assert seen == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("name", GROWING)
def test_what_has_grown_stays_in_a_longer_run(name, tmp_path):
    parts = build(compose("train", small(name)))
    while parts.images < 56:
        run_turn(parts, Silent(), measure=False)
    assert parts.stage == Stage(2, True)
    path = tmp_path / "checkpoints" / checkpoint.name(56)
    checkpoint.save(path, parts.state())
    longer = build(compose("train", small(name, "images=960", f"resume={path}")))
    longer.restore(checkpoint.load(path))
    run_turn(longer, Silent(), measure=False)
    assert longer.stage == Stage(2, True) and longer.model.grower.alpha.item() == 0.5
    shorter = build(compose("train", small(name, "images=72", f"resume={path}")))
    shorter.restore(checkpoint.load(path))
    assert shorter.stage == Stage(2, False) and shorter.ema.model.grower.alpha.item() == 1
