"""Composition and checks: every model with its partners, who beats whom, counts, and what to_yaml() keeps."""

from pathlib import Path

import helpers
import pytest
from helpers import overrides
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from gancli import config, folders
from gancli.config import compose, from_yaml, parse_count, to_yaml
from gancli.errors import UsageError
from gancli.folders import chosen_groups
from gancli.verbs import VERBS

CONF = config.conf_dir()
GROUPS = ("data", "features", "model", "loss", "optimizer", "schedule", "runtime")


def every_option() -> list[str]:
    return [f"{group}={file.stem}" for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@pytest.mark.parametrize("option", every_option())
def test_every_option_composes_and_fits_its_target(option: str) -> None:
    group = option.partition("=")[0]
    rooted = option in ("data=folder", "data=domains", "data=webdataset")
    cfg = compose("train", [option, "data.root=/pictures"] if rooted else [option])
    assert "_target_" in cfg[group] or group == "runtime"


@pytest.mark.parametrize("name", [file.stem for file in sorted((CONF / "experiment").glob("*.yaml"))])
def test_every_experiment_composes(name: str) -> None:
    assert compose("train", [f"experiment={name}"]).images >= 1


ALIKE = [
    (
        "train",
        overrides(
            "pixelcnn_pp_paper", "images=20k", "optimizer.lr=1e-4", "likelihood@model.likelihood=logistic_mixture"
        ),
    ),
    ("train", overrides("cyclegan", "penalty=[r1,drift]", "loss.gan=2", "loss.penalties.r1.gamma=3")),
    ("train", ["experiment=objectives", "objective=hinge", "data=fake", "optimizer.overrides.generator.lr=1e-3"]),
    ("train", ["+optimizer.amsgrad=true", "eval.metrics=[fid,is]", "clip=null"]),
    ("eval", ["ckpt='a b.pt'", "n=1k", "features=inception", "data=mnist"]),
]


@pytest.mark.parametrize("verb, words", ALIKE, ids=["likelihood", "domains", "experiment", "plus", "eval"])
def test_the_tests_own_compose_is_hydras(verb: str, words: list[str]) -> None:
    assert to_yaml(helpers.compose(verb, words)) == to_yaml(compose(verb, words))


@pytest.mark.parametrize("verb", ["eval", "sample"])
def test_the_other_verbs_compose(verb: str) -> None:
    cfg = compose(verb, ["ckpt=x", "n=1k"])
    assert (cfg.ckpt, cfg.n) == ("x", 1000)


def test_yaml_and_schema_have_the_same_root_keys() -> None:
    for verb in VERBS.values():
        written = set(OmegaConf.load(CONF / f"{verb.name}.yaml")) - {"defaults", "hydra"}
        groups = set(chosen_groups(verb.name))
        groups |= VERBS[verb.extends].keys.__dataclass_fields__.keys() if verb.extends else set()
        assert written == verb.keys.__dataclass_fields__.keys() - groups


PARTNERS = [
    # (settings, optimizer, lr, schedule)
    ([], "Adam", 2e-4, "Constant"),
    (["model=mlp_gan"], "SGD", 0.1, "Goodfellow2014"),
    (["model=mlp_gan", "optimizer=adam"], "Adam", 2e-4, "Goodfellow2014"),
    (["optimizer=adam", "model=mlp_gan"], "Adam", 2e-4, "Goodfellow2014"),
    (["model=mlp_gan", "optimizer.lr=1"], "SGD", 1, "Goodfellow2014"),
    (["model=mlp_gan", "schedule=linear"], "SGD", 0.1, "Linear"),
    (["optimizer=rmsprop"], "RMSprop", 5e-5, "Constant"),
]


@pytest.mark.parametrize("settings, optimizer, lr, schedule", PARTNERS, ids=[" ".join(p[0]) for p in PARTNERS])
def test_a_model_picks_partners_and_the_user_wins(settings, optimizer, lr, schedule) -> None:
    cfg = compose("train", settings)
    assert cfg.optimizer._target_ == f"torch.optim.{optimizer}"
    assert cfg.optimizer.lr == lr
    assert cfg.schedule._target_ == f"gancli.training.schedules.{schedule}"


def test_data_picks_features_and_the_user_wins() -> None:
    assert compose("train", ["data=mnist"]).features._target_.endswith("Classifier")
    assert compose("train", ["data=cifar10"]).features._target_.endswith("Inception")
    assert compose("train", ["data=mnist", "features=inception"]).features._target_.endswith("Inception")
    assert compose("eval", ["ckpt=x", "data=mnist"]).features._target_.endswith("Classifier")


def test_an_experiment_beats_the_model_and_the_command_line_beats_both(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "experiment").mkdir()
    defaults = "defaults:\n  - override /model: mlp_gan\n  - override /optimizer: adam\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{defaults}optimizer:\n  lr: 3e-3\n")
    monkeypatch.setenv("GANCLI_CONF", str(tmp_path))
    cfg = compose("train", ["experiment=mine"])
    assert (cfg.model._target_, cfg.optimizer._target_, cfg.optimizer.lr) == (
        "gancli.models.mlp_gan.MLPGAN", "torch.optim.Adam", 3e-3,
    )  # fmt: skip
    assert compose("train", ["experiment=mine", "optimizer.lr=1"]).optimizer.lr == 1
    assert compose("train", ["experiment=mine", "model=dcgan"]).model._target_.endswith("DCGAN")


