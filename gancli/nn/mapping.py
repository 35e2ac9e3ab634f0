"""The mapping network of style-based generators: Karras et al. 2019, section 2 and appendix C."""

from torch import Tensor, cat, nn
from torch.nn.functional import leaky_relu

from gancli.nn.equalized import SQRT2, EqualizedLinear, PixelNorm
from gancli.nn.labels import one_hot


class Mapping(nn.Module):
    """Dense layers from normalised latents, and the normalised embedding of the class, to styles w.

    The latents are divided by their root mean square, so that they lie on a sphere: without it, the scale of z would be
    a factor of all styles. The layers learn at a hundredth of the learning rate, as high rates make a deep mapping
    unstable (Karras et al. 2019, appendix C). The embedding of a class is that of StyleGAN2-ADA's release.

    Args:
        latent_dim: dimension of the latents; 0: styles depend on the class alone, as in ADA's discriminator.
        style_dim: dimension d of w, and units of every layer.
        layers: number of dense layers (8 in the papers, 2 for CIFAR-10).
        classes: number of classes; 0 for an unconditional generator.
        lr_mult: factor on the layers' learning rate.
    """

    def __init__(
        self, latent_dim: int, style_dim: int, layers: int, *, classes: int = 0, lr_mult: float = 0.01
    ) -> None:
        super().__init__()
        self.classes, self.norm = classes, PixelNorm()
        self.embedding = EqualizedLinear(classes, style_dim) if classes else None
        inputs = [latent_dim + (style_dim if classes else 0), *[style_dim] * (layers - 1)]
        self.layers = nn.ModuleList(EqualizedLinear(each, style_dim, lr_mult=lr_mult) for each in inputs)

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """(N, latent_dim) or None for latent_dim=0, (N,) if there are classes -> (N, style_dim)."""
        x = [] if z is None else [self.norm(z)]
        if self.embedding is not None and label is not None:
            x.append(self.norm(self.embedding(one_hot(label, self.classes))))
        y = cat(x, 1)
        for layer in self.layers:
            y = SQRT2 * leaky_relu(layer(y), 0.2)
        return y
