"""Vector quantisation: van den Oord et al. 2017, Neural Discrete Representation Learning, sections 3.1 and 3.2.

A vector z is replaced by the nearest e of K learned ones. The gradient of the reconstruction passes straight through,
from e to z (or by ``gradient=rotation``, Fifty et al. 2025, Restructuring Vector Quantization with the Rotation Trick).
Two terms are added, as sums over dimensions and positions, so that they are on the footing of a reconstruction in nats
(eq. 3): |sg[z] - e|^2, for the codebook alone, and beta |z - sg[e]|^2, for the encoder alone.

With ``learning=ema`` (appendix A.1) the codebook follows its vectors as in k-means instead of the first term: averages
of counts and of sums, N and m, and e = m / N. Deviations: counts are relative to a uniform use of the codes, so that
they depend neither on the batch size nor on K; codes start at vectors e of the untrained encoder with an N above zero
and m = N e, so that no start at zero has to be corrected; and codes that are hardly used start again at a vector of the
batch (with several processes, at the mean of one vector of each). Counts are smoothed as in the authors' code (Sonnet).
"""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from gancli.errors import UsageError
from gancli.nn.likelihoods import wide
from gancli.nn.quantisers import MOST_CODES, Quantised, Quantiser, straight_through, used
from gancli.nn.ranks import share_out
from gancli.ranges import Units

SMOOTHING = 1e-5  # of the counts, as in Sonnet
JITTER = 0.01  # of repeated vectors, where the codebook starts at fewer than it has codes


