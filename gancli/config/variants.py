"""Other values of a checked config, set as the command line sets them."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gancli.config import check, composition
from gancli.errors import UsageError
from gancli.verbs import VERBS


def changed(verb: str, cfg: Any, settings: Sequence[str]) -> DictConfig:
    """Return a checked config with other values; the options of its groups stay.

    Args:
        verb: the verb whose keys it has.
        cfg: a checked config, which stays as it is.
        settings: ``key=value``, as typed.

    Raises:
        UsageError: no such key, a whole group, several values, or a value out of range. The exceptions of Hydra and
            OmegaConf are passed on.
    """
    typed = OmegaConf.merge(composition.structured(VERBS[verb].keys), cfg)
    for word in settings:
        parsed = OverridesParser.create().parse_override(word)
        key = parsed.key_or_group
        if parsed.is_sweep_override() or OmegaConf.is_config(OmegaConf.select(typed, key)):
            raise UsageError(f"{word}: only single values can be set here, such as runtime.precision=fp32, no groups")
        OmegaConf.update(typed, key, parsed.value(), force_add=True)  # check() refuses what there is not
    assert isinstance(typed, DictConfig)
    return check(typed)
