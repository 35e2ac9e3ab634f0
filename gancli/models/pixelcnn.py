"""PixelCNN: van den Oord, Kalchbrenner & Kavukcuoglu 2016, Pixel Recurrent Neural Networks, arXiv:1601.06759.

Section 3.5 and Figure 5: a 7x7 convolution with mask A, residual blocks (ReLU, 1x1 to half the channels, ReLU, 3x3,
ReLU, 1x1 back) with mask B, then ReLU and a 1x1, twice, and the logits. Every layer is masked by colour, including the
1x1 layers and the head. As in the paper, some pixels above and to the right are not seen: the blind spot of stacked 3x3
masks. Deviations: there is another ReLU before the logits' 1x1, which would otherwise form one linear map with the
layer before it; and with a likelihood that orders the colours itself (a logistic mixture), the masks do not order them.

    gancli train model=pixelcnn data=mnist
"""

from collections.abc import Callable

from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.autoregressive import Autoregressive
from gancli.nn.likelihoods import Likelihood
from gancli.nn.masked import MaskedConv2d
from gancli.ranges import Extra, Units


class PixelCNN(Autoregressive):
    """Residual masked convolutions, any size and number of channels.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        width: channels h inside the blocks; 2h between them. At least one for each colour that the masks order.
        blocks: residual blocks.
        head: channels of the two 1x1 layers before the logits.
        kernel: width of the first layer, odd.
        sampler: naive | cache | wavefront | jacobi; all draw the same images.

    Raises:
        UsageError: there are fewer channels than colours, or the kernel is even.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        width: Units = 16,
        blocks: Extra = 7,
        head: Units = 32,
        kernel: int = 7,
        sampler: str = "wavefront",
    ) -> None:
        super().__init__(spec, likelihood, sampler)
        groups, c = self.likelihood.groups(spec.channels), spec.channels
        for key, value in (("width", width), ("head", head)):
            if value < groups:
                raise UsageError(f"model.{key}={value}: must be {groups} or more, a channel for each colour in order")
        if kernel % 2 == 0:
            raise UsageError(f"model.kernel={kernel}: must be odd, such as model.kernel=7")
        read, channels = self.reader()
        self.net = nn.Sequential(
            *([] if read is None else [read]),
            MaskedConv2d(channels, 2 * width, kernel, groups=groups, image=True),
            *(Block(width, groups) for _ in range(blocks)),
            *readout(2 * width, head, self.likelihood.channels(c), groups),
        )


class Block(nn.Module):
    """The residual block of Figure 5, left: 2h -> h -> h -> 2h channels."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            MaskedConv2d(2 * width, width, groups=groups),
            nn.ReLU(),
            MaskedConv2d(width, width, 3, groups=groups),
            nn.ReLU(),
            MaskedConv2d(width, 2 * width, groups=groups),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def readout(inputs: int, width: int, outputs: int, groups: int) -> list[nn.Module]:
    """Return the head that the paper's networks share: three times ReLU and a 1x1."""
    sizes = [(inputs, width), (width, width), (width, outputs)]
    return [layer for a, b in sizes for layer in (nn.ReLU(), MaskedConv2d(a, b, groups=groups))]
