"""A variational autoencoder beside a GAN: the same network draws, of the same images, seed by seed.

The VAE (Kingma & Welling 2014) minimises one number that bounds -log p(x) and falls; what it draws are means of p(x|z),
blurred where the code leaves pixels open. The GAN (Radford et al. 2016) has two numbers that are pushed against each
other and say little about its pictures, which are sharp, and a Fréchet distance that goes up and down and differs by
seed. For both: sharpness (the variance of the Laplacian, 1: as sharp as the data), and precision and recall
(Kynkaanniemi et al. 2019), which say how many pictures lie among the real ones, and how many real ones among them.

The encoder has the layers of the discriminator, the decoder those of the generator up to its last activation: the mean
of a binary pixel is tanh(s / 2) where the generator draws tanh(s). Latents are normal here and uniform there.

    gancli train experiment=lecture/vae_vs_gan
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gancli.data.levels import binarized
from gancli.data.spec import ImageSpec, scaled
from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import NullTracker
from gancli.metrics.scorer import Scorer
from gancli.models.dcgan import dense_units, discriminator, generator, pyramid
from gancli.models.latent import GaussianLatents, LatentVariable
from gancli.models.sampling import draw
from gancli.nn.init import dcgan_
from gancli.nn.likelihoods import Likelihood
from gancli.ranges import Positive, Units
from gancli.training.run import Run
from gancli.training.turn import run_turn
from gancli.views import figures
from gancli.views.grids import make_grid

SHOWN = 36  # pictures in a panel
VAE, GAN = "VAE", "GAN"
COLOUR = dict(zip((VAE, GAN), figures.COLOURS))
SHARES = ("sharpness", "precision", "recall")


class DCGANAutoencoder(GaussianLatents):
    """A variational autoencoder with the layers of a DCGAN of the same ``width`` and ``hidden``; see DCGAN.

    Args:
        spec: shape and levels of the images.
        likelihood: see LatentVariable.
        latent_dim: number of latents.
        width: channels next to the image; they double with each stage away from it.
        hidden: units of a dense layer next to the seed of both networks; None: see dcgan.dense_units().
    """

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        latent_dim: Units = 64,
        width: Units = 16,
        hidden: int | None = None,
    ) -> None:
        super().__init__(spec, likelihood, latent_dim)
        widths, seed = pyramid(spec, width)
        units = dense_units(hidden, spec, width)
        self.encoder = discriminator(spec.channels, widths, seed, hidden=units, outputs=2 * latent_dim)
        channels = self.likelihood.channels(spec.channels)
        self.decoder = generator(latent_dim, widths[::-1], channels, seed, units)[:-1]  # without the tanh
        self.apply(dcgan_)

    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        return self.encoder(image)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z[:, :, None, None])


class Means(NullTracker):
    """Sums the losses of all updates until they are asked for."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor, int]] = {}

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        for name, value in scalars.items():
            if name.startswith("loss/"):
                total, n = self.sums.get(name, (torch.zeros((), device=value.device), 0))
                self.sums[name] = total + value, n + 1

    def take(self) -> dict[str, float]:
        """Return the mean of each loss since the last time."""
        found = {name.removeprefix("loss/"): total.item() / n for name, (total, n) in self.sums.items()}
        self.sums = {}
        return found


