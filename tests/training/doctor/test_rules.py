"""The rules of the doctor and its history on made-up histories: each alarm fires for its trouble and for no other."""

import json
import re

import pytest
from helpers import compose

from gancli.structure import read_rows
from gancli.training.doctor.history import History
from gancli.training.doctor.rules import MEASURED, RULES, Readings, Rule, Sign

# Of a DCGAN that learned (experiment=doctor/healthy, after 17,000 images).
HEALTHY = {
    "auc": 0.4, "known": 0.55, "surprise": 1.0, "feedback": 0.8, "spread": 0.98, "nearest": 1.1, "duplicates": 0.0,
    "copies": 0.0, "distance": 1.7, "classes": 0.86, "largest_weight": 1.3,
    "codes_alive": 0.7, "codes_used": 1.0, "code_nats": 150.0, "uniform_nats": 237.7,  # these are a VQ-VAE's
}  # fmt: skip
LOGGED = {
    "loss/generator": 0.67, "loss/discriminator": 1.4, "grad_norm/generator": 0.4, "grad_norm/discriminator": 4.0,
    "lr/generator": 1e-3, "lr/discriminator": 1e-4,
}  # fmt: skip

# What is measured then -> the one alarm.
TROUBLES = {
    "explosion": {"loss/discriminator": 2e4},
    "vanishing": {"feedback": 0.01, "surprise": 0.01, "auc": 1.0, "duplicates": 1.0, "nearest": 0.01},
    "discriminator_wins": {"surprise": 0.001, "feedback": 1.3, "auc": 1.0},
    "discriminator_dies": {"auc": 0.02, "surprise": 1.3},
    "collapse": {"duplicates": 0.9, "nearest": 0.05, "spread": 0.5},
    "memorisation": {"copies": 0.6, "distance": 0.1},
    "overfitting": {"known": 0.97},
    "posterior_collapse": {"kl": 0.3, "active_units": 2.0},
    "dead_codes": {"codes_alive": 0.06, "codes_used": 0.1},
    "useless_prior": {"code_nats": 250.0, "uniform_nats": 237.7},
}
MODELS = {"posterior_collapse": "vae", "dead_codes": "vqvae quantiser@model.quantiser=vq", "useless_prior": "vqvae"}
# Other ways to the same alarm.
VARIANTS = [
    ("explosion", {"grad_norm/generator": 5e6}),
    ("explosion", {"largest_weight": 5e3}),
    ("discriminator_dies", {"grad_norm/discriminator": 1e-4, "surprise": 0.9}),
    ("collapse", {"spread": 0.3, "nearest": 0.3}),  # was 0.98
    ("collapse", {"spread": 0.005, "nearest": 0.005}),
    ("collapse", {"classes": 0.2}),  # was 0.86
    ("posterior_collapse", {"kl": 3.0, "active_units": 0.0}),
]


def row(images: int, **changes: float) -> dict[str, float]:
    """Return a row of metrics.jsonl: a healthy one, with changes."""
    plain = {key: value for key, value in changes.items() if "/" in key}
    found = HEALTHY | {key: value for key, value in changes.items() if "/" not in key}
    return {"images": images, **LOGGED, **plain, **{MEASURED + key: value for key, value in found.items()}}


def rows(count: int, start: int = 1, **changes: float) -> list[dict[str, float]]:
    return [row(1000 * (start + i), **changes) for i in range(count)]


def test_a_healthy_history_is_silent():
    history = History(rows(30))
    assert history.alarms == [] and history.summary() == ["doctor: no alarm in 30 examinations"]


@pytest.mark.parametrize("name, changes", [*TROUBLES.items(), *VARIANTS])
def test_each_trouble_raises_its_alarm_and_no_other(name, changes):
    (rule,) = (each for each in RULES if each.name == name)
    history = History(rows(10) + rows(rule.patience - 1, 11, **changes))
    assert history.alarms == []  # not yet: it could be chance
    (began,) = history.add(row(1000 * (10 + rule.patience), **changes))
    assert (began.name, began.since, began.until) == (name, 11_000, None)
    assert [alarm.name for alarm in history.lasting] == [name]
    assert "11,000" in began.line() and began.sign.advice in began.line() and rule.title in began.line()
    assert all(value == value for value in began.sign.evidence.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"feedback": 0.06},
        {"surprise": 0.03, "auc": 1.0},  # a DCGAN that learned: sure, and still learning
        {"surprise": 1.0, "feedback": 1.0, "auc": 1.0},  # any good critic of a Wasserstein GAN
        {"auc": 0.2},
        {"duplicates": 1.0, "nearest": 0.1, "spread": 0.07},  # an MLP's first images: one cloud, not heaps
        {"grad_norm/discriminator": 1e-4, "surprise": 0.1},  # little to learn: a small gradient
        {"copies": 0.2},
        {"known": 0.8},
        {"kl": 1.5, "active_units": 1.0},
        {"loss/generator": 300.0},  # large, and not out of proportion to what matters
    ],
)
def test_what_only_looks_like_trouble_is_silent(changes):
    assert History(rows(12, **changes)).alarms == []


def test_thresholds_from_the_silent_side():
    small = {"grad_norm/discriminator": 0.02, "surprise": 0.9}  # a two hundredth of what it was, not a thousandth
    assert History(rows(10) + rows(8, 11, **small)).alarms == []
    early = [*rows(2), *rows(2, 3, **{"loss/generator": 5e3}), row(5000)]
    assert History(early).alarms == []  # of two examinations nothing is usual yet


