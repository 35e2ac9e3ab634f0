"""Features of stacked images: the classifier of grey images applied to each channel, as usual for Stacked MNIST.

gancli eval ckpt=latest n=26k 'metrics=[classes]'
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics.classifier import Classifier
from gancli.metrics.features import Features, Images


class StackedClassifier(Features):
    """Concatenated features of the three channels, and log p(r) + log p(g) + log p(b) for all triples of classes.

    The network is that of features=classifier on the grey images and shares its cache.
    """

    name = "stacked"

    def __init__(
        self,
        epochs: int | None = None,  # None: as many as make about 180,000 grey images, from 3 to 60
        seed: int = 0,  # of the initial weights and the order of images
    ) -> None:
        self.grey = Classifier(epochs, seed)
        self.dim = 3 * self.grey.dim

    def prepare(self, train: Callable[[], Images], device: torch.device) -> None:
        """Load or train the classifier of the grey training split. Raises UsageError if images are not stacked."""
        images = train()
        grey = images.stacked
        if grey is None:
            raise UsageError(
                f"features=stacked needs stacked images, which {images.name} does not have: choose data=stacked_mnist"
            )
        self.grey.prepare(lambda: grey, device)
        self.classes = self.grey.classes**3

    def protocol(self) -> dict[str, object]:
        return {**self.grey.protocol(), "name": self.name, "dim": self.dim}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.grey(images.flatten(0, 1)[:, None])  # (3N, 128), (3N, 10)
        r, g, b = logits.log_softmax(1).unflatten(0, (-1, 3)).unbind(1)  # (N, 10) each
        return features.unflatten(0, (-1, 3)).flatten(1), (
            r[:, :, None, None] + g[:, None, :, None] + b[:, None, None]
        ).flatten(1)