class VAEvsGAN(Lecture):
    """Pictures, curves and scores of both, over several seeds.

    Args:
        vae: config nodes of the autoencoder (``model``, ``loss`` and others that differ); the config itself is the GAN.
        seeds: number of seeds of each.
        looks: number of times in each run that bound and distance are computed.
        n: pictures behind each score, and test images behind each bound.
    """

    def __init__(self, vae: dict[str, Any], seeds: Positive = 3, looks: Positive = 8, n: Positive = 1000) -> None:
        self.vae, self.seeds, self.looks, self.n = vae, seeds, looks, n

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        numbers: dict[str, Any] = {VAE: [], GAN: []}
        pictures: dict[str, Tensor] = {}
        for i in range(self.seeds):
            for j, name in enumerate((VAE, GAN)):
                seed = context.cfg.seed + i
                run = context.build(seed=seed, **(self.vae if name == VAE else {}))
                assert run.scoring is not None, "both are scored: eval.every is not 0"
                scorer = run.scoring.subjects[0].scorer
                done, whole = (2 * i + j) * run.total, 2 * self.seeds * run.total
                show = partial(_shown, context, done, whole)
                found, drawn = self._trained(run, scorer, show, bound=name == VAE)
                numbers[name].append(found)
                pictures.setdefault(name, drawn)
        test = binarized(run.source.split("test"))
        numbers["spread"] = {name: spread(numbers[name]) for name in (VAE, GAN)}
        figure, axes = figures.panels(2, 4, size=(3.7, 3.5))
        _pictures(axes[0, 0], "test images", torch.from_numpy(test.pixels))
        _pictures(axes[0, 1], "VAE: means of p(x|z), z from the prior", pictures[VAE])
        _pictures(axes[0, 2], "GAN: generated images", pictures[GAN])
        _bars(axes[0, 3], numbers["spread"])
        _curves(axes[1, 0], numbers[VAE], {"bound": COLOUR[VAE]}, "VAE: one number that falls", "-ELBO, nats per image")
        both = {"discriminator": figures.COLOURS[2], "generator": figures.COLOURS[3]}
        _curves(axes[1, 1], numbers[GAN], both, "GAN: two losses against each other", "loss, nats")
        for name in (VAE, GAN):
            _curves(axes[1, 2], numbers[name], {"fid": COLOUR[name]}, "Fréchet distance, a line per seed", "FID", name)
        figures.log_y(axes[1, 2])
        _trade(axes[1, 3], numbers)
        figures.source(figure, "Kingma & Welling 2014; Radford et al. 2016; Kynkaanniemi et al. 2019")
        return figure, numbers

    def _trained(
        self, run: Run, scorer: Scorer, show: Callable[[int], None], *, bound: bool
    ) -> tuple[dict[str, Any], Tensor]:
        """Train a run; return its curves and last scores, and the pictures behind these."""
        tracker, curves = Means(), {"images": []}  # type: ignore[var-annotated]
        for look in range(1, self.looks + 1):
            while run.images < look * run.total / self.looks:
                run_turn(run, tracker, measure=False)
                show(run.images)
            with run.ema.sampling() as model:
                batches = draw(model, self.n, seed=run.cfg.seed, batch_size=run.cfg.batch_size)
                drawn = torch.cat([images.cpu() for images, _ in batches])
                values = scorer.score([(drawn, None)]).values
                values |= {"bound": self._bound(run, cast(LatentVariable, model))} if bound else {}
            curves["images"].append(run.images)
            for name, value in (tracker.take() | values).items():
                curves.setdefault(name, []).append(value)
        return {"curves": curves, "scores": values}, drawn

    def _bound(self, run: Run, model: LatentVariable) -> float:
        """Return -ELBO of test images in nats, with codes from a seed."""
        image = scaled(torch.from_numpy(binarized(run.source.split("test")).pixels[: self.n])).to(model.device)
        codes = torch.Generator(model.device).manual_seed(0)
        return -torch.cat([model.bound(part, generator=codes) for part in image.split(250)]).mean().item()


def _shown(context: LectureContext, done: int, whole: int, images: int) -> None:
    context.show("both", done + images, whole)


def spread(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each score over the seeds; one seed has no deviation, 0."""
    found = {}
    for key in runs[0]["scores"]:
        values = np.array([each["scores"][key] for each in runs])
        found[key] = {"mean": float(values.mean()), "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0}
    return found


def _bars(axes: Axes, scores: dict[str, dict[str, dict[str, float]]]) -> None:
    for i, (name, values) in enumerate(scores.items()):
        at = np.arange(len(SHARES)) + (i - 0.5) * 0.36
        heights, errors = ([values[key][kind] for key in SHARES] for kind in ("mean", "std"))
        axes.bar(at, heights, 0.34, yerr=errors, color=COLOUR[name], label=name, capsize=3)
    axes.axhline(1, color="black", ls=":", lw=1, label="as sharp as the data")
    axes.set_xticks(range(len(SHARES)), SHARES)
    axes.set_ylim(0, 1.5)  # room for the legend
    figures.label(axes, "mean and deviation over seeds", "", "share, or multiple of the data's")


def _curves(
    axes: Axes, runs: list[dict[str, Any]], keys: Mapping[str, str], title: str, y: str, name: str | None = None
) -> None:
    for i, each in enumerate(runs):
        for key, colour in keys.items():
            text = None if i else name or key
            axes.plot(each["curves"]["images"], each["curves"][key], ".-", color=colour, lw=1.2, alpha=0.8, label=text)
    figures.label(axes, title, "images seen", y)
    figures.over_images(axes, [np.array(each["curves"][key]) for each in runs for key in keys])


def _trade(axes: Axes, numbers: dict[str, Any]) -> None:
    for name in (VAE, GAN):
        for i, each in enumerate(numbers[name]):
            recall, precision = each["curves"]["recall"], each["curves"]["precision"]
            axes.plot(recall, precision, "-", color=COLOUR[name], lw=0.8, alpha=0.5)
            axes.plot(recall[-1], precision[-1], "o", color=COLOUR[name], label=None if i else f"{name}, at the end")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    figures.label(axes, "quality against variety", "recall", "precision")


def _pictures(axes: Axes, title: str, images: Tensor) -> None:
    axes.imshow(make_grid(images[:SHOWN], 6), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
