"""Statistics that stay on the device until a tick and are then written to TensorBoard and metrics.jsonl."""

import json
import math
import os
import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summary

from gancli import structure
from gancli.config.legacy import renewed_choices
from gancli.errors import TrainingDiverged
from gancli.files import replacing
from gancli.structure import read_json, read_rows

FILE = "metrics.jsonl"
RGB = 3  # channels, as TensorBoard counts them


class Tracker:
    """Means over the steps of a tick, and the run's two logs, which only the main process writes.

    Args:
        run_dir: the run folder.
        images: images seen so far; log entries beyond it, from the lost work of a killed run, are dropped.
        main: whether this process is the main one.
        again: what is done again at ``images``, as ``eval`` or ``doctor``; its entries are dropped.
        average: averages tensors over all processes in place; None: there is one.
    """

    FOLD = 256  # scalars kept as separate tensors before they are stacked, which bounds the memory of a long tick

    def __init__(
        self,
        run_dir: Path,
        images: int = 0,
        *,
        main: bool = True,
        again: Collection[str] = (),
        average: Callable[[list[Tensor]], None] | None = None,
    ) -> None:
        self.path, self.main, self.average = run_dir / FILE, main, average or (lambda tensors: None)
        self.last: dict[str, float] = {}  # the newest value of every scalar, also of the run that is resumed
        if main:
            for row in _truncate(self.path, images, again):
                self.last |= {key: value for key, value in row.items() if key != "images"}
            abandoned = any(run_dir.glob("events.out.tfevents.*"))  # of a run killed before its first checkpoint
            self.writer = SummaryWriter(run_dir, purge_step=images + 1 if images else 0 if abandoned else None)
            self.file = self.path.open("a", encoding="utf-8")
        self.pending: dict[str, list[Tensor]] = defaultdict(list)
        self.packed: dict[str, list[Tensor]] = defaultdict(list)
        self.row: dict[str, float] = {}  # the newest line

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Record the 0-dim tensors of one step without computing on them or copying them to the host."""
        for key, value in scalars.items():
            self.pending[key].append(value)
            if len(self.pending[key]) == self.FOLD:
                self.packed[key].append(torch.stack(self.pending.pop(key)))

    def tick(self, images: int, extra: Mapping[str, float] | None = None) -> dict[str, float]:
        """Write the means since the last tick, with one copy to the host, and return them.

        Args:
            images: images seen, which is the step in every log.
            extra: values already on the host (learning rates, images/s).

        Raises:
            TrainingDiverged: a mean is not finite; the message names the phase and the term.
        """
        means = self.check(images)
        self.packed.clear()
        self.write(images, means | dict(extra or {}))
        return means

    def check(self, images: int) -> dict[str, float]:
        """Return the means since the last tick, with one copy to the host, without writing them.

        Raises:
            TrainingDiverged: a mean is not finite; the message names the phase and the term.
        """
        series = {key: values.double() for key, values in self.state_dict().items()}
        if not series:
            return {}
        together = torch.stack([x.mean() for x in series.values()])
        self.average([together])
        means = dict(zip(series, together.tolist()))
        bad = [key for key, value in means.items() if not math.isfinite(value)]
        if bad:
            own = any(not series[key].isfinite().all() for key in bad)  # else it is another process's
            phase, _, term = _first_bad(series if own else {key: series[key] for key in bad}).partition("/")
            raise TrainingDiverged.at(images, f"{term} of {phase} is")
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """Return the values since the last tick, (N,) each, on the device: the next row holds their means."""
        for key, values in self.pending.items():
            self.packed[key].append(torch.stack(values))
        self.pending.clear()
        return {key: torch.cat(parts) for key, parts in self.packed.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore what state_dict() returned, so that a resumed run has the rows of one that was not interrupted."""
        self.packed.update({key: [values.to(device)] for key, values in state.items()})

    def write(self, images: int, scalars: Mapping[str, float]) -> None:
        """Write host values to both logs."""
        self.last |= scalars
        self.row = {"images": images, **scalars}
        if not self.main:
            return
        self.file.write(json.dumps(self.row) + "\n")
        self.file.flush()
        for key, value in scalars.items():
            self.writer.add_scalar(key, value, images)

    def image(self, name: str, png: bytes, images: int) -> None:
        """Log the contents of a PNG file."""
        if not self.main:
            return
        width, height = struct.unpack(">II", png[16:24])  # of its first chunk, which is always the header
        picture = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=png)
        events: Any = self.writer.file_writer
        events.add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), images)

    def text(self, name: str, text: str, images: int = 0) -> None:
        if self.main:
            self.writer.add_text(name, text, images)

    def hparams(self, config: Mapping[str, Any]) -> None:
        """Write the run's row of the HPARAMS tab, its scalar settings, into its own event file.

        Its metrics are the run's scalars. There is no summary of an experiment, which add_hparams() writes: TensorBoard
        would take the columns of one of the runs, in the order of the alphabet. Without, it has those of all runs, and
        those come first in which the runs differ.
        """
        if not self.main:
            return
        config = hyperparameters(config, read_json(self.path.parent / "status.json", structure.STATUS) or {})
        plain = {key: value if isinstance(value, (bool, int, float)) else str(value) for key, value in config.items()}
        events: Any = self.writer.file_writer
        _, *session = hparams_summary(plain, {})
        for summary in session:
            events.add_summary(summary)

    def flush(self) -> None:
        """Write what is buffered, so that a kill loses no entry before the checkpoint that is saved next."""
        if self.main:
            self.writer.flush()

    def close(self) -> None:
        if self.main:
            self.file.close()
            self.writer.close()


