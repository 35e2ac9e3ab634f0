"""What several test files need: a tiny run, and a guard against waiting for the device."""

import pickle
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.config import check, composition, conf_dir, groups
from gancli.losses.penalties import PenaltyInputs
from gancli.models.base import Model
from gancli.models.translation import Translation
from gancli.training.loop import train

SMALL = ["data=fake", "data.size=8", "data.channels=1", "data.n=60", "data.n_test=20", "batch_size=8", "runtime=cpu"]
SIZES = {
    "acgan": ["model.width=4"],
    "biggan": ["model.width=4", "model.discriminator_width=4", "model.latent_dim=8", "model.shared=4"],
    "biggan_paper": ["model.width=4", "model.discriminator_width=4"],
    "cdcgan": ["model.width=4", "model.hidden=8"],
    "cgan": ["model.width=0.04"],
    "dcgan": ["model.width=4"],
    "diagonal_bilstm": ["model.width=3", "model.layers=1", "model.head=4"],
    "diagonal_bilstm_paper": ["model.width=3", "model.layers=1", "model.head=4", "data.bits=3"],
    "fgan": ["model.generator_hidden=16", "model.discriminator_hidden=8"],
    # Complete from the start; what changes while they grow is tested in models/test_growing.py.
    "progan": ["model.width=4", "model.grown=0"],
    "progan_paper": ["model.width=4", "model.max_width=8", "model.grown=0"],
    "projection": ["model.width=4", "model.discriminator_width=4"],
    "sngan_resnet": ["model.width=4", "model.discriminator_width=4"],
    "gated_pixelcnn": ["model.width=4", "model.blocks=2", "model.head=4"],
    "gated_pixelcnn_paper": [
        "model.width=4",
        "model.blocks=2",
        "model.head=4",
        "data.bits=3",
        "model.inner=3",
        "data.num_classes=3",
    ],
    "lapgan": ["model.width=4", "model.discriminator_width=4", "model.smallest=4", "model.discriminator_hidden=16"],
    "lapgan_paper": ["model.width=4", "model.hidden=16", "model.smallest=4", "model.discriminator_hidden=16"],
    "lmconv": ["model.width=4", "model.stages=1", "model.orders=2"],
    "lmconv_paper": ["model.width=4", "model.blocks=1", "model.stages=1", "model.orders=2", "data.bits=3"],
    "mlp_gan": ["model.generator_hidden=16", "model.discriminator_hidden=8"],
    "pixelcnn": ["model.width=4", "model.blocks=1", "model.head=4"],
    "pixelcnn_paper": ["model.width=4", "model.blocks=1", "model.head=4", "data.bits=3"],
    "pixelcnn_pp": ["model.width=4", "model.scales=2"],
    "pixelcnn_pp_paper": ["model.width=4", "model.scales=2", "model.resnets=1"],
    "r3gan": ["model.width=4", "model.max_width=4", "model.group=4"],
    "r3gan_paper": ["model.width=4", "model.max_width=4", "model.group=4", "model.blocks=1"],
    "row_lstm": ["model.width=4", "model.layers=1", "model.head=8"],
    "row_lstm_paper": ["model.width=4", "model.layers=1", "model.head=8", "data.bits=3"],
    "sngan": ["model.width=4"],
    "hvae": ["model.width=4", "model.inner=2", "model.latent_dim=1", "model.coarse=1", "model.fine=1"],
    "iwae": ["model.hidden=[16]", "model.latent_dim=3"],
    "toy_gan": ["model.width=8"],
    "toy_gan_paper": ["model.width=8"],
    "vae": ["model.hidden=[16]", "model.latent_dim=3"],
    "vae_conv": ["model.width=4", "model.latent_dim=3"],
    "vae_gan": ["model.width=4", "model.latent_dim=3", "model.hidden=8"],
    "wgan": ["model.width=4"],
    "wgan_gp": ["model.width=4"],
    "wgan_gp_resnet": ["model.width=4"],
}


CODES = ["model.width=4", "model.blocks=1", "model.residual=2"]
CODES += ["model.prior.width=4", "model.prior.blocks=2", "model.prior.head=4"]
SIZES |= {"vqvae": [*CODES, "model.quantiser.sizes=[3,4]"]}
SIZES |= {"vqvae2": [*CODES, "model.quantiser.sizes=[3,4]", "data.size=16"]}  # a top of one code has no past
SIZES |= {"dvae": [*CODES, "model.codes=5"]}
GAME = ["model.discriminator_width=4", "model.joins=0", "loss/adversarial=lsgan"]  # hinge: some gradients are exactly 0
SIZES |= {"vqgan": [*CODES, *GAME, "model.quantiser.sizes=[3,4]"]}
SIZES |= {"vqvae_paper": [*CODES, "model.quantiser.codes=5", "model.quantiser.dim=3"]}
TINY = ["model.width=4", "model.discriminator_width=4"]
# Of a run of a translation between shapes of two colours.
SHAPES = ["data=unpaired", "data/a=shapes", "data/b=shapes", "data.a.colours=[red]", "data.b.colours=[blue]",
          *(f"data.{side}.{key}" for side in "ab" for key in ("n=60", "n_test=24", "size=16")), "data.b.seed=1",
          "features.epochs=1", "runtime=cpu", "batch_size=8", "images=16", "samples.n=4"]  # fmt: skip
