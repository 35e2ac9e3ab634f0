"""How well a latent-variable model reconstructs the real images: by their pixels, and as a set of images.

The reconstruction of an image is the mean of p(x|z) at its most likely code, without noise.

gancli eval ckpt=latest 'metrics=[psnr,rfid]' features=classifier
"""

from collections.abc import Mapping

from gancli.metrics.base import MODEL, REAL, RECONSTRUCTED, Metric, Statistics
from gancli.metrics.fid import few, fid
from gancli.metrics.latent import Sums
from gancli.metrics.moments import Moments


class Errors(Sums):
    """Absolute errors and PSNR of each image."""

    asks = "errors"


class PSNR(Metric):
    """Peak signal-to-noise ratio in decibels, 10 log10(1 / MSE) of pixels in [0, 1], and the mean absolute error.

    Both are means over images; the absolute error is that of pixels in [-1, 1], as all such errors here.
    """

    name, least = "psnr", 1
    needs = {MODEL: (Errors,)}
    values = {"psnr": True, "reconstruction_l1": False}

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        absolute, psnr = sets[MODEL][Errors].mean().tolist()
        return {"psnr": psnr, "reconstruction_l1": absolute}


class RFID(Metric):
    """FID of the reconstructions of all real images against these images: what FID no prior of the codes can beat."""

    name = "rfid"
    needs = {RECONSTRUCTED: (Moments,), REAL: (Moments,)}
    values = {"rfid": False}

    def warn(self, sets: Mapping[str, Statistics]) -> str | None:
        seen = sets[RECONSTRUCTED][Moments]
        return few(min(seen.n, sets[REAL][Moments].n), seen.dim)

    def __call__(self, sets: Mapping[str, Statistics]) -> dict[str, float]:
        return {"rfid": fid(sets[RECONSTRUCTED][Moments].gaussian(), sets[REAL][Moments].gaussian())}
