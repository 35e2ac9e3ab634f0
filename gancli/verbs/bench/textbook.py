"""A GAN as tutorials write it: a DataLoader of transformed pictures, float32, .item() in the loop, no averaged weights.

The loop is that of the PyTorch tutorial on DCGAN (Adam 2e-4 and beta1 .5, labels 1 and 0 through binary cross-entropy).
It trains the networks of any GAN, or the tutorial's own (64 channels, N(0, .02), batch 128) with one stage less, for
pictures of 32 pixels: digits are padded to 32, and samples cropped again.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LATENTS, WIDTH, BATCH, SIDE = 100, 64, 128, 32


class Game(NamedTuple):
    """Two networks, how images are made and judged, and what that costs."""

    generator: nn.Module
    discriminator: nn.Module
    generate: Callable[[int], Tensor]  # number -> images, (N, C, H, W)
    judge: Callable[[Tensor], Tensor]  # images -> what the criterion takes, (N,)
    criterion: Callable[[Tensor, Tensor], Tensor]  # judgements and labels, (N,) each -> ()


class Pictures(Dataset):
    """Transforms one picture at a time, (C, H, W) in [-1, 1], as torchvision's transforms do.

    Args:
        pixels: (N, C, H, W) uint8.
        side: height and width that pictures are padded to; None: as they are.
    """

    def __init__(self, pixels: np.ndarray, side: int | None = None) -> None:
        self.pixels, self.pad = pixels, 0 if side is None else (side - pixels.shape[-1]) // 2

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        image = torch.from_numpy(self.pixels[index]).float().div(255)
        return nn.functional.pad(image, [self.pad] * 4).sub(0.5).div(0.5)


def networks(channels: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return generator and discriminator for 32 pixels."""
    generator = nn.Sequential(
        *_up(LATENTS, 4 * WIDTH, 1, 0), *_up(4 * WIDTH, 2 * WIDTH), *_up(2 * WIDTH, WIDTH),
        nn.ConvTranspose2d(WIDTH, channels, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        *_down(WIDTH, 2 * WIDTH), *_down(2 * WIDTH, 4 * WIDTH),
        nn.Conv2d(4 * WIDTH, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip
    for each in (generator, discriminator):
        each.apply(_initialise)
    return generator, discriminator


def tutorial(channels: int, device: str = "cpu") -> Game:
    """Return the game of the tutorial's own networks, for pictures of 32 pixels."""
    generator, discriminator = (net.to(device) for net in networks(channels))
    return Game(
        generator, discriminator, lambda n: generator(torch.randn(n, LATENTS, 1, 1, device=device)),
        lambda images: discriminator(images).view(-1), nn.BCELoss(),
    )  # fmt: skip


def train(pixels: np.ndarray, workers: int, device: str = "cpu") -> Iterator[tuple[nn.Module, int]]:
    """Train the tutorial's own networks; see play()."""
    game = tutorial(pixels.shape[1], device)
    for seen in play(game, Pictures(pixels, SIDE), workers, BATCH, device):
        yield game.generator, seen


def play(game: Game, pictures: Pictures, workers: int, batch_size: int, device: str | torch.device) -> Iterator[int]:
    """Train for ever, and yield the number of real images seen after every step.

    Args:
        game: the networks and what they do, on the device.
        pictures: of the size of the networks.
        workers: of the DataLoader.
        batch_size: images per step, at most as many as there are.
        device: where batches are copied to.
    """
    loader = DataLoader(pictures, batch_size, shuffle=True, num_workers=workers, drop_last=True)
    d_opt, g_opt = (
        torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (game.discriminator, game.generator)
    )
    seen = 0
    while True:
        for real in loader:
            game.discriminator.zero_grad()
            real = real.to(device)
            ones, zeros = (torch.full((len(real),), label, device=device) for label in (1.0, 0.0))
            error_real = game.criterion(game.judge(real), ones)
            error_real.backward()
            fake = game.generate(len(real))
            error_fake = game.criterion(game.judge(fake.detach()), zeros)
            error_fake.backward()
            d_opt.step()
            game.generator.zero_grad()
            error = game.criterion(game.judge(fake), ones)
            error.backward()
            g_opt.step()
            (error_real.item(), error_fake.item(), error.item())  # for the tutorial's printed losses
            seen += len(real)
            yield seen


@torch.no_grad()
def draw(generator: nn.Module, n: int, side: int) -> np.ndarray:
    """Return n samples, (n, C, side, side) uint8, drawn in eval mode."""
    generator.eval()
    pad = (SIDE - side) // 2
    images = torch.cat([generator(torch.randn(500, LATENTS, 1, 1)) for _ in range(-(-n // 500))])[:n]
    cropped = images[:, :, pad : SIDE - pad, pad : SIDE - pad]
    return cropped.add(1).mul(127.5).round().clamp(0, 255).byte().numpy()


def _up(inputs: int, outputs: int, stride: int = 2, padding: int = 1) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)
    ]  # fmt: skip


def _down(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)
    ]  # fmt: skip


def _initialise(module: Any) -> None:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