STYLES = ["model.width=4", "model.latent_dim=6", "model.mapping=2"]
SIZES |= {"stylegan2": STYLES, "stylegan2_paper": STYLES}
SIZES |= {name: [*STYLES, "model.grown=0"] for name in ("stylegan", "stylegan_paper")}
SIZES |= {"cyclegan": [*TINY, "model.blocks=1"], "pix2pix": TINY, "stargan": [*TINY, "model.blocks=1"]}
DATA = {"cyclegan": "unpaired", "pix2pix": "paired"}  # of two domains; any other model learns from one


def small(model: str = "dcgan") -> list[str]:
    """Return the overrides that make data and batches small, with two domains for models that want them."""
    if model not in DATA:
        return SMALL
    kind, *sizes, batch_size, runtime = SMALL
    assert kind == "data=fake"
    sides = [each.replace("data.", f"data.{side}.") for side in "ab" for each in sizes]
    return [f"data={DATA[model]}", "data/a=fake", "data/b=fake", *sides, "data.b.seed=1", batch_size, runtime]


def overrides(model: str = "dcgan", *more: str) -> list[str]:
    """Return the overrides of a run that takes a moment."""
    return [f"model={model}", *small(model), *SIZES.get(model, []), "samples.n=4", *more]


def compose(verb: str, overrides: Sequence[str] = ()) -> DictConfig:
    """As gancli.config.compose, in a tenth of its time: Hydra composes each choice of groups once.

    Values are set in a copy of what it made of them, as Hydra does; test_config.py compares the two.
    """
    folders = tuple(composition.user_folders())
    is_value = [re.match(r"([\w.]+)=", each) and not _is_group(each.partition("=")[0], folders) for each in overrides]
    cfg = pickle.loads(_composed(verb, tuple(o for o, v in zip(overrides, is_value) if not v), folders))
    for key, value in (_parsed(o) for o, v in zip(overrides, is_value) if v):
        OmegaConf.update(cfg, key, value)
    return check(cfg)


def _is_group(key: str, folders: Sequence[Path]) -> bool:
    return any((folder / key).is_dir() for folder in (conf_dir(), *folders))


@cache
def _composed(verb: str, choices: Sequence[str], folders: Sequence[Path]) -> bytes:
    """Compose a config and return it pickled, of which a copy is made much faster than of the config."""
    composition.setup(verb)
    with hydra.initialize_config_dir(str(conf_dir()), job_name="gancli", **composition.VERSION):
        return pickle.dumps(hydra.compose(verb, overrides=list(choices)))


@cache
def _parsed(override: str) -> tuple[str, Any]:
    found = OverridesParser.create().parse_override(override)
    return found.key_or_group, found.value()


def options(group: str) -> list[str]:
    """Return the names of the yaml files of a group of conf/, sorted."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@cache
def distinct() -> list[str]:
    """Return the models without those that differ from another one in numbers alone, as many of the papers' do.

    Two are alike if their class, the choices among their own values (a zero or null is one), and the kinds of their
    losses, penalties and stabilizers are. What does not make a model is tested on its own: likelihoods, optimizers and
    schedules.
    """
    found: dict[str, str] = {}
    for name, node in groups.options("model").items():
        values = OmegaConf.to_container(node, resolve=False)
        chosen = [str(each) for each in values.pop("defaults") if re.search("loss|penalty|stabilizer", str(each))]
        found.setdefault(str([*((key, _kind(value)) for key, value in sorted(values.items())), *chosen]), name)
    return sorted(found.values())


def _kind(value: Any) -> Any:
    is_size = isinstance(value, (int, float)) and not isinstance(value, bool) and value
    return "a size" if is_size else value


def lecture(name: str, *more: str) -> DictConfig:
    """Compose the config of a lecture."""
    return compose("train", [f"experiment=lecture/{name}", "runtime=cpu", *more])


def drawn(model: Model, n: int, seed: int) -> torch.Tensor:
    """Draw n images by a seed; a model that translates is given a source that depends on it, too."""
    generator = torch.Generator().manual_seed(seed)
    if not isinstance(model, Translation):
        return model.sample(n, generator=generator)
    shape = (n, model.spec.source_channels or model.spec.channels, model.spec.height, model.spec.width)
    source = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return model.sample(n, source=source, label=torch.zeros(n, dtype=torch.int64), generator=generator)


def run(folder: Path, *more: str, model: str = "dcgan") -> dict[str, float]:
    """Train a tiny model in ``folder``."""
    return train(compose("train", overrides(model, *more)), folder)


class NoHostSync(TorchDispatchMode):
    """Refuse the operations that make the host wait for a device, on the CPU too, where they cost nothing."""

    WAITING = {
        "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
        "aten::bincount", "aten::_unique", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive",
    }  # fmt: skip

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = func._schema.name in ("aten::index", "aten::index_put_") and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in args[1]
        )  # as many rows as there are true values
        if func._schema.name in self.WAITING or by_mask:
            raise AssertionError(f"{func._schema.name} waits for the device")
        return func(*args, **(kwargs or {}))


def tensors(state: dict, prefix: str = "") -> dict[str, torch.Tensor]:
    """Flatten a nested state to its tensors."""
    flat = {}
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        if isinstance(value, torch.Tensor):
            flat[f"{prefix}{key}"] = value
        elif isinstance(value, (dict, list, tuple)):
            flat |= tensors(value, f"{prefix}{key}.")
    return flat


def game(critic: nn.Module | None = None, n: int = 5) -> PenaltyInputs:
    """A smooth critic of 2x2 pictures with two channels, in float64."""
    torch.manual_seed(0)
    critic = critic or nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0)).double()
    real, fake = torch.randn(2, n, 2, 2, 2, dtype=torch.float64)
    return PenaltyInputs(critic, critic, real, lambda: fake)
