"""What may be built, and what a class accepts, read from its source without importing it."""

from functools import partial

import pytest
import torch

from gancli import config
from gancli.config import instantiate
from gancli.errors import UsageError
from gancli.losses.base import Loss
from gancli.losses.penalties import R1
from gancli.metrics.base import Metric
from gancli.models.base import Model
from gancli.training.schedules import Linear, Schedule

# What is built


def test_builds_classes_of_the_kind() -> None:
    built = instantiate({"_target_": "gancli.training.schedules.Linear", "start": 0.25}, Schedule)
    assert type(built) is Linear and built.factor.start == 0.25


def test_builds_partials_and_what_is_inside() -> None:
    node = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5}
    built = instantiate(node, torch.optim.Optimizer)
    assert isinstance(built, partial) and built.func is torch.optim.SGD and built.keywords == {"lr": 0.5}
    penalties = {"r1": {"_target_": "gancli.losses.penalties.R1", "gamma": 2.0}}
    built = instantiate({"_target_": "gancli.losses.adversarial.Hinge", "penalties": penalties}, Loss)
    assert type(built.penalties["r1"]) is R1 and built.penalties["r1"].gamma == 2.0


def test_arguments_of_the_program_win() -> None:
    built = instantiate({"_target_": "gancli.training.schedules.Linear", "start": 0.25}, Schedule, start=0.75)
    assert built.factor.start == 0.75


def test_composed_configs_build(cli) -> None:
    cfg = config.compose("train")
    optimizer = instantiate({k: v for k, v in cfg.optimizer.items() if k != "overrides"}, torch.optim.Optimizer)
    assert type(optimizer.keywords["betas"]) is list
    assert optimizer([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 2e-4
    source, loader = config.build_data(cfg.data)
    assert type(source).__name__ == "Digits" and loader == {"flip": False, "resident": None, "workers": 2}


REFUSED = [
    "os.system", "builtins.eval", "builtins.exec", "eval", "", "subprocess.Popen", "torch.hub.load", "torch.load",
    "torch.utils.cpp_extension.load_inline", "gancli.cli.sys.exit", "gancli.cli.main", "gancli.config.Path",
    "gancli.cli.job.Path", "gancli.cli.status.os.system", "gancli.cli.job.Job", "torch.nn.functional.relu",
    "torch.nn.modules.os.system",
    "gancli.errors.UsageError", "gancli.losses.adversarial.Tensor", "gancli.losses", "gancli.nope.X", "gancli..x",
    "gancli.losses.adversarial.NoSuch", ".system", "gancli.losses.adversarial.",
]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED)
def test_refused_with_one_line(target: str, capsys) -> None:
    with pytest.raises(UsageError) as caught:
        instantiate({"_target_": target, "command": "true"}, Loss)
    assert "\n" not in str(caught.value) and "_target_=" in str(caught.value)


def test_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="Linear is refused: it is not a subclass of Model"):
        instantiate({"_target_": "gancli.training.schedules.Linear"}, Model)


def test_what_is_refused_is_not_even_imported(package) -> None:
    canary = package("evil", __init__="class Net: pass")
    with pytest.raises(UsageError, match=r"trust=\[evil\]"):
        instantiate({"_target_": "evil.Net"}, object)
    with pytest.raises(UsageError, match="refused"):
        instantiate({"_target_": "gancli.training.schedules.Linear", "start": {"_target_": "evil.Net"}}, Schedule)
    assert not canary.exists()


def test_a_prefix_of_a_trusted_name_is_not_trusted(package) -> None:
    canary = package("gancli_evil", __init__="class Net: pass")
    for trust in ((), ("gancli_evi",)):
        with pytest.raises(UsageError, match="refused"):
            instantiate({"_target_": "gancli_evil.Net"}, object, trust=trust)
    assert not canary.exists()


def test_a_trusted_package_is_built_but_not_what_it_imports(package) -> None:
    package("friendly", nets="from pathlib import Path\nclass Net:\n  def __init__(self, width):\n    self.w = width\n")
    assert instantiate({"_target_": "friendly.nets.Net", "width": 3}, object, trust=["friendly"]).w == 3
    with pytest.raises(UsageError, match="refused"):
        instantiate({"_target_": "friendly.nets.Path"}, object, trust=["friendly"])


def test_a_value_that_the_class_refuses_is_one_line(package) -> None:
    package("picky", __init__="class Net:\n    def __init__(self):\n        raise ValueError('width must be even')\n")
    with pytest.raises(UsageError, match="picky.Net: width must be even"):
        instantiate({"_target_": "picky.Net"}, object, trust=["picky"])


def test_the_command_line_refuses_before_anything_runs(cli, package) -> None:
    canary = package("evil", __init__="class Net: pass")
    answer = cli("train", "model._target_=evil.Net")
    assert answer.code == 2 and "refused" in answer.err and not canary.exists()


def test_an_unfinished_class_is_refused_with_what_it_lacks(package) -> None:
    """Without a look at it, the first use of the attribute would end in a traceback."""
    package("own", scores="""
        from gancli.metrics.base import Metric

        class Nameless(Metric):
            needs, values = {}, {}
            def __call__(self, sets): return {}

        class Silent(Metric):
            name, needs, values = "silent", {}, {}

        class Mine(Silent):
            def __call__(self, sets): return {}
        """)  # fmt: skip
    for name, lacking in {"Nameless": "name", "Silent": "__call__"}.items():
        with pytest.raises(
            UsageError, match=f"own.scores.{name} is unfinished: Metric asks its subclasses for {lacking}"
        ):
            instantiate({"_target_": f"own.scores.{name}"}, Metric, trust=["own"])
    assert instantiate({"_target_": "own.scores.Mine"}, Metric, trust=["own"]).name == "silent"
