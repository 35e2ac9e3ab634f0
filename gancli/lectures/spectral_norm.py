"""Spectral normalisation: Miyato, Kataoka, Koyama & Yoshida 2018, Spectral Normalization for GANs.

A discriminator is trained with and without it. The figure shows the singular values of each weight matrix (outputs in
rows) at the end, and the largest one during training. Each weight is divided by an estimate from one power iteration
per forward pass. The estimate can only be too small, so the largest singular value approaches 1 from above.

    gancli train experiment=lecture/spectral_norm
"""

from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gancli.lectures.base import Lecture, LectureContext
from gancli.lectures.players import adversarial_model, play
from gancli.training.run import Run
from gancli.views import figures

BAND = (1.0, 1.05)  # range of the largest singular value once the estimate has warmed up


class SpectralNorm(Lecture):
    """Singular values of the discriminator's layers, with and without spectral normalisation.

    Args:
        looks: number of times that they are computed during training.

    Raises:
        ValueError: ``looks`` is below 1.
    """

    def __init__(self, looks: int = 50) -> None:
        if looks < 1:
            raise ValueError(f"looks={looks} must be 1 or more")
        self.looks = looks

    def draw(self, context: LectureContext) -> tuple[Figure, dict[str, Any]]:
        figure, axes = figures.panels(1, 3, size=(4.6, 3.9))
        numbers: dict[str, Any] = {}
        curves = {}
        for i, name in enumerate(("without", "with")):
            run = context.build()
            if name == "without":
                for layer in normalised(adversarial_model(run).discriminator):
                    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            curves[name] = self._watch(run, context, name)
            spectra = [spectrum(layer) for layer in layers(adversarial_model(run).discriminator)]
            largest = [values[0].item() for values in spectra]
            numbers[name] = {"largest": max(largest), "smallest_largest": min(largest), "per_layer": largest}
            _draw_spectra(axes[0, i], f"{name} spectral normalisation", spectra)
        _draw_largest(axes[0, 2], curves["with"])
        numbers["with"]["images"] = [images for images, _ in curves["with"]]
        numbers["with"]["on_the_way"] = [values for _, values in curves["with"]]
        figures.source(figure, "Miyato et al. 2018, section 2.1; W has one row per output channel")
        return figure, numbers

    def _watch(self, run: Run, context: LectureContext, name: str) -> list[tuple[int, list[float]]]:
        """Train, and return the largest singular value of every layer at regular numbers of images."""
        curve: list[tuple[int, list[float]]] = []
        network, every = adversarial_model(run).discriminator, max(run.total // self.looks, 1)
        for images in play(run):
            context.show(f"{name} spectral normalisation", images, run.total)
            if images // every > len(curve) or images >= run.total:
                curve.append((images, [spectrum(layer)[0].item() for layer in layers(network)]))
        return curve


def layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the layers with a weight matrix."""
    return [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def normalised(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the layers with spectral normalisation."""
    return [layer for layer in layers(network) if parametrize.is_parametrized(layer, "weight")]


@torch.no_grad()
def spectrum(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Return the singular values of the weight as the network uses it, (K,) float64, the largest first."""
    training = layer.training
    layer.eval()  # reading the weight in training mode would advance the power iteration
    weight = layer.weight.flatten(1).double().cpu()
    layer.train(training)
    return torch.linalg.svdvals(weight)


def _shades(n: int) -> list[tuple[float, ...]]:
    """Return a colour per layer, from dark next to the image to light."""
    return [colormaps["viridis"](i / max(n - 1, 1) * 0.9) for i in range(n)]


def _draw_spectra(axes: Axes, title: str, spectra: list[Tensor]) -> None:
    for i, (values, colour) in enumerate(zip(spectra, _shades(len(spectra)))):
        rank = torch.linspace(0, 100, len(values)) if len(values) > 1 else torch.zeros(1)
        axes.plot(rank, values, "o-" if len(values) < 3 else "-", color=colour, lw=1.8, ms=4, label=f"layer {i + 1}")
    axes.axhline(1, ls=":", color="0.4")
    figures.label(axes, title, "normalised rank, %", "singular value", legend=False)
    axes.set(ylim=(0, None))
    axes.legend(fontsize=8, ncols=2)


def _draw_largest(axes: Axes, curve: list[tuple[int, list[float]]]) -> None:
    images = [each for each, _ in curve]
    axes.axhspan(*BAND, color=figures.COLOURS[2], alpha=0.15, lw=0, label="1 to 1.05")
    for i, (values, colour) in enumerate(zip(zip(*(each for _, each in curve)), _shades(len(curve[0][1])))):
        axes.plot(images, values, color=colour, lw=1.5, label=f"layer {i + 1}")
    figures.label(
        axes, "with spectral normalisation, during training", "images seen", "largest singular value", legend=False
    )
    figures.over_images(axes, [np.array(BAND)])
    axes.legend(fontsize=8, ncols=2)
