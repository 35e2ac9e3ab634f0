"""gancli as a library: what the commands do, as functions that return values and raise errors.

import gancli

gancli.train(["model=cgan", "data=digits", "images=20k"])
model = gancli.load("latest")
images = model.sample(64, label=3, seed=1)  # (64, 1, 8, 8) uint8
scores = gancli.evaluate(["latest", "features=classifier"])  # {"fid": ..., "is": ...}
sweep = gancli.evaluate(["outputs/sweep/*"])  # {"outputs/sweep/seed=1": {"fid": ..., "is": ...}, ...}
losses = [run.curve("loss/generator") for run in gancli.runs("outputs/*")]

Everywhere a run may be named by its folder, one of its checkpoints, or ``latest``. Errors that the caller can fix are
``gancli.errors.UsageError``, with the line that the command would print.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gancli.errors import UsageError
from gancli.folders import outputs

if TYPE_CHECKING:  # importing this module imports neither torch nor Hydra
    from omegaconf import DictConfig
    from torch import Tensor

    from gancli.models.base import Model
    from gancli.models.encoding import Codes
    from gancli.models.inversion import Inverted
    from gancli.training.checkpoint import Checkpoint
    from gancli.verbs.report.runs import Run

Device = Literal["auto", "cpu", "cuda"]


class LoadedModel:
    """A trained model, as load() returns it.

    Args:
        model: the network, in eval mode and without gradients, a ``torch.nn.Module``.
        saved: its checkpoint.
        trust: packages outside gancli whose classes may be built.
    """

    def __init__(self, model: "Model", saved: "Checkpoint", trust: Sequence[str] = ()) -> None:
        from gancli.views import choice

        self.model = model
        self.path: Path = saved.path  # the checkpoint file
        self.config: DictConfig = saved.config  # that of its training
        self.images: int = saved.images  # seen in training
        self.classes: list[str] = list(saved.classes)  # names of the classes or domains; empty if there are none
        self.shape: tuple[int, int, int] = model.spec.shape  # of one image, (C, H, W)
        self._data = choice.run_data(saved.config.data, saved.classes, saved.images, trust=trust)

    def sample(
        self, n: int, *, label: int | str | None = None, seed: int = 0, batch_size: int = 64, **sampling: Any
    ) -> "Tensor":
        """Sample n images: those that ``gancli sample`` writes for the same seed and batch size.

        Args:
            n: number of images, 1 or more.
            label: number or name of the only class, for a conditional model; None: the classes in turn.
            seed: seed of the latents, 0 or more.
            batch_size: images that are drawn at a time, 1 or more.
            sampling: options of the model, such as ``temperature=0.9`` of autoregressive models or ``truncation=0.7``
                of GANs with normal latents.

        Returns:
            Images (n, C, H, W) uint8 on the CPU, or points (n, D) float32 of a model of points.

        Raises:
            UsageError: the model translates, or lacks the class or the option.
            TrainingDiverged: an image is not finite.
        """
        import torch

        from gancli import config
        from gancli.models.sampling import class_labels, draw
        from gancli.views.translation import Translations

        for name, value, least in (("n", n, 1), ("seed", seed, 0), ("batch_size", batch_size, 1)):
            if value < least:
                raise UsageError(f"{name}={value}: must be {least} or more")
        if Translations.suits(self.model):
            raise UsageError(f"{type(self.model).__name__} translates images; call translate(images)")
        config.set_sampling(self.model, self.config.model, sampling)
        labels = class_labels(self.model, n, self._data.class_number(label))
        batches = [each.cpu() for each, _ in draw(self.model, n, seed=seed, batch_size=batch_size, labels=labels)]
        return torch.cat(batches).flatten(1) if self.model.spec.points else torch.cat(batches)

    def translate(self, images: "Tensor", direction: int | str | None = None, *, seed: int = 0) -> "Tensor":
        """Translate images of any size that the network can take after padding by reflection.

        Args:
            images: (N, C, H, W) uint8.
            direction: ``a2b`` or ``b2a``, of which None is the first; for several domains the target's number or name.
            seed: seed of the noise.

        Returns:
            The translations (N, C', H, W) uint8 on the CPU.

        Raises:
            UsageError: the model does not translate, has no such direction, or the images do not suit it.
        """
        import torch

        from gancli.data.spec import quantise, scaled
        from gancli.views.translation import Translations, check_direction, translate

        if not Translations.suits(self.model):
            raise UsageError(f"{type(self.model).__name__} does not translate images; call sample(n)")
        translation: Any = self.model
        way = check_direction(translation, None if direction is None else str(direction), self.classes)
        spec = translation.spec
        channels = spec.source_channels if way == "a2b" else spec.channels
        if images.dim() != 4 or images.dtype != torch.uint8 or images.shape[1] != channels:
            have = f"{tuple(images.shape)} {images.dtype}"
            raise UsageError(f"images must be (N, {channels}, H, W) torch.uint8, not {have}; convert them")
        generator = torch.Generator(translation.device).manual_seed(seed)
        return quantise(translate(translation, scaled(images.to(translation.device)), way, generator)).cpu()

    def project(
        self, images: "Tensor", label: "int | str | Tensor | None" = None, *, space: str | None = None,
        steps: int = 1000, lr: float = 0.1, restarts: int | None = None, seed: int = 0, batch_size: int = 64,
    ) -> "Inverted":  # fmt: skip
        """Find the latents of pictures by optimisation, as ``gancli project`` does.

        Args:
            images: pictures (N, C, H, W) uint8 of the model's size.
            label: number or name of their class, or the number of each, (N,), for a conditional model.
            space: z, w or w+; None: w of style-based models, z of others.
            steps: number of steps, 1 or more.
            lr: highest learning rate, above 0.
            restarts: starts of each picture, of which the best is kept; None: 8 in z, else 1.
            seed: seed of the starts and of the noise, 0 or more.
            batch_size: pictures times starts at a time, 1 or more.

        Returns:
            ``latent``, ``image`` (N, C, H, W) in [-1, 1], ``distance`` (N,) and more, see models.inversion.Inverted.

        Raises:
            UsageError: the model is no GAN of images, or lacks the class or the space, or the pictures have another
                size.
        """
        from gancli.data.spec import scaled
        from gancli.models import inversion

        model = inversion.searchable(self.model)
        labels = self._classes_of(images, label)
        asked = inversion.space_of(model, space)
        restarts = inversion.RESTARTS[asked] if restarts is None else restarts
        counts = (("steps", steps, 1), ("restarts", restarts, 1), ("batch_size", batch_size, 1), ("seed", seed, 0))
        for name, value, least in counts:
            if value < least:
                raise UsageError(f"{name}={value}: must be {least} or more")
        if lr <= 0:
            raise UsageError(f"lr={lr}: must be above 0")
        settings = inversion.Settings(asked, steps, lr, restarts, seed)
        return inversion.invert(model, scaled(images.to(model.device)), labels, settings, batch_size=batch_size)

    def encode(self, images: "Tensor", label: "int | str | Tensor | None" = None, *, batch_size: int = 64) -> "Codes":
        """Return ``mean`` and ``std`` of pictures, (N, d) each on the CPU, or ``codes``, as ``gancli encode`` does.

        Args:
            images, label: see project().
            batch_size: pictures at a time, 1 or more.

        Raises:
            UsageError: see project(), or the model encodes no pictures.
        """
        from gancli.models import encoding

        model = encoding.encodable(self.model)
        labels = self._classes_of(images, label)
        if batch_size < 1:
            raise UsageError(f"batch_size={batch_size}: must be 1 or more")
        return encoding.encode(model, images, labels, batch_size=batch_size)

    def _classes_of(self, images: "Tensor", label: "int | str | Tensor | None") -> "Tensor | None":
        """Return the classes of pictures, (N,), or None for an unconditional model; refuse other tensors and sizes."""
        import torch

        from gancli.views.chosen import Chosen, class_labels

        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1:] != self.shape or not len(images):
            have = f"{tuple(images.shape)} {images.dtype}"
            raise UsageError(f"images must be (N, {', '.join(map(str, self.shape))}) torch.uint8, not {have}")
        each = label.cpu().numpy() if isinstance(label, torch.Tensor) else None
        chosen = Chosen([str(i) for i in range(len(images))], images.cpu().numpy(), each)
        return class_labels(self.model, self._data, chosen, None if isinstance(label, torch.Tensor) else label)


def load(
    run: str | Path = "latest", *, ema: bool = True, device: Device = "cpu", trust: Sequence[str] = ()
) -> LoadedModel:
    """Load a trained model; nothing in the file is executed.

    Args:
        run: a run folder, a checkpoint file or ``latest``.
        ema: use the averaged weights, if the run kept some.
        device: where the model computes; auto: a GPU if there is one.
        trust: packages outside gancli whose classes may be built.

    Raises:
        UsageError: there is no such checkpoint, or it cannot be read.
    """
    import torch

    from gancli.training import checkpoint

    saved = checkpoint.load(run)
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return LoadedModel(checkpoint.rebuild(saved, ema=ema, device=place, trust=trust), saved, trust)


def train(overrides: Sequence[str] = ()) -> "Run":
    """Train as ``gancli train <overrides>`` does, and return the run.

    Args:
        overrides: settings as on the command line, ``["model=dcgan", "images=200k"]``, without flags such as ``-m``.

    Returns:
        The run: its ``folder``, ``settings``, ``history`` (rows of metrics.jsonl), ``curve(key)`` and more.

    Raises:
        UsageError: a setting is wrong.
        TrainingDiverged, Interrupted: as in training; the run's folder is kept.
    """
    from gancli.cli import calls
    from gancli.verbs.report import runs as folders

    return folders.read(calls.call("train", overrides).folder)


def evaluate(overrides: Sequence[str] = ("latest",), **sampling: Any) -> dict[str, Any]:
    """Score checkpoints, runs, sweeps or images as ``gancli eval <overrides>`` does; score cards are written, too.

    Args:
        overrides: settings as on the command line: ``["latest", "n=10k", "metrics=[fid,kid]"]``. Several runs,
            checkpoints, sweeps and globs may be named: ``["outputs/sweep/*", "which=best"]``.
        sampling: options of the model, such as ``truncation=0.7``; one of them may be a list, ``truncation=[1, 0.7]``.

    Returns:
        The values by name, those that the score card has; see ``conf/eval.yaml``. For a list of ``sampling``, the names
        begin with its values: ``truncation=0.7/fid``. Of several checkpoints, such values by the path of each; those
        that could not be scored are left out, and a warning in the log says why.

    Raises:
        UsageError: a setting is wrong, or nothing could be scored.
    """
    import logging

    from gancli.cli import calls

    options = [f"sampling.{key}={json.dumps(value)}" for key, value in sampling.items()]
    jobs = calls.call_each("eval", [*overrides, *options])
    if len(jobs) == 1:
        return next(iter(jobs.values()))().metrics
    found: dict[str, Any] = {}
    for path, job in jobs.items():
        try:
            found[str(path)] = job().metrics
        except UsageError as error:
            logging.getLogger("gancli").warning("%s: %s", path, error)
            last = error
    if not found:
        raise last
    return found


def compose(verb: str, overrides: Sequence[str] = ()) -> "DictConfig":
    """Return the checked config with which ``gancli <verb> <overrides>`` would run; nothing is run or written.

    Raises:
        UsageError: there is no such verb, or a setting is wrong.
    """
    from gancli.cli import calls

    return calls.call(verb, overrides, only_config=True).config


def runs(named: str | Path | Sequence[str | Path] | None = None) -> "list[Run]":
    """Read run folders, without torch.

    Args:
        named: run folders, folders of runs such as sweeps, globs, or ``latest``; None: all of ``outputs/``.

    Returns:
        The runs, those of a sweep in the order of its jobs; see train().

    Raises:
        UsageError: nothing matches, or there is no run.
    """
    from gancli.verbs.report import runs as folders

    given = outputs() if named is None else named
    return folders.read_all(str(given) if isinstance(given, (str, Path)) else [str(each) for each in given])
