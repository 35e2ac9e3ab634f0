"""DCGAN as tutorials write it: a DataLoader of transformed pictures, float32, .item() in the loop, no averaged weights.

Networks, initialisation and settings are those of the PyTorch tutorial on DCGAN (64 channels, N(0, .02), Adam 2e-4 and
beta1 .5, labels 1 and 0 through binary cross-entropy, batch 128), with one stage less, for pictures of 32 pixels:
digits are padded to 32, and samples cropped again.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LATENTS, WIDTH, BATCH = 100, 64, 128


class Pictures(Dataset):
    """Transforms one picture at a time, (C, H, W) in [-1, 1], as torchvision's transforms do."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, side = pixels, pixels.shape[-1]
        self.pad = (32 - side) // 2

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


def train(pixels: np.ndarray, workers: int, device: str = "cpu") -> Iterator[tuple[nn.Sequential, int]]:
    """Train for ever, and yield the generator and the number of real images seen after every step.

    Args:
        pixels: (N, C, H, W) uint8, of at most 32 pixels.
        workers: of the DataLoader.
        device: of the networks; batches are copied to it.
    """
    loader = DataLoader(Pictures(pixels), BATCH, shuffle=True, num_workers=workers, drop_last=True)
    generator, discriminator = (net.to(device) for net in networks(pixels.shape[1]))
    criterion, seen = nn.BCELoss(), 0
    d_opt, g_opt = (torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (discriminator, generator))
    while True:
        for real in loader:
            discriminator.zero_grad()
            real = real.to(device)
            ones, zeros = (torch.full((len(real),), label, device=device) for label in (1.0, 0.0))
            error_real = criterion(discriminator(real).view(-1), ones)
            error_real.backward()
            fake = generator(torch.randn(len(real), LATENTS, 1, 1, device=device))
            error_fake = criterion(discriminator(fake.detach()).view(-1), zeros)
            error_fake.backward()
            d_opt.step()
            generator.zero_grad()
            error = criterion(discriminator(fake).view(-1), ones)
            error.backward()
            g_opt.step()
            (error_real.item(), error_fake.item(), error.item())  # for the tutorial's printed losses
            seen += len(real)
            yield generator, seen


@torch.no_grad()
def draw(generator: nn.Sequential, n: int, side: int) -> np.ndarray:
    """Return n samples, (n, C, side, side) uint8, drawn in eval mode."""
    generator.eval()
    pad = (32 - side) // 2
    images = torch.cat([generator(torch.randn(500, LATENTS, 1, 1)) for _ in range(-(-n // 500))])[:n]
    cropped = images[:, :, pad : 32 - pad, pad : 32 - pad]
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
