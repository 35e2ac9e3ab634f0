"""What the doctor knows: one rule per trouble, each a function of the scalars that a run has written so far.

No torch here: training and ``gancli doctor RUN`` call the same rules on the same numbers. An examination is a row of
metrics.jsonl with ``doctor/`` values. A rule looks at the newest one, and at earlier ones to tell what is new for this
run, and gives a Sign or None; a sign that stays for ``patience`` examinations is an alarm (history.py).

The thresholds are ours. They come from runs on scikit-learn's digits (see tests/test_doctor_recipes.py) and lie between
what was measured in runs that went wrong and in runs that went well; the numbers stand at each rule.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

MEASURED = "doctor/"


class Sign(NamedTuple):
    """What one examination shows."""

    words: str
    evidence: dict[str, float]
    advice: str  # overrides to try first


class Readings:
    """The scalars of all examinations so far, by name."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)
        self.row: Mapping[str, float] = {}  # the newest

    def add(self, row: Mapping[str, float]) -> None:
        self.row = row
        for key, value in row.items():
            self.values[key].append(value)

    def now(self, *keys: str) -> list[float] | None:
        """Return the newest values of found, or None if one was not measured."""
        found = [value for key in keys if (value := self.row.get(MEASURED + key)) is not None]
        return found if len(found) == len(keys) else None

    def earlier(self, key: str) -> list[float]:
        """Return a scalar's values before the newest row."""
        return self.values[key][:-1] if key in self.row else self.values[key]

    def lower(self, network: str, by: float) -> str:
        """Return the override that divides a network's learning rate."""
        rate = self.row.get(f"lr/{network}")
        return f"optimizer.overrides.{network}.lr=" + (f"{rate / by:.2g}" if rate else "<less>")


class Rule(NamedTuple):
    """A trouble and how to see it."""

    name: str
    title: str
    look: Callable[[Readings], Sign | None]
    patience: int  # examinations in a row that must show it


def explosion(history: Readings) -> Sign | None:
    """A loss, a gradient or the largest weight is a thousand times what it was: NaN is in sight."""
    for key in history.row:
        if not key.startswith(("loss/", "grad_norm/", MEASURED + "largest_weight")):
            continue
        value, earlier = abs(history.row[key]), [abs(v) for v in history.earlier(key)]
        usual = median(earlier) if len(earlier) >= 3 else math.inf
        if value > max(1e3 * usual, 1e3):
            return Sign(
                f"{key} is {value:.1e}, and used to be {usual:.1e}: it is on its way to NaN",
                {key: value, "usual": usual},
                "clip=1, or a tenth of the learning rate",
            )
    return None


def vanishing(history: Readings) -> Sign | None:
    """The loss passes less than a twentieth of the discriminator's verdict on to the generator.

    Feedback is the slope of the generator's loss in the scores, relative to that at an undecided discriminator.
    Measured: below 0.02 from 2,000 images on where the generator stood still, 0.06 to 0.4 where it still learned.
    """
    found = history.now("feedback", "auc")
    if found is None or found[0] >= 0.05:
        return None
    return Sign(
        f"the generator hears {found[0]:.1%} of what an undecided discriminator would tell it: its gradient vanishes",
        {"feedback": found[0], "auc": found[1]},
        f"loss=nonsaturating, or a slower discriminator: loss.repeat=1 {history.lower('discriminator', 4)}",
    )


def discriminator_wins(history: Readings) -> Sign | None:
    """The discriminator has no doubt left.

    Surprise is the slope of its loss in the scores, relative to that of one that is undecided. A critic without a
    sigmoid or a margin (Wasserstein) is never satisfied, nor should it be. Measured: 0.0004 where the generator stood
    still, down to 0.07 in DCGANs that learned.
    """
    found = history.now("surprise", "auc", "feedback")
    if found is None or found[0] >= 0.02 or found[2] < 0.05:  # without feedback it is the vanishing gradient
        return None
    return Sign(
        f"the discriminator tells real from generated with {1 - found[0]:.1%} certainty and learns no more",
        {"surprise": found[0], "auc": found[1]},
        f"{history.lower('discriminator', 4)}, stabilizer=instance_noise or penalty=r1",
    )


