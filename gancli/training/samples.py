"""The pictures that a run writes during training, always of the same latents or images so that they are comparable."""

from pathlib import Path

from gancli.models.base import Model
from gancli.models.sampling import columns
from gancli.training.run import Run
from gancli.training.stopping import interruptible
from gancli.training.tracker import Tracker
from gancli.views.base import RunData
from gancli.views.choice import held_out
from gancli.views.grids import png, save_png


def write_samples(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write the pictures of every view, drawn by the averaged model, into ``samples/``.

    Pictures of the first view are named ``<images>.png``, those of other views ``<images>-<view>.png``; views with
    several pictures add the pictures' names.

    Raises:
        Stopped: a signal asks to stop.
    """
    cfg = run.cfg
    classes = run.source.split("train").class_names
    data = RunData(lambda: run.source, classes, run.images, held_out(cfg.data))
    with run.runtime.undisturbed(), run.ema.sampling() as model, interruptible():
        n, drawing = _full_rows(model, cfg.samples.n), {"seed": cfg.seed, "batch_size": cfg.batch_size}
        drawn = {
            view: {name: picture.shown() for name, picture in each.draw(model, data, n=n, **drawing).items()}
            for view, each in run.views.items()
        }
    for i, (view, pictures) in enumerate(drawn.items()):
        for name, image in pictures.items():
            if image is None:
                continue
            ending = "".join(f"-{part}" for part in (view if i else "", name) if part)
            encoded = png(image)  # once for both
            save_png(run_dir / "samples" / f"{run.images:012d}{ending}.png", encoded)
            tag = "/".join(part for part in (view if i else "samples", name) if part)
            tracker.image(tag, encoded, run.images)


def _full_rows(model: Model, n: int) -> int:
    """Round n down to full rows of a grid that has a column per class."""
    width = columns(model, n)
    return n - n % width if width else n
