"""In bfloat16 maps meet maps of their own type, and slices of them do not make gradients of zeros.

A bias in float32, added to a map in bfloat16, makes all that follows float32, which takes twice the time; and a slice
has a gradient of the size of the whole, most of which is zeros that are added to those of the other slices.
"""

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.config import compose
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

MODELS = {
    "gated_pixelcnn": ["model=gated_pixelcnn", "model.conditional=true"],
    "located": ["model=vqvae2", "model.autoencoder=0.01", "prior@model.prior=gated_pixelcnn"],
    "pixelcnn_pp": ["model=pixelcnn_pp", "model.conditional=true"],
    "projection": ["model=projection", "model.width=4", "model.discriminator_width=4"],
    "lmconv": ["model=lmconv", "model.width=4"],
}


class Watch(TorchDispatchMode):
    """Note operators between maps of several float types, and gradients that are padded with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: set[str] = set()
        self.padded: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out, name = func(*args, **(kwargs or {})), str(func.overloadpacket)
        maps = [x for x in args if isinstance(x, torch.Tensor) and x.is_floating_point() and x.dim() > 2]
        if len({x.dtype for x in maps}) > 1 and "copy" not in name:
            self.mixed.add(name)
        if name == "aten.slice_backward" and out.dim() == 4:
            self.padded.add(name)
        return out


def watched(words: list[str], tmp_path) -> Watch:
    cfg = compose("train", [*words, "data=digits", "runtime=cpu", "runtime.precision=bf16", "images=10k"])
    run, tracker, watch = build(cfg), Tracker(tmp_path), Watch()
    run.images = 5000  # beyond the first stage, if there is one, which is seen at the end of a turn
    for mode in (nullcontext(), watch):
        with mode:
            run_turn(run, tracker, measure=False)
    return watch


@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS)
def test_maps_meet_maps_of_their_own_type(words, tmp_path) -> None:
    watch = watched(words, tmp_path)
    assert not watch.mixed and not watch.padded


def test_it_can_fail() -> None:
    x = torch.ones(1, 4, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    with Watch() as watch:
        (x[:, :2] + torch.ones(1, 2, 1, 1)).sum().backward()
    assert watch.mixed and watch.padded
