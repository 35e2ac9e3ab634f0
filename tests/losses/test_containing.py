"""Losses with an adversarial part: one constructor, and the keys that it declares."""

import re
from functools import partial
from importlib import import_module

import pytest
from helpers import options

from gancli.config import conf_dir, targets
from gancli.errors import UsageError
from gancli.lectures.dirac_gan import Dirac
from gancli.losses.adversarial import Hinge
from gancli.losses.containing import ContainsAdversarial
from gancli.losses.lapgan import LAPGANLoss
from gancli.losses.path_length import PathLength
from gancli.losses.translation import PairLoss
from gancli.losses.vae_gan import VAEGANLoss

KEYS = {"adversarial", "penalties", "generator_penalties", "stabilizers"}
WORD = re.compile(r"^_target_: (\S+)$", re.M)
TEXTS = [(conf_dir() / "loss" / f"{name}.yaml").read_text(encoding="utf-8") for name in options("loss")]
CONTAINING = [WORD.findall(text)[0] for text in TEXTS if "\nadversarial:" in text]


@pytest.mark.parametrize("target", CONTAINING)
def test_the_part_is_made_in_one_place_and_its_keys_are_known_without_importing(target):
    module, _, name = target.rpartition(".")
    found = getattr(import_module(module), name)
    assert issubclass(found, ContainsAdversarial)
    known = targets.signature(target)
    assert known.parameters.keys() >= KEYS and not known.open
    assert [key for key, each in known.parameters.items() if each.required] == ["adversarial"]


@pytest.mark.parametrize("kind", [LAPGANLoss, PairLoss, VAEGANLoss])
def test_state_is_that_of_the_part_and_anything_else_is_no_part(kind):
    loss = kind(adversarial=partial(Hinge))
    assert isinstance(loss.game, Hinge) and loss.game is loss.adversarial
    assert {name.partition(".")[0] for name, _ in loss.named_modules()} == {"", "adversarial"}
    for other in (Hinge, partial(dict), partial(PairLoss, adversarial=partial(Hinge))):
        with pytest.raises(ValueError, match="choose one, such as loss/adversarial=hinge"):
            kind(adversarial=other)


@pytest.mark.parametrize("kind", [LAPGANLoss, PairLoss, VAEGANLoss])
def test_a_regularizer_of_another_model_is_refused_with_the_reason(kind):
    loss = kind(adversarial=partial(Hinge), generator_penalties={"path_length": PathLength()})
    with pytest.raises(UsageError, match="has no styles"):
        loss.check(Dirac())