def discriminator_dies(history: Readings) -> Sign | None:
    """The discriminator is of no use: it holds generated images for the real ones, or its gradient is gone.

    Measured: auc below 0.01 throughout where its learning rate was a hundredth of the generator's; healthy ones swing
    down to 0.2 for an examination.
    """
    found = history.now("auc", "surprise")
    if found is None:
        return None
    auc, surprise = found
    if auc < 0.1:
        return Sign(
            f"the discriminator finds generated images more real than real ones ({1 - auc:.0%} of pairs)",
            {"auc": auc, "surprise": surprise},
            f"a faster discriminator: loss.repeat=2, or {history.lower('generator', 4)}",
        )
    norm, earlier = history.row.get("grad_norm/discriminator"), history.earlier("grad_norm/discriminator")
    if norm is None or not earlier or surprise < 0.5 or norm >= 1e-3 * max(earlier):
        return None
    return Sign(
        f"the discriminator's gradient is {norm:.1e} and was up to {max(earlier):.1e}, though it is not satisfied",
        {"grad_norm/discriminator": norm, "surprise": surprise},
        f"{history.lower('discriminator', 4)}, and no weight decay or clipping of weights this strong",
    )


def collapse(history: Readings) -> Sign | None:
    """Many latents give one image: generated images stand in a few heaps, or have lost the variety they had.

    Spread (of all pairs) and nearest (of nearest neighbours) are distances among generated images relative to those
    among as many real ones; duplicates have a twin nearer than a fifth of what real ones have. Measured: nearest is 1.0
    to 1.7 times spread in DCGANs that learned, 0.3 to 1.5 times in an MLP's first steps, and 0.02 to 0.2 times with 0.6
    to 1.0 duplicates in collapsed ones. A generator that gets no gradient has not collapsed: it has not begun.
    """
    found = history.now("spread", "nearest", "duplicates", "feedback")
    if found is None or found[3] < 0.05:
        return None
    spread, nearest, duplicates, _ = found
    best = max([spread, *history.earlier(MEASURED + "spread")])
    (classes,) = history.now("classes") or [math.inf]
    kinds = max([classes, *history.earlier(MEASURED + "classes")])
    evidence = {"spread": spread, "nearest": nearest, "duplicates": duplicates}
    if nearest < 0.25 * spread and duplicates > 0.5:
        words = f"{duplicates:.0%} of the generated images have a twin: the generator knows few images"
    elif spread < 0.01 or (best > 0.5 and spread < 0.4 * best):
        words = f"generated images differ {spread:.1%} as much as real ones (at best it was {best:.1%})"
    elif math.isfinite(kinds) and kinds > 0.6 and classes < 0.4 * kinds:
        words = f"generated images cover {classes:.0%} of the classes (at best it was {kinds:.0%})"
        evidence["classes"] = classes
    else:
        return None
    return Sign(words, evidence, f"{history.lower('generator', 4)}, or model=wgan_gp")


def memorisation(history: Readings) -> Sign | None:
    """Generated images are copies of training images.

    Copies is the share that lies nearer to a training image than a fifth of that image's distance to the next one,
    scaled up from the images looked through to the whole split. Measured: 0 in all runs here; 1 for a generator made of
    training images (tests).
    """
    found = history.now("copies", "distance")
    if found is None or found[0] < 0.3:
        return None
    return Sign(
        f"about {min(found[0], 1):.0%} of the generated images are copies of training images",
        {"copies": found[0], "distance": found[1]},
        "more data, data.flip=true where mirroring is harmless, or an earlier checkpoint",
    )


def overfitting(history: Readings) -> Sign | None:
    """What is held out fares worse than what is trained on.

    A discriminator prefers training images to held-out ones in 9 of 10 pairs. Or the held-out images' nats have risen
    since their best, by more than half of what the training images' have fallen since.
    """
    known = history.now("known")
    if known is not None and known[0] > 0.9:
        return Sign(
            f"the discriminator knows training images by heart: it prefers them to held-out ones in {known[0]:.0%}",
            {"known": known[0]},
            "more data, data.flip=true, penalty=r1 or stabilizer=instance_noise",
        )
    nats = history.now("nats", "nats_held_out")
    held = history.values[MEASURED + "nats_held_out"]
    if nats is None or len(held) < 2:
        return None
    best = min(range(len(held)), key=held.__getitem__)
    gained, lost = history.values[MEASURED + "nats"][best] - nats[0], nats[1] - held[best]
    if lost <= max(gained / 2, 0.01 * abs(held[best])) or gained <= 0:
        return None
    return Sign(
        f"held-out images cost {lost:.3g} nats more than at their best, training images {gained:.3g} fewer",
        {"nats": nats[0], "nats_held_out": nats[1], "best": held[best]},
        "more data, data.flip=true, a smaller model, or eval.every=... and its best checkpoint",
    )


RULES = (
    Rule("explosion", "NaN in sight", explosion, 2),
    Rule("vanishing", "vanishing gradient", vanishing, 3),
    Rule("discriminator_dies", "the discriminator dies", discriminator_dies, 5),
    Rule("collapse", "mode collapse", collapse, 3),
    Rule("discriminator_wins", "the discriminator wins", discriminator_wins, 3),
    Rule("memorisation", "memorisation", memorisation, 3),
    Rule("overfitting", "overfitting", overfitting, 3),
)