def hyperparameters(settings: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the names of groups' options as they are chosen on the command line.

    Args:
        settings: the run's settings by dotted keys, with the name of the class for each group.
        status: the run's status.json, which has the chosen option of each group; may be empty.
    """
    choices = {key: each for key, each in renewed_choices(status.get("choices", {})).items() if _identifies(key)}
    return {**settings, **choices}


def _identifies(group: str) -> bool:
    return group.partition("/")[0] not in ("runtime", "features", "internal", "local")


def write_scalars(run_dir: Path, scalars: Mapping[str, float], step: int) -> None:
    """Add scalars to a run's TensorBoard log outside of training."""
    with SummaryWriter(run_dir) as writer:
        for key, value in scalars.items():
            writer.add_scalar(key, value, step)


def _first_bad(series: Mapping[str, Tensor]) -> str:
    """Return the scalar that was the first to become non-finite, preferring parts to sums and norms."""

    def onset(key: str) -> float:
        bad = (~series[key].isfinite()).nonzero()
        return bad[0].item() / len(series[key]) if len(bad) else math.inf  # relative, as phases may be repeated

    parts = [key for key in series if not key.startswith(("loss/", "grad_norm/", "doctor/"))]
    first = min(parts or series, key=onset)  # ties go to the first in the order of the step
    return first if onset(first) < math.inf else min(series, key=onset)


def rewind_events(run_dir: Path, images: int, aside: Path) -> None:
    """Move a run's TensorBoard files into another folder, and leave copies without the entries beyond ``images``.

    The final values of the run's HPARAMS row are of its abandoned end, and are left out as well.
    """
    for file in sorted(run_dir.glob("events.out.tfevents.*")):
        kept = aside / file.name
        os.replace(file, kept)
        with replacing(file) as temporary, temporary.open("wb") as stream:
            writer = RecordWriter(stream)
            for record in RawEventFileLoader(str(kept)).Load():
                event = Event.FromString(record)
                hparams = any(value.tag.startswith("_hparams_/") for value in event.summary.value)
                if event.step <= images and not hparams:
                    writer.write(record)


def _truncate(path: Path, images: int, again: Collection[str]) -> list[dict[str, Any]]:
    """Atomically drop the lines beyond ``images``, those there of what is done again, and an incomplete last line.

    Returns the rows that are left.
    """
    kept = []
    for row in read_rows(path):
        repeated = row["images"] == images and any(key.partition("/")[0] in again for key in row)
        if row["images"] <= images and not repeated:
            kept.append(row)
    if path.exists():
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return kept
