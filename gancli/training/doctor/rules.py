"""The doctor's rules, one per problem, each a function of the scalars that a run has logged so far.

An examination is a row of metrics.jsonl with ``doctor/`` values. A rule compares the newest examination with earlier
ones and returns a Sign or None; a sign that persists for ``patience`` examinations becomes an alarm (history.py).
Training and ``gancli doctor RUN`` apply the same rules to the same numbers, so nothing here imports torch.

The thresholds are our own. They were chosen on scikit-learn's digits (tests/training/doctor/test_recipes.py) and lie
between the values of failed and successful runs, which the docstring of each rule states.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple

MEASURED = "doctor/"


class Sign(NamedTuple):
    """A symptom found in one examination."""

    words: str
    evidence: dict[str, float]
    advice: str  # overrides to try first


class Readings:
    """The scalars of all examinations so far, by key."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)
        self.row: Mapping[str, float] = {}  # the newest examination

    def add(self, row: Mapping[str, float]) -> None:
        self.row = row
        for key, value in row.items():
            self.values[key].append(value)

    def now(self, *keys: str) -> list[float] | None:
        """Return the newest values of ``doctor/<key>``, or None if one of them was not measured."""
        found = [value for key in keys if (value := self.row.get(MEASURED + key)) is not None]
        return found if len(found) == len(keys) else None

    def earlier(self, key: str) -> list[float]:
        """Return the values of a scalar before the newest examination."""
        return self.values[key][:-1] if key in self.row else self.values[key]

    def lower(self, network: str, by: float) -> str:
        """Return the override that divides the learning rate of ``network`` by ``by``."""
        rate = self.row.get(f"lr/{network}")
        return f"optimizer.overrides.{network}.lr=" + (f"{rate / by:.2g}" if rate else "<less>")


class Rule(NamedTuple):
    """A problem and its test."""

    name: str
    title: str
    look: Callable[[Readings], Sign | None]
    patience: int  # consecutive examinations that must show it


def explosion(history: Readings) -> Sign | None:
    """A loss, a gradient norm or the largest weight exceeds a thousand times its median; NaN is likely to follow."""
    for key in history.row:
        if not key.startswith(("loss/", "grad_norm/", MEASURED + "largest_weight")):
            continue
        value, earlier = abs(history.row[key]), [abs(v) for v in history.earlier(key)]
        usual = median(earlier) if len(earlier) >= 3 else math.inf
        if value > max(1e3 * usual, 1e3):
            return Sign(
                f"{key} is {value:.1e}, and its median so far was {usual:.1e}; NaN is likely to follow",
                {key: value, "usual": usual},
                "clip=1, or a tenth of the learning rate",
            )
    return None


def vanishing(history: Readings) -> Sign | None:
    """The generator's gradient is less than a twentieth of what an undecided discriminator would give.

    Feedback is the gradient of the generator's loss in the scores, relative to that of an undecided discriminator.
    Measured: below 0.02 from 2,000 images on where the generator had stalled, 0.06 to 0.4 where it still learned.
    """
    found = history.now("feedback", "auc")
    if found is None or found[0] >= 0.05:
        return None
    return Sign(
        f"the generator's gradient vanishes: it is {found[0]:.1%} of what an undecided discriminator would give",
        {"feedback": found[0], "auc": found[1]},
        f"loss=nonsaturating, or a slower discriminator: loss.repeat=1 {history.lower('discriminator', 4)}",
    )


def discriminator_wins(history: Readings) -> Sign | None:
    """The discriminator separates real from generated images with near certainty, and its own gradient vanishes.

    Surprise is the gradient of its loss in the scores, relative to that of an undecided discriminator. It stays 1 for a
    critic without a sigmoid or margin (Wasserstein). Measured: 0.0004 where the generator had stalled, down to 0.07 in
    DCGANs that learned.
    """
    found = history.now("surprise", "auc", "feedback")
    if found is None or found[0] >= 0.02 or found[2] < 0.05:  # low feedback is the sign of vanishing()
        return None
    return Sign(
        f"the discriminator tells real from generated with {1 - found[0]:.1%} certainty and no longer learns",
        {"surprise": found[0], "auc": found[1]},
        f"{history.lower('discriminator', 4)}, stabilizer=instance_noise or penalty=r1",
    )


def discriminator_dies(history: Readings) -> Sign | None:
    """The discriminator ranks generated images above real ones, or no longer receives a gradient.

    Measured: AUC below 0.01 throughout where its learning rate was a hundredth of the generator's; in healthy runs it
    drops to 0.2 for single examinations.
    """
    found = history.now("auc", "surprise")
    if found is None:
        return None
    auc, surprise = found
    if auc < 0.1:
        return Sign(
            f"the discriminator ranks generated images above real ones in {1 - auc:.0%} of pairs",
            {"auc": auc, "surprise": surprise},
            f"a faster discriminator: loss.repeat=2, or {history.lower('generator', 4)}",
        )
    norm, earlier = history.row.get("grad_norm/discriminator"), history.earlier("grad_norm/discriminator")
    if norm is None or not earlier or surprise < 0.5 or norm >= 1e-3 * max(earlier):
        return None
    return Sign(
        f"the discriminator's gradient is {norm:.1e} and was up to {max(earlier):.1e}, although it is far from certain",
        {"grad_norm/discriminator": norm, "surprise": surprise},
        f"{history.lower('discriminator', 4)}, and weaker weight decay or weight clipping",
    )