class VQ(Quantiser):
    """A codebook of ``codes`` vectors.

    Args:
        codes: number K of vectors.
        dim: dimensions of a vector.
        beta: weight of the commitment.
        learning: ema, or gradient: the term of eq. 3.
        decay: of the averages, per update.
        restart: share of a uniform use below which a code starts again, with twice as much; 0: none does. For ``ema``.
        gradient: straight_through or rotation.

    Raises:
        UsageError: there are more than 65,536 codes.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor
    batch_count: Tensor
    batch_total: Tensor
    candidates: Tensor

    def __init__(
        self,
        codes: Annotated[int, ">= 2"] = 128,
        dim: Units = 16,
        beta: float = 0.25,
        learning: Literal["ema", "gradient"] = "ema",
        decay: Annotated[float, ">= 0", "< 1"] = 0.99,
        restart: Annotated[float, ">= 0", "<= 0.5"] = 0.05,
        gradient: Literal["straight_through", "rotation"] = "straight_through",
    ) -> None:
        if codes > MOST_CODES:
            raise UsageError(f"quantiser.codes={codes:,}: use {MOST_CODES:,} or fewer")
        super().__init__(dim, codes)
        self.beta, self.decay, self.restart, self.gradient = beta, decay, restart, gradient
        self.averaged = learning == "ema"
        codebook = torch.randn(codes, dim)
        if not self.averaged:
            self.codebook = nn.Parameter(codebook)
            return
        self.register_buffer("codebook", codebook)
        self.start = 2 * restart if restart else 1.0  # of counts, which are relative to a uniform use
        self.register_buffer("count", torch.full((codes,), self.start))
        self.register_buffer("total", self.start * codebook)
        for name, shape in (("batch_count", (codes,)), ("batch_total", (codes, dim)), ("candidates", (codes, dim))):
            self.register_buffer(name, torch.zeros(shape), persistent=False)  # of one update

    @torch.no_grad()
    def fit(self, z: Tensor, last: nn.Conv2d | None = None) -> None:
        """Start the codebook at vectors of the untrained encoder."""
        rows = _rows(z)
        chosen = rows[torch.randperm(len(rows))[: self.levels]]
        missing = self.levels - len(chosen)
        if missing:
            again = chosen[torch.randint(len(chosen), (missing,))]
            chosen = torch.cat([chosen, again + JITTER * rows.std() * torch.randn_like(again)])
        self.codebook.copy_(chosen)
        if self.averaged:
            self.total.copy_(self.start * chosen)

    def forward(self, z: Tensor) -> Quantised:
        rows = _rows(z)
        with torch.no_grad():  # cdist is float32, also under autocast
            flat = torch.cdist(rows, self.codebook.to(rows.dtype)).argmin(1)
        index = flat.view(len(z), *z.shape[2:])
        code = self.lookup(index).detach().to(rows.dtype)
        passed = rotated if self.gradient == "rotation" else straight_through
        return Quantised(passed(code, wide(z)), index)

    def vectors(self) -> Tensor:
        return self.codebook.detach().clone()

    def lookup(self, index: Tensor) -> Tensor:
        return self.codebook[index].movedim(-1, 1)

    def penalties(self, z: Tensor, found: Quantised) -> dict[str, Tensor]:
        z, code = wide(z), self.lookup(found.number)
        losses = {"commitment": self.beta * _distance(z, code.detach())}
        return losses if self.averaged else {**losses, "codebook": _distance(z.detach(), code)}

    @torch.no_grad()
    def observe(self, z: Tensor, found: Quantised) -> None:
        if not self.averaged:
            return
        rows, index = _rows(z), found.number.flatten()
        uniform = len(rows) / self.levels  # vectors of each code, if all were used alike
        self.batch_count.add_(used(index, self.levels).to(self.count.dtype) / uniform)
        self.batch_total.index_add_(0, index, rows.to(self.total.dtype) / uniform)
        chosen = torch.randint(len(rows), (self.levels,), device=rows.device)
        self.candidates.copy_(share_out(rows[chosen]))  # their mean over processes is taken

    def statistics(self) -> list[Tensor]:
        return [self.batch_count, self.batch_total, self.candidates] if self.averaged else []

    @torch.no_grad()
    def update(self) -> None:
        if not self.averaged:
            return
        # The relative counts of each micro-batch have the mean 1.
        parts = (self.batch_count.sum() / self.levels).clamp(min=SMOOTHING)
        self.count.lerp_(self.batch_count / parts, 1 - self.decay)
        self.total.lerp_(self.batch_total / parts, 1 - self.decay)
        dead = self.count < self.restart
        self.count.copy_(torch.where(dead, self.start, self.count))
        self.total.copy_(torch.where(dead[:, None], self.start * self.candidates, self.total))
        n = self.count.sum()
        smooth = (self.count + SMOOTHING) / (n + self.levels * SMOOTHING) * n
        self.codebook.copy_(self.total / smooth[:, None])
        for each in (self.batch_count, self.batch_total):
            each.zero_()


def rotated(code: Tensor, z: Tensor) -> Tensor:
    """Return ``code`` with the gradient of the rotation and rescaling that map z to it (section 4.2 of the paper).

    With u = z/|z|, q = e/|e| and w = (u + q)/|u + q|, that map is |e|/|z| (I - 2 w w' + 2 q u'), and a constant.
    (N, D, h, w) each.
    """
    detached = z.detach()
    size, length = (each.norm(dim=1, keepdim=True).clamp(min=1e-6) for each in (detached, code))
    u, q = detached / size, code / length
    w = u + q
    w = w / w.norm(dim=1, keepdim=True).clamp(min=1e-6)
    turned = z - 2 * w * (w * z).sum(1, keepdim=True) + 2 * q * (u * z).sum(1, keepdim=True)
    return straight_through(code, turned * (length / size))  # equal to the code already, up to rounding


def _rows(z: Tensor) -> Tensor:
    """Return vectors as rows, (N, D, h, w) -> (N h w, D) float32 or wider, without a gradient."""
    return wide(z.detach()).movedim(1, 3).flatten(0, 2)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances, summed over dimensions and positions, as the mean over images."""
    return (a - b).square().flatten(1).sum(1).mean()
