"""Reading yaml as OmegaConf does, but by libyaml, and each text only once: it is a third of composing a config."""

import pickle
from collections.abc import Callable
from functools import cache
from typing import IO, Any

import yaml
from hydra._internal.core_plugins import file_config_source, importlib_resources_config_source
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

READERS = (file_config_source, importlib_resources_config_source)  # Hydra's, which call OmegaConf.load()


@cache
def _loader() -> type[Any]:
    """Return OmegaConf's loader, whose rules for floats, dates and repeated keys are its own, on libyaml's parser."""
    slow = get_yaml_loader()
    if not hasattr(yaml, "CSafeLoader"):  # PyYAML was built without libyaml
        return slow
    parser: Any = yaml.CSafeLoader.__mro__[1]

    class Fast(parser, slow):  # type: ignore[misc, valid-type]
        def __init__(self, stream: str) -> None:
            parser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Fast


def created(text: str, otherwise: Callable[[], Any]) -> Any:
    """Return the config of a text.

    Args:
        text: yaml.
        otherwise: reads by OmegaConf itself what is no mapping, and what is no yaml, which its errors show best.
    """
    try:
        values = yaml.load(text, Loader=_loader())  # a SafeLoader
    except yaml.YAMLError:
        return otherwise()
    return OmegaConf.create(values) if isinstance(values, dict) else otherwise()


class Kept:
    """Stands in Hydra's readers for OmegaConf, of which they call load() alone.

    It keeps pickles, as Hydra changes the configs; unpickling takes a twentieth of the time of creating.
    """

    pickles: dict[str, bytes] = {}  # by the text: a file that changes is read again

    @staticmethod
    def load(file: IO[str]) -> DictConfig | ListConfig:
        text = file.read()
        if text not in Kept.pickles:
            file.seek(0)
            Kept.pickles[text] = pickle.dumps(created(text, lambda: OmegaConf.load(file)))
        found: DictConfig | ListConfig = pickle.loads(Kept.pickles[text])
        return found


def setup() -> None:
    """Let Hydra read its files in this way; idempotent."""
    for reader in READERS:
        reader.OmegaConf = Kept  # type: ignore[attr-defined]