def collapse(history: Readings) -> Sign | None:
    """Many latents map to one image: generated images form a few clusters, or have lost variety or classes.

    Spread (over all pairs) and nearest (over nearest neighbours) are distances among generated images relative to those
    among as many real ones. Duplicates is the share of generated images whose nearest neighbour is closer than a fifth
    of the real images' median. Measured: nearest is 1.0 to 1.7 times spread in DCGANs that learned, 0.3 to 1.5 times in
    an MLP's first steps, and 0.02 to 0.2 times, with 0.6 to 1.0 duplicates, in collapsed models. The rule does not
    apply to a generator without gradient, which has not started to learn.
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
        words = f"{duplicates:.0%} of the generated images are duplicates: the generator makes only a few images"
    elif spread < 0.01 or (best > 0.5 and spread < 0.4 * best):
        words = f"generated images vary only {spread:.1%} as much as real ones ({best:.1%} at best)"
    elif math.isfinite(kinds) and kinds > 0.6 and classes < 0.4 * kinds:
        words = f"generated images cover {classes:.0%} of the classes ({kinds:.0%} at best)"
        evidence["classes"] = classes
    else:
        return None
    return Sign(words, evidence, f"{history.lower('generator', 4)}, or model=wgan_gp")


def nothing_learned(history: Readings) -> Sign | None:
    """The generated images never differed much: no trouble, and nothing to look at yet. Only a summary says so.

    Measured: a spread of 0.03 and 0.07 in MLPs after 20,000 images of MNIST and of digits, all of them one blur.
    """
    found = history.now("spread")
    if found is None or max([*found, *history.earlier(MEASURED + "spread")]) >= 0.15:
        return None
    longer = 10 * int(history.row["images"])
    return Sign(
        f"generated images differ {found[0]:.1%} as much as real ones, and never differed much more",
        {"spread": found[0]},
        f"more images, such as images={longer}",
    )


def memorisation(history: Readings) -> Sign | None:
    """Generated images are copies of training images.

    Copies is the share of generated images closer to a training image than a fifth of that image's distance to its
    nearest neighbour, extrapolated from the training images searched to the whole split. Measured: 0 in all runs; 1 for
    a generator that returns training images (in the tests).
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
    """Training images are scored better than held-out ones.

    Either the discriminator scores a training image higher than a held-out one in more than 9 of 10 pairs, or the
    negative log-likelihood of held-out images has risen since its minimum by more than half of the decrease of that of
    training images since then.
    """
    known = history.now("known")
    if known is not None and known[0] > 0.9:
        return Sign(
            "the discriminator has memorised training images: "
            f"it prefers them to held-out ones in {known[0]:.0%} of pairs",
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
        "more data, data.flip=true, a smaller model, or the best checkpoint from eval.every=...",
    )


def posterior_collapse(history: Readings) -> Sign | None:
    """The latents of an autoencoder say nothing of the image: their KL is below one nat, or none of them is active.

    A latent is active if its posterior mean varies over images (Burda et al. 2016, section 5.2).
    """
    found = history.now("kl", "active_units")
    if found is None or (found[0] >= 1 and found[1] >= 1):
        return None
    return Sign(
        f"the latents carry {found[0]:.2g} nats and {found[1]:.0f} of them are active: the decoder ignores them",
        {"kl": found[0], "active_units": found[1]},
        "'loss.beta={from: 0, to: 1, until: 0.2}', loss.free_bits=0.1, or a smaller decoder",
    )


def dead_codes(history: Readings) -> Sign | None:
    """Of the codes of a VQ-VAE hardly any are used: their perplexity is below a tenth of what it could be.

    Measured (60 s of MNIST each, codebooks of 128): 0.06 with random vectors to start with, 0.69 with those of data.
    """
    found = history.now("codes_alive", "codes_used")
    if found is None or found[0] >= 0.1:
        return None
    return Sign(
        f"most codes are dead: {found[1]:.1%} occur at all, and their perplexity is {found[0]:.1%} of what it could be",
        {"codes_alive": found[0], "codes_used": found[1]},
        "more images, fewer codes, or, for a codebook, quantiser@model.quantiser=fsq or model.quantiser.restart=0.1",
    )


def useless_prior(history: Readings) -> Sign | None:
    """The prior of a VQ-VAE finds its codes less likely than if all were alike."""
    found = history.now("code_nats", "uniform_nats")
    if found is None or found[0] <= found[1]:
        return None
    return Sign(
        f"the prior spends {found[0]:.4g} nats on the codes of an image, and a uniform one {found[1]:.4g}",
        {"code_nats": found[0], "uniform_nats": found[1]},
        f"{history.lower('prior_network', 4)}, or model.prior.width=16",
    )


RULES = (
    Rule("explosion", "explosion", explosion, 2),
    Rule("vanishing", "vanishing gradient", vanishing, 3),
    Rule("discriminator_dies", "the discriminator dies", discriminator_dies, 5),
    Rule("collapse", "mode collapse", collapse, 3),
    Rule("discriminator_wins", "the discriminator wins", discriminator_wins, 3),
    Rule("memorisation", "memorisation", memorisation, 3),
    Rule("overfitting", "overfitting", overfitting, 3),
    Rule("posterior_collapse", "posterior collapse", posterior_collapse, 3),
    Rule("dead_codes", "dead codes", dead_codes, 3),
    Rule("useless_prior", "a prior worse than none", useless_prior, 3),
)
