"""The values of ``sampling`` that a checkpoint is scored with: usually one set, or one for each value of a list.

gancli eval ckpt=latest 'truncation=[2,1,0.5]'
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gancli import config
from gancli.metrics.scoring.evaluation import Origin


class Sampling(NamedTuple):
    """The options of sampling of one score card, without those that are null.

    Args:
        values: by name, checked against the model.
        at: value of the option that is a list in the config; None: null, or there is no list.
    """

    values: Mapping[str, Any]
    at: Any = None

    @property
    def name(self) -> str:
        """Part of the names of files and scalars, ``truncation0.5``; empty without options."""
        return "-".join(f"{key}{value}" for key, value in self.values.items())

    def of(self, origin: Origin) -> Origin:
        """Return where images that are drawn like this come from; without options, the origin as it is."""
        if not self.values:
            return origin
        facts = {**origin.facts, "sampling": dict(self.values)}
        return origin._replace(facts=facts, stem=f"{origin.stem}-{self.name}")


def listed(sampling: Mapping[str, Any]) -> str | None:
    """Return the option that has a list of values, of which there is one at most; None if there is none."""
    return next((key for key, value in config.plain(sampling).items() if isinstance(value, list)), None)


def each(sampling: Mapping[str, Any], node: Mapping[str, Any]) -> Sequence[Sampling]:
    """Return the options of sampling of each score card, in the order of the list.

    Args:
        sampling: from the config.
        node: the config of the model.

    Raises:
        UsageError: the model does not take such a key or value.
    """
    values, key = config.plain(sampling), listed(sampling)
    found = []
    for each in values[key] if key else [None]:
        own = values | ({key: each} if key else {})
        config.check_sampling(own, node)
        found.append(Sampling({k: v for k, v in own.items() if v is not None}, own.get(key or "")))
    return found
