"""The interface of a lecture, which draws one figure and writes its numbers as JSON.

To add one, write a subclass of Lecture in a new file, and ``conf/experiment/lecture/<name>.yaml`` that names it.

    gancli train experiment=lecture/dirac_gan
"""

import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from gancli import config
from gancli.console import setup_logging, watched
from gancli.errors import Interrupted
from gancli.files import replacing
from gancli.training.build import build
from gancli.training.folder import open_folder
from gancli.training.guard import writing
from gancli.training.run import Run
from gancli.training.runtime import Runtime
from gancli.training.stopping import StopSignal
from gancli.training.tracker import Tracker
from gancli.views import figures
from gancli.views.grids import png, save_png

log = logging.getLogger("gancli")

FIGURE, NUMBERS = "figure.png", "numbers.json"


@dataclass(frozen=True)
class LectureContext:
    """The context in which a lecture runs, besides its own parameters.

    Args:
        cfg: the whole config of a training run.
        runtime: device and precision.
        show: reports progress: (what, done, total).
    """

    cfg: Any
    runtime: Runtime
    show: Callable[[str, int, int], None]

    def build(self, **nodes: Any) -> Run:
        """Build a training run from the config, with the given nodes (``loss=``, ``data=``, ...) replaced.

        Raises:
            UsageError: see run.build().
        """
        return build(config.replaced(self.cfg, nodes))


class Lecture(ABC):
    """One figure and its numbers; the constructor's arguments are the parameters."""

    @abstractmethod
    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        """Return the figure, and its numbers in nested dicts and lists; deterministic for a given seed."""


def run_lecture(cfg: Any, run_dir: Path) -> dict[str, float]:
    """Run the lecture in ``cfg.lecture``, write its figure and numbers, and return the named numbers.

    Raises:
        UsageError: the parameters contradict each other.
        Interrupted: a signal arrived; neither figure nor numbers are written.
    """
    setup_logging()
    runtime = Runtime.from_config(cfg.runtime)
    torch.manual_seed(cfg.seed)
    lecture = config.instantiate(cfg.lecture, Lecture, trust=cfg.trust)
    with ExitStack() as stack:
        stack.enter_context(writing(run_dir))
        open_folder(cfg, run_dir)
        stop, show = stack.enter_context(StopSignal()), stack.enter_context(watched())

        def shown(what: str, done: int, total: int) -> None:
            if stop.signum:
                raise Interrupted(stop.signum, f"stopped before {run_dir / FIGURE} was drawn")
            show(what, done, total)

        figure, numbers = lecture.draw(LectureContext(cfg, runtime, shown))
        encoded = png(figures.pixels(figure))  # once, for drawing takes longer than some lectures
        save_png(run_dir / FIGURE, encoded)
        with replacing(run_dir / NUMBERS) as temporary:
            temporary.write_text(json.dumps(_plain(numbers), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        tracker = Tracker(run_dir)
        tracker.image("lecture", encoded, 0)
        tracker.close()
    log.info("done -> %s and %s", run_dir / FIGURE, NUMBERS)
    return _flat(numbers)


def _plain(value: Any) -> Any:
    """Convert numbers to JSON types; infinities and NaN become the strings "inf", "-inf" and "nan"."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten nested numbers to names like a.b.c; lists are left out."""
    flat: dict[str, float] = {}
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)):
            flat[f"{prefix}{key}"] = float(value)
    return flat
