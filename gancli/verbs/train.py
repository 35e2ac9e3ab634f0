"""gancli train: a training run, or a lecture's figure.

gancli train model=dcgan data=mnist
gancli train experiment=lecture/dirac_gan
"""

from pathlib import Path
from typing import Any


def train(cfg: Any, folder: Path) -> dict[str, float]:
    """Train the model of ``cfg``, or draw the figure of its lecture, and return the last losses and scores.

    Raises:
        UsageError, TrainingDiverged, Interrupted: see training.loop.train() and lectures.base.run_lecture().
    """
    if cfg.lecture is not None:
        from gancli.lectures.base import run_lecture  # imports matplotlib, which takes as long as the rest of the start

        return run_lecture(cfg, folder)
    from gancli.training import loop

    return loop.train(cfg, folder)
