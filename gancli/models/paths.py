"""Short steps along the paths between the latents, or the styles, of a style-based model.

Karras et al. 2019, A Style-Based Generator Architecture for GANs, section 4.1: how much the image changes over a small
step, on the arc between two latents z or on the line between two styles w, at a random place of it or at its beginning.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from gancli.models.base import straight
from gancli.models.shares import Share
from gancli.models.style import StyleBased

STEP = 1e-4  # of a path
KINDS = ("w", "w_end", "z", "z_end")  # the space; steps begin anywhere on the path, or at its first end


@torch.no_grad()
def steps(
    model: StyleBased, n: int, *, seed: int, batch_size: int, labels: Tensor | None = None, share: Share | None = None
) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Yield the images before and after a step of each kind, (b, C, H, W) around [-1, 1] and without bounds, n in all.

    All kinds step on paths between the same latents. Noise is the constant one of eval mode.

    Args:
        model: in eval mode; its truncation, if one is set, applies to both ends.
        n: number of paths.
        seed: seed of their ends, and of the places on them.
        batch_size: paths at a time.
        labels: class of both ends of each path, (n,), for a conditional model.
        share: the batches of this process, if several draw together.
    """
    generator = Generator(model.device).manual_seed(seed)
    for batch, start in enumerate(range(0, n, batch_size)):
        size = min(batch_size, n - start)
        label = None if labels is None else labels[start : start + size].to(model.device)
        first, last = model.latent(size, generator), model.latent(size, generator)
        places = torch.rand(size, device=model.device, generator=generator)
        if share is not None and not share.has(batch):
            continue
        styles = model.style(first, label), model.style(last, label)
        found = {}
        for kind in KINDS:
            t = (torch.zeros_like(places) if kind.endswith("end") else places).to(first)

            def image(at: Tensor, kind: str = kind) -> Tensor:
                if kind.startswith("z"):
                    return model.synthesise(model.style(slerp(first, last, at[:, None]), label))  # noqa: B023
                return model.synthesise(straight(*styles, at[:, None, None]))  # noqa: B023

            found[kind] = image(t), image(t + STEP)
        yield found


def slerp(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Interpolate on the arc between the directions of latents, (N, d), t (N, 1); all have the length sqrt(d).

    Models divide latents by their root mean square anyway, so that the length is of no matter.
    """
    start, end = (each / each.norm(dim=1, keepdim=True) for each in (start, end))
    cosine = (start * end).sum(1, keepdim=True).clamp(-1, 1)
    across = end - cosine * start
    across = across / across.norm(dim=1, keepdim=True).clamp_min(1e-12)
    angle = t * cosine.acos()
    return (start * angle.cos() + across * angle.sin()) * start.shape[1] ** 0.5
