"""Codes in a plane while they learn: van den Oord et al. 2017, Neural Discrete Representation Learning, section 3.1.

Small autoencoders of digits, alike up to what lies between encoder and decoder, an encoder's output z of two numbers:

- a codebook that follows its vectors (EMA). The code of z is the nearest one, so that each code has a cell of the
  Voronoi diagram, and only codes whose cell holds some z move: far from the data they stay where they are, dead (their
  average count fades; when it is as small as its smoothing, after a thousand updates or so, they fall towards zero).
  Codes that start at the data, and start again there if nobody uses them, live.
- finite scalar quantisation (Mentzer et al. 2024): a lattice that is given, in a square that tanh fits z to.
- the Gumbel-softmax (Jang et al. 2017): the encoder gives logits, and z is sum_k y_k e_k. As y is a distribution, z
  lies in the convex hull of the e_k; as y becomes one-hot, at low temperatures or straight through, z moves to an e_k.

    gancli train experiment=lecture/vq_codes
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gancli.data.digits import Digits
from gancli.lectures import vq_codes_figure
from gancli.lectures.base import Lecture, LectureContext
from gancli.models.dvae import relaxed
from gancli.nn.codebook import VQ
from gancli.nn.quantisers import FSQ, Quantised, perplexity, used
from gancli.ranges import Above, Positive

RANDOM, DATA, LATTICE, GUMBEL = "codebook, random start", "codebook, data start", "FSQ", "Gumbel-softmax"
STD = 0.1  # of a pixel in [0, 1], so that errors are nats
LR = 3e-3
PATHS = 60  # times at which the codes' places are kept
WARMEST = 1.0  # temperature at the start


class Look(NamedTuple):
    """An autoencoder at some time: the vectors of all images, the codes, and which code each image has."""

    images: int
    z: Tensor  # (N, 2)
    codes: Tensor  # (K, 2)
    number: Tensor  # (N,)


class VQCodes(Lecture):
    """Codes, their cells and their convex hull, of a codebook, a lattice and relaxed codes.

    Args:
        codes: number of vectors of the codebook and of the Gumbel-softmax.
        sizes: levels of the lattice's two dimensions.
        spread: standard deviation of the codes that start at random; the untrained encoder's outputs have less than 1.
        temperatures: of the relaxed codes that are shown; the last one is that of the end of training.
        updates: of each autoencoder.
        batch: images of an update.
        looks: shares of the training at which the first codebook is shown.

    Raises:
        ValueError: the lattice has not two dimensions, or there are not two temperatures and three looks.
    """

    def __init__(
        self,
        codes: Positive = 25,
        sizes: list[Positive] | tuple[Positive, ...] = (5, 5),
        spread: Above = 10.0,
        temperatures: list[Above] | tuple[Above, ...] = (4.0, 0.1),
        updates: Positive = 800,
        batch: Positive = 128,
        looks: list[float] | tuple[float, ...] = (0.0, 0.1, 1.0),
    ) -> None:
        if len(sizes) != 2:
            raise ValueError(f"sizes={list(sizes)} must be two: the codes are drawn in a plane")
        if len(temperatures) != 2 or len(looks) != 3 or not all(0 <= share <= 1 for share in looks):
            raise ValueError(
                f"temperatures={list(temperatures)} must be two, and looks={list(looks)} three shares from 0 to 1"
            )
        self.codes, self.sizes, self.temperatures = codes, list(sizes), list(temperatures)
        self.updates, self.batch, self.looks, self.spread = updates, batch, looks, spread

    def draw(self, context: LectureContext) -> tuple[Any, dict[str, Any]]:
        split = Digits().split("train")
        image = torch.from_numpy(split.pixels).flatten(1).float() / 255
        parts: dict[str, Callable[[], Between]] = {
            RANDOM: lambda: Codebook(VQ(self.codes, 2, restart=0.0), self.spread),
            DATA: lambda: Codebook(VQ(self.codes, 2, restart=0.05)),
            LATTICE: lambda: Lattice(FSQ(self.sizes)),
            GUMBEL: lambda: Relaxed(self.codes, self.temperatures[-1]),
        }
        runs = {}
        for i, (name, make) in enumerate(parts.items()):
            torch.manual_seed(context.cfg.seed)
            between = make()
            model = Autoencoder(between, image.shape[1])
            kept = []
            for kind in model.train_on(image, self.updates, self.batch):
                context.show(name, i * self.updates + kind.images // self.batch, len(parts) * self.updates)
                kept.append(kind)
            runs[name] = kept
            if isinstance(between, Relaxed):
                drawn = {tau: between.drawn(model.encoder(image), tau) for tau in self.temperatures}
        numbers = {name: of_run(kept) for name, kept in runs.items()}
        hull = vq_codes_figure.hull(runs[GUMBEL][-1].codes)
        for tau, (z, index) in drawn.items():
            codes = runs[GUMBEL][-1].codes
            numbers[GUMBEL][f"tau {tau:g}"] = {
                "inside_the_hull": vq_codes_figure.inside(z, codes[hull]).double().mean().item(),
                "distance_to_its_code": (z - codes[index]).norm(dim=1).mean().item(),
            }
        chosen = [min(runs[RANDOM], key=lambda look: abs(look.images - s * self._seen())) for s in self.looks]
        figure = vq_codes_figure.draw(
            {"shown": chosen, "random": runs[RANDOM], "data": runs[DATA], "lattice": runs[LATTICE][-1]},
            drawn, runs[GUMBEL][-1].codes, numbers, torch.from_numpy(split.labels),
        )  # fmt: skip
        return figure, numbers

    def _seen(self) -> int:
        return self.updates * self.batch


class Between(nn.Module):
    """What lies between encoder and decoder.

    Args:
        outputs: of the encoder.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def start(self, h: Tensor) -> None:
        """See the encoder's outputs, (N, outputs), before training."""

    def passed(self, h: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """Return what the decoder takes, (N, 2), and what is added to the loss, (); ``share`` of the run is done."""
        raise NotImplementedError

    def after(self) -> None:
        """Follow the statistics of the update."""

    def look(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors (N, 2), codes (K, 2) and the code of each vector (N,)."""
        raise NotImplementedError


class Codebook(Between):
    """The nearest code, as in a VQ-VAE; codes start at vectors of the data, or at random ones with a given spread."""

    def __init__(self, quantiser: VQ, spread: float | None = None) -> None:
        super().__init__(2)
        self.quantiser, self.spread = quantiser, spread

    def start(self, h: Tensor) -> None:
        vectors = as_map(h if self.spread is None else self.spread * torch.randn(self.quantiser.levels, 2))
        self.quantiser.fit(vectors)

    def passed(self, h: Tensor, share: float) -> tuple[Tensor, Tensor]:
        found = self.quantiser(as_map(h))
        self.quantiser.observe(as_map(h), found)
        return flat(found), torch.stack([*self.quantiser.penalties(as_map(h), found).values()]).sum()

    def after(self) -> None:
        self.quantiser.update()

    def look(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return h, self.quantiser.vectors(), self.quantiser(as_map(h)).number.flatten()


class Lattice(Between):
    """Finite scalar quantisation; vectors are shown where they are rounded."""

    def __init__(self, quantiser: FSQ) -> None:
        super().__init__(2)
        self.quantiser = quantiser

    def passed(self, h: Tensor, share: float) -> tuple[Tensor, Tensor]:
        return flat(self.quantiser(as_map(h))), h.new_zeros(())

    def look(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bounded = self.quantiser.bounded(as_map(h)) / self.quantiser.centre
        return bounded.flatten(1), self.quantiser.vectors(), self.quantiser(as_map(h)).number.flatten()


class Relaxed(Between):
    """A mean of learned vectors by a Gumbel-softmax, whose temperature falls from WARMEST to ``tau``."""

    def __init__(self, codes: int, tau: float) -> None:
        super().__init__(codes)
        self.vectors, self.tau = nn.Parameter(torch.randn(codes, 2)), tau

    def passed(self, h: Tensor, share: float) -> tuple[Tensor, Tensor]:
        tau = self.tau + (WARMEST - self.tau) * (1 + math.cos(math.pi * share)) / 2
        log_q = h.log_softmax(1)
        kl = ((log_q.exp() * log_q).sum(1) + math.log(self.outputs)).mean()
        return relaxed(h, tau) @ self.vectors, kl

    @torch.no_grad()
    def drawn(self, h: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        """Return relaxed codes (N, 2) at a temperature, and the code that is the largest part of each, (N,)."""
        y = relaxed(h, tau)
        return y @ self.vectors, y.argmax(1)

    def look(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = h.softmax(1) @ self.vectors
        return z, self.vectors.detach().clone(), h.argmax(1)


class Autoencoder(nn.Module):
    """Two layers from pixels to what lies between, and two back."""

    def __init__(self, between: Between, pixels: int, hidden: int = 64) -> None:
        super().__init__()
        self.between = between
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, between.outputs))
        self.decoder = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def train_on(self, image: Tensor, updates: int, batch: int) -> Iterator[Look]:
        """Train, and say what all images look like at about PATHS times, the first before any update."""
        self.between.start(self.encoder(image).detach())
        yield self._look(image, 0)
        optimizer = torch.optim.Adam(self.parameters(), LR)
        for done in range(1, updates + 1):
            x = image[torch.randint(len(image), (batch,))]
            z, more = self.between.passed(self.encoder(x), done / updates)
            nats = (self.decoder(z) - x).square().sum(1).mean() / (2 * STD**2)
            optimizer.zero_grad()
            (nats + more).backward()
            optimizer.step()
            self.between.after()
            if done % max(updates // PATHS, 1) == 0 or done == updates:
                yield self._look(image, done * batch)

    @torch.no_grad()
    def _look(self, image: Tensor, seen: int) -> Look:
        return Look(seen, *self.between.look(self.encoder(image)))


def of_run(looks: list[Look]) -> dict[str, Any]:
    """Return the use of codes over the run, and the codes of the end, with the share of images of each."""
    each = [used(look.number, len(look.codes)) for look in looks]
    last = looks[-1]
    return {
        "codes": len(last.codes),
        "used": int((each[-1] > 0).sum()),
        "perplexity": perplexity(each[-1]).item(),
        "images": [look.images for look in looks],
        "perplexities": [perplexity(counts).item() for counts in each],
        "vectors": last.codes.tolist(),
        "shares": (each[-1] / len(last.number)).tolist(),
        "hull": vq_codes_figure.hull(last.codes).tolist(),
    }


def as_map(h: Tensor) -> Tensor:
    return h[:, :, None, None]


def flat(found: Quantised) -> Tensor:
    return found.value.flatten(1)
