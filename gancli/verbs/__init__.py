"""The verbs of the command line, one file or folder each; to add one, write it and list it here."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gancli.verbs.base import Verb

# Name -> the module of its VERB, and its line in the help, in the order in which the help lists them.
_LISTED = {
    "train": ("gancli.verbs.train", "train a model; -m trains one per combination of values"),
    "eval": ("gancli.verbs.evaluate.verb", "score checkpoints, runs, sweeps or pictures: FID, IS, KID and more"),
    "sample": ("gancli.verbs.sample.verb", "draw images from a checkpoint"),
    "complete": (
        "gancli.verbs.complete.verb",
        "complete images with a part missing, and give log-probabilities in nats",
    ),
    "project": ("gancli.verbs.project.verb", "find the latents of real pictures by optimisation, for any GAN"),
    "encode": ("gancli.verbs.encode.verb", "write the codes of pictures, means and deviations, by a model's encoder"),
    "report": ("gancli.verbs.report.verb", "compare runs in one table, with curves and samples"),
    "doctor": ("gancli.verbs.doctor", "tell what went wrong in a run, since when, and what to try"),
    "tune": ("gancli.verbs.tune.verb", "search for good settings by training again and again, on held-out images"),
    "bench": ("gancli.verbs.bench.verb", "measure how fast a config trains, and where time and memory go"),
}
SUMMARIES = {name: summary for name, (_, summary) in _LISTED.items()}


class Verbs(Mapping[str, "Verb"]):
    """The verbs by name. Each is imported when it is first asked for; the help lists them without."""

    def __init__(self) -> None:
        self.imported: dict[str, Verb] = {}

    def __getitem__(self, name: str) -> "Verb":
        """Return a verb. Raises KeyError."""
        if name not in self.imported:
            self.imported[name] = import_module(_LISTED[name][0]).VERB
        return self.imported[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such a verb, without importing it."""
        return name in _LISTED

    def __iter__(self) -> Iterator[str]:
        return iter(_LISTED)

    def __len__(self) -> int:
        return len(_LISTED)


VERBS = Verbs()
