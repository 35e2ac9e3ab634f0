"""What a config is compared with: the same training by hand, as tutorials write it, or with other settings."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from gancli.config.variants import changed
from gancli.data.spec import scaled
from gancli.errors import UsageError
from gancli.losses.adversarial import NonSaturating
from gancli.training.build import build
from gancli.training.run import Run
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn
from gancli.verbs.bench import textbook

Way = Callable[[], int]  # trains for one step, and returns the number of images seen
BARE, TEXTBOOK = "bare", "textbook"
TUTORIAL = ("runtime.precision=fp32", "runtime.channels_last=false", "runtime.compile=false")
PROCESS = ("device", "deterministic", "threads", "tf32", "unpack_gib")  # of runtime: they hold for the whole process
PLAYERS = [("discriminator",), ("generator",)]


def own(run: Run, tracker: Tracker) -> Way:
    """Return a turn of gancli's own loop."""

    def step() -> int:
        before = run.images
        run_turn(run, tracker, measure=False)
        return run.images - before

    return step


def loaders() -> tuple[int, ...]:
    """Return the numbers of workers that the textbook's loader is tried with: none, and 2 where there are cores."""
    return (0, 2) if len(os.sched_getaffinity(0)) > 1 else (0,)


def rivals(
    words: Sequence[str], cfg: Any, run: Run, folder: Path, workers: Sequence[int] | None = None
) -> Iterator[tuple[str, Way]]:
    """Yield the ways to train that a run is compared with, by name, each with networks of its own.

    Args:
        words: ``bare``, ``textbook``, or settings separated by blanks, as check_rivals() accepts them.
        cfg: the config of the run.
        run: the run, whose device they use.
        folder: of the run; nothing is written.
        workers: of the textbook's loader, each number a way of its own, of which the fastest counts; None: loaders().
    """
    for word in words:
        if word == BARE:
            twin = build(cfg)
            yield word, bare(twin)
        elif word == TEXTBOOK:
            twin = build(changed("bench", cfg, TUTORIAL))
            for number in loaders() if workers is None else workers:
                steps = textbook.play(_game(twin), _pictures(twin), number, cfg.batch_size, run.runtime.device)
                yield f"{word}, {number} workers", partial(_images, steps, cfg.batch_size)
        else:
            twin = build(changed("bench", cfg, word.split()))
            yield word, own(twin, Tracker(folder, main=False))


def check_rivals(words: Sequence[str], cfg: Any, run: Run) -> None:
    """Refuse a comparison that would not be one, before anything is measured.

    Raises:
        UsageError: an unknown word, settings that cannot be compared in one process, or a run that the loops by hand
            cannot stand for.
    """
    for word in words:
        if word == BARE:
            _refuse(word, [*_not_a_game(run), *_not_plain(run)])
        elif word == TEXTBOOK:
            _refuse(word, _not_a_game(run))
        elif "=" in word:
            for each in word.split():
                if each.startswith(tuple(f"runtime.{key}=" for key in PROCESS)):
                    raise UsageError(f"compare={word}: {each} holds for the whole process; measure it in another one")
            changed("bench", cfg, word.split())
        else:
            raise UsageError(
                f"compare={word}: expected bare, textbook, or other values of keys, such as runtime.precision=fp32"
            )


def _refuse(word: str, reasons: list[str]) -> None:
    if reasons:
        raise UsageError(f"compare={word}: {reasons[0]}; or compare with other values, such as runtime.precision=fp32")


def _not_a_game(run: Run) -> list[str]:
    """Return why the networks cannot be trained by a loop for two players."""
    model, images = run.model, run.source.split("train")
    reasons = []
    if [step.phase.networks for step in run.steps] != PLAYERS:
        reasons.append(f"it trains one generator and one discriminator, and {type(model).__name__} is something else")
    elif model.conditional or run.stage is not None:
        reasons.append(f"it knows neither classes nor stages, and {type(model).__name__} has them; take model=dcgan")
    if images.fresh is not None or images.spec.points or images.spec.shape != images.pixels.shape[1:]:
        reasons.append("it takes pictures of one size from memory; take data=digits")
    if run.cfg.batch_size > len(images):
        reasons.append(f"it takes whole batches of {len(images)} images; take a smaller batch_size")
    return reasons