def test_a_few_images_of_little_variety_are_how_training_begins():
    """Spread and classes only count against what the run has had."""
    growing = [
        row(1000 * i, spread=0.16 + 0.04 * i, nearest=0.28 + 0.04 * i, classes=0.1 + 0.03 * i) for i in range(20)
    ]
    assert History(growing).alarms == []
    assert [a.name for a in History(growing + growing[:5]).alarms] == ["collapse"]


def test_a_run_that_ends_as_one_blur_has_learned_nothing_yet():
    """As mlp_gan after 20,000 images of MNIST; an alarm says more, and what was learned once is no longer nothing."""
    blur = {"spread": 0.027, "nearest": 0.037, "duplicates": 1.0}
    (line,) = History(rows(4, **blur)).summary()
    assert line.startswith("doctor: nothing learned yet in 4 examinations: generated images differ 2.7% as much")
    assert line.endswith("try more images, such as images=40000")
    assert "nothing learned" not in History(rows(4, spread=0.2, nearest=0.2)).summary()[0]
    assert "vanishing" in History(rows(4, **blur, feedback=0.01)).summary()[0]
    learned = History([*rows(4), *rows(2, 5, **blur)])
    assert learned.summary() == ["doctor: no alarm in 6 examinations"]  # two are no alarm yet
    likelihood = History([{"images": 100, "doctor/nats": 80.0}])
    assert likelihood.summary() == ["doctor: no alarm in 1 examination"]


def test_likelihood_models_overfit_when_held_out_nats_rise_while_training_nats_fall():
    def nats(train: list[float], held: list[float]) -> list[str]:
        made = [
            {"images": i, "loss/nll": a, "doctor/nats": a, "doctor/nats_held_out": b}
            for i, (a, b) in enumerate(zip(train, held))
        ]
        return [alarm.name for alarm in History(made).alarms]

    falling = [90.0 - i for i in range(20)]
    assert nats(falling, [92.0 - i for i in range(20)]) == []
    assert nats(falling, [92.0 - min(i, 8) + 0.8 * max(i - 8, 0) for i in range(20)]) == ["overfitting"]
    assert nats(falling, [92.0 - min(i, 8) for i in range(20)]) == []  # no better is not worse
    assert nats([90.0 - 0.01 * i for i in range(20)], [92.0 + 0.02 * i for i in range(20)]) == []  # less than 1 %
    assert nats([90.0] * 20, [92.0 + i for i in range(20)]) == []  # training has not gained: no overfitting


def test_an_alarm_ends_when_its_sign_was_away_as_long_and_may_come_back():
    bad = TROUBLES["vanishing"]
    history = History(rows(5) + rows(4, 6, **bad) + rows(2, 10))
    assert len(history.lasting) == 1
    (ended,) = history.add(row(12_000))
    assert (ended.since, ended.last, ended.until) == (6000, 9000, 10_000) and history.lasting == []
    assert "until 10,000" in ended.line()
    for each in rows(3, 13, **bad):
        history.add(each)
    assert [(a.since, a.until) for a in history.alarms] == [(6000, 10_000), (13_000, None)]
    assert len(history.summary()) == 2


def test_a_single_good_examination_starts_the_count_anew():
    bad = TROUBLES["vanishing"]
    assert History(rows(2, 1, **bad) + rows(1, 3) + rows(2, 4, **bad)).alarms == []


def test_the_alarm_shows_the_newest_numbers():
    history = History(rows(3, feedback=0.04) + rows(1, 4, feedback=0.001))
    assert history.alarms[0].sign.evidence["feedback"] == 0.001 and history.alarms[0].last == 4000


def test_rows_without_measurements_are_no_examinations():
    evaluation = {"images": 500, "eval/fid": 3.0, "loss/discriminator": 1e9}
    history = History([evaluation] * 9)
    assert (history.examined, history.alarms, history.summary()) == (0, [], [])


def test_the_rules_see_the_past_without_the_present():
    history = Readings()
    for each in rows(2, **{"loss/generator": 1.0}):
        history.add(each)
    history.add({"images": 9, "loss/other": 2.0, "doctor/auc": 0.5})
    assert history.earlier("loss/generator") == [1.0, 1.0] and history.earlier("loss/other") == []
    assert history.now("auc") == [0.5] and history.now("auc", "spread") is None


def test_a_rule_of_ones_own():
    late = Rule("late", "too late", lambda h: Sign("late", {}, "seed=1") if h.row["images"] > 2000 else None, 1)
    assert [a.since for a in History(rows(4), rules=(late,)).alarms] == [3000]


@pytest.mark.parametrize("name, changes", [*TROUBLES.items(), *VARIANTS])
def test_what_is_advised_can_be_typed(name, changes):
    history = History(rows(10) + rows(5, 11, **changes))
    advice = re.sub(r"=\.\.\.", "=1k", history.alarms[0].sign.advice)
    words = re.findall(r"[a-z_.@]+=[\w.+-]+", advice)
    assert words, advice
    for word in words:
        compose("train", [*f"model={MODELS.get(name, 'dcgan')}".split(), word])
    assert "lr=2.5e-05" in advice or "discriminator.lr" not in advice  # a quarter of 1e-4


def test_what_only_helps_a_codebook_is_advised_for_one():
    """FSQ, LFQ and the Gumbel-softmax have no vectors that could restart."""
    advice = History(rows(10) + rows(5, 11, **TROUBLES["dead_codes"])).alarms[0].sign.advice
    general, special = advice.split(", or, for a codebook, ")
    assert general == "more images, fewer codes" and "restart" in special


def test_reading_stops_at_a_torn_line(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert list(read_rows(file)) == []
    file.write_text("".join(json.dumps(each) + "\n" for each in rows(3)) + '{"images": 4000, "doct')
    assert [each["images"] for each in read_rows(file)] == [1000, 2000, 3000]