def test_optimizer_overrides_need_no_plus() -> None:
    cfg = compose("train", ["optimizer.overrides.discriminator.lr=4e-4", "optimizer.overrides.generator.betas=[0,0.9]"])
    assert cfg.optimizer.overrides == {"discriminator": {"lr": 4e-4}, "generator": {"betas": [0, 0.9]}}


def test_keys_of_a_signature_that_the_yaml_leaves_out_may_be_added() -> None:
    assert compose("train", ["+optimizer.amsgrad=true"]).optimizer.amsgrad is True
    with pytest.raises(ConfigCompositionException):  # without the + Hydra refuses it: the yaml does not show it
        compose("train", ["optimizer.amsgrad=true"])


@pytest.mark.parametrize(
    "value, number",
    [(0, 0), (60000, 60000), ("60000", 60000), ("200k", 200_000), ("2M", 2_000_000), ("1.5M", 1_500_000), (1e6, 10**6),
     ("1e6", 10**6), ("2.3M", 2_300_000), ("0.1k", 100), ("1_000", 1000), ("3G", 3 * 10**9)],
)  # fmt: skip
def test_parse_count(value, number: int) -> None:
    parsed = parse_count(value)
    assert parsed == number and type(parsed) is int


@pytest.mark.parametrize(
    "value", ["abc", "", "k", "1.5", 1.5, -1, "-1k", "1e400", "nan", "inf", True, None, "1 k x", "1kk", [1]]
)
def test_parse_count_refuses(value) -> None:
    with pytest.raises(UsageError, match="expected a number of images such as"):
        parse_count(value)


def test_yaml_round_trip_is_resolved_and_plain(monkeypatch) -> None:
    monkeypatch.setenv("GANCLI_DATA", "/data")
    cfg = compose("train", ["data=mnist", "seed=3"])
    text = to_yaml(cfg)
    monkeypatch.setenv("GANCLI_DATA", "/other")
    again = from_yaml(text)
    assert again == cfg and again.data.root == "/data"


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "!!python/object/apply:os.system ['true']"])
def test_from_yaml_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="a saved config cannot be read"):
        from_yaml(text)


def test_check_takes_a_saved_config_again() -> None:
    cfg = compose("train")
    assert config.check(from_yaml(to_yaml(cfg))) == cfg


def test_options_hold_the_users_own(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: gancli.losses.adversarial.Minimax\n")
    monkeypatch.setenv("GANCLI_CONF", str(tmp_path))
    found = config.options("loss")
    assert {"mine", "minimax", "nonsaturating"} <= found.keys()
    assert found["mine"]["_target_"] == "gancli.losses.adversarial.Minimax"


def test_conf_dir_wants_its_marker(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(folders, "__file__", str(tmp_path / "gancli" / "folders.py"))
    with pytest.raises(UsageError, match="lacks its conf folder"):
        config.conf_dir()