def _not_plain(run: Run) -> list[str]:
    """Return which settings Algorithm 1 does not have, with what to type instead."""
    loss: Any = run.loss
    asked = {
        "loss=nonsaturating": type(loss) is not NonSaturating,
        "penalty=[]": bool(getattr(loss, "penalties", {})),
        "generator_penalty=[]": bool(getattr(loss, "generator_penalties", {})),
        "stabilizer=[]": bool(len(getattr(loss, "stabilizers", ()))),
        "loss.repeat=1": getattr(loss, "repeat", 1) != 1,
        "loss.generator_batch=1": getattr(loss, "generator_batch", 1) != 1,
        "accumulate=1": run.cfg.accumulate != 1,
        "clip=null": run.cfg.clip is not None,
    }
    missing = " ".join(f"'{word}'" if "[" in word else word for word, absent in asked.items() if absent)
    return [f"it is the plain game of Goodfellow et al. 2014, Algorithm 1; add {missing}"] if missing else []


def bare(run: Run) -> Way:
    """Return one step as anyone would write it for two networks: Algorithm 1 of Goodfellow et al. 2014.

    Args:
        run: whose networks, optimizers, precision, images and average it uses; it must be plain, see check_rivals().
    """
    model: Any = run.model
    g, d = model.generator, model.discriminator
    d_opt, g_opt = (step.optimizer for step in run.steps)
    pixels = torch.from_numpy(np.array(run.source.split("train").pixels)).to(run.runtime.device)
    batch_size, averaged = run.cfg.batch_size, list(zip(run.ema.targets, run.ema.sources))
    order, at = torch.randperm(len(pixels), device=pixels.device), 0

    def step() -> int:
        nonlocal order, at
        if at + batch_size > len(pixels):
            order, at = torch.randperm(len(pixels), device=pixels.device), 0
        rows, at = order[at : at + batch_size], at + batch_size
        real = scaled(pixels[rows])
        d_opt.zero_grad()
        d.requires_grad_(True)
        with run.runtime.autocast():
            with torch.no_grad():
                fake = model.generate(model.latent(batch_size))
            loss = softplus(-model.score(real)).mean() + softplus(model.score(fake)).mean()
        loss.backward()
        d_opt.step()
        g_opt.zero_grad()
        d.requires_grad_(False)
        g.requires_grad_(True)
        with run.runtime.autocast():
            loss = softplus(-model.score(model.generate(model.latent(batch_size)))).mean()
        loss.backward()
        g_opt.step()
        with torch.no_grad():
            for average, weight in averaged:
                average.lerp_(weight, 0.01)
        return batch_size

    return step


def _game(run: Run) -> textbook.Game:
    """Return the networks of a run as the textbook's loop takes them."""
    model: Any = run.model
    return textbook.Game(
        model.generator, model.discriminator, lambda n: model.generate(model.latent(n)), model.score,
        binary_cross_entropy_with_logits,
    )  # fmt: skip


def _pictures(run: Run) -> textbook.Pictures:
    return textbook.Pictures(np.array(run.source.split("train").pixels))


def _images(steps: Iterator[int], batch_size: int) -> int:
    next(steps)
    return batch_size


def words(compare: Any) -> list[str]:
    """Return the value of the key ``compare`` as a list of words. Raises UsageError."""
    found = [] if compare is None else [compare] if isinstance(compare, str) else compare
    if isinstance(found, (bool, int, float)) or hasattr(found, "keys") or not all(isinstance(e, str) for e in found):
        raise UsageError(f"compare={compare}: expected words, such as compare=textbook or 'compare=[bare,textbook]'")
    return list(dict.fromkeys(found))


def quiet(cfg: Any) -> Any:
    """Return the config without what is done beside the training: evaluations, pictures, examinations."""
    return changed("bench", cfg, [f"{group}.every=0" for group in ("eval", "samples", "doctor")])
