"""Every first-order term is one graph for torch.compile: it breaks nowhere, so nothing in it goes back to Python."""

import pytest
import torch
from helpers import compose, options, overrides
from torch import Tensor

from gancli.config import options as options_of
from gancli.config import target_class
from gancli.losses.base import Loss, Term
from gancli.losses.game import AdversarialLoss
from gancli.training.build import build
from gancli.training.run import Run

BROKEN = {"lmconv", "lmconv_paper"}  # an autograd.Function that writes into a view
# Compiling takes seconds, so these models are left out, each for one that has the same layers. kde has no term.
LEFT_OUT = {
    "diagonal_bilstm_paper": "diagonal_bilstm", "gated_pixelcnn_paper": "gated_pixelcnn", "pixelcnn_paper": "pixelcnn",
    "pixelcnn_pp_paper": "pixelcnn_pp", "row_lstm_paper": "row_lstm", "toy_gan_paper": "toy_gan",
    **{f"{name}_paper": name for name in ("biggan", "lapgan", "progan", "r3gan", "stylegan", "stylegan2")},
    "cdcgan": "acgan", "wgan": "dcgan",
    "projection": "biggan", "sngan": "biggan", "sngan_resnet": "biggan",
    "wgan_gp_resnet": "wgan_gp",
    "vqgan": "vqvae",  # and cyclegan
    "kde": "",
}  # fmt: skip
LOSSES = [n for n, node in options_of("loss").items() if issubclass(target_class(node, Loss), AdversarialLoss)]


def check(term: Term, run: Run) -> None:
    """Compile a term without generating code, and run it."""
    torch._dynamo.reset()
    compiled = torch.compile(term.fn, backend="eager", fullgraph=True)
    found = compiled(run.model, run.loader.next())
    assert found and all(isinstance(each, Tensor) and each.ndim == 0 for each in found.values())


def check_all(run: Run) -> None:
    terms = [term for step in run.steps for term in step.phase.terms if not (term.second_order or term.eager)]
    assert terms
    for term in terms:
        check(term, run)


@pytest.mark.parametrize("model", sorted({*options("model")} - {*LEFT_OUT} - BROKEN))
def test_every_term_of_every_model_is_one_graph(model: str) -> None:
    check_all(build(compose("train", overrides(model))))


def test_the_models_left_out_have_others_in_their_place() -> None:
    models = {*options("model")}
    assert LEFT_OUT.keys() <= models and {*LEFT_OUT.values()} - {""} <= models - LEFT_OUT.keys() - BROKEN


@pytest.mark.parametrize("model", sorted(BROKEN))
def test_those_that_break_are_still_broken(model: str) -> None:
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        check_all(build(compose("train", overrides(model))))


@pytest.mark.parametrize("loss", sorted({*LOSSES} - {"acgan", "nonsaturating"}))
def test_every_loss_is_one_graph(loss: str) -> None:
    check_all(build(compose("train", overrides("dcgan", f"loss={loss}"))))


def test_all_stabilizers_and_the_penalties_of_first_order_are_one_graph() -> None:
    names = ",".join(options("stabilizer"))
    check_all(build(compose("train", overrides("dcgan", f"stabilizer=[{names}]", "penalty=[drift,orthogonal]"))))


def test_a_full_graph_can_fail() -> None:
    run = build(compose("train", overrides("dcgan")))

    def wrong(model, batch):
        score = model.score(batch.image).mean()
        return {"wrong": score if score > 0 else -score}  # Python decides

    term = Term(wrong)
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        check(term, run)
