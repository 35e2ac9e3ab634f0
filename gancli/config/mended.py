"""Hydra, where it does not do what its commands need: what is patched, and why."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore

from gancli.folders import INTERNAL

HYDRA_1_3 = hydra.__version__.startswith("1.3.")
_keys: set[str] = set()  # of the verb that is composed; groups of the same names are not meant


@contextmanager
def mended_hydra() -> Iterator[None]:
    """Patch three problems of Hydra while it runs a command line.

    Python 3.14's argparse checks help texts, which Hydra 1.3 leaves lazy, and would fail before parsing. Hydra also
    composes every config twice, the first time only to see whether a yaml sets ``hydra.mode``, which costs a third of
    the start-up time; here only ``-m`` decides. And its help and completion would offer the internal groups, too.
    """
    listed = ConfigLoaderImpl.get_group_options

    def typed(self: ConfigLoaderImpl, group_name: str, *args: Any, **kwargs: Any) -> list[str]:
        found = listed(self, group_name, *args, **kwargs)
        return found if group_name else [name for name in found if name not in INTERNAL]

    patches: list[tuple[type, str, Any]] = [
        (Hydra, "get_mode", lambda self, *args, **kwargs: None),
        (ConfigLoaderImpl, "get_group_options", typed),
    ]
    original = getattr(ArgumentParser, "_check_help", None)
    if original is not None and HYDRA_1_3:
        lazy = lambda self, action: original(self, action) if isinstance(action.help, str) else None  # noqa: E731
        patches.append((ArgumentParser, "_check_help", lazy))
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def setup(keys: set[str]) -> None:
    """Let overrides of these root keys set values, although groups of the same names may be there for other verbs.

    ``gancli project space=w`` names a space of latents, ``gancli tune space=gan_lr`` an option of ``conf/space/``.
    Hydra, which asks for groups where it reads overrides alone, would take both for the latter.
    """
    _keys.clear()
    _keys.update(keys)
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]  # Hydra defines none
    CachingConfigRepository.group_exists = _group_exists  # type: ignore[method-assign]


def _group_exists(self: CachingConfigRepository, config_path: str) -> bool:
    return config_path not in _keys and self.delegate.group_exists(config_path=config_path)


def _itself(store: ConfigStore, memo: dict[int, Any]) -> ConfigStore:
    """Skip Hydra's deep copy of the store, made for each config and for each group in --help: it took 2 s."""
    return store
