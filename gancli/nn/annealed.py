"""Numbers that change over a run, as functions of the share of the run that is done.

gancli train model=dcgan 'optimizer.lr={from: 2e-4, to: 1e-5, shape: cosine, start: .5}'
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # configs are checked before torch is imported
    from torch import Tensor

Share = TypeVar("Share", float, "Tensor")
SHAPES = ("linear", "cosine", "exponential", "step")
KEYS = ("from", "to", "shape", "start", "until")


class Annealed:
    """A number that goes from one value to another between two shares of the run, and stays there before and after.

    - ``linear``: in a straight line.
    - ``cosine``: along half a cosine, flat at both ends.
    - ``exponential``: by equal factors in equal times; both values have to be above zero.
    - ``step``: all at once at ``until``.

    Args:
        initial: the value up to ``start``.
        final: the value from ``until`` on.
        shape: the way from one to the other.
        start: share of the run, in [0, 1), at which the change begins.
        until: share of the run, above ``start`` and at most 1, at which it is over.

    Raises:
        ValueError: an unknown shape, shares out of order, or an exponential through zero.
    """

    def __init__(
        self, initial: float, final: float, shape: str = "linear", start: float = 0.0, until: float = 1.0
    ) -> None:
        if shape not in SHAPES:
            raise ValueError(f"shape={shape} must be one of {', '.join(SHAPES)}")
        if not 0 <= start < until <= 1:
            raise ValueError(f"start={start} and until={until} are shares of the run: 0 <= start < until <= 1")
        if shape == "exponential" and min(initial, final) <= 0:
            raise ValueError(f"from={initial} and to={final} must be above 0, as shape=exponential multiplies")
        self.initial, self.final, self.shape, self.start, self.until = initial, final, shape, start, until

    @classmethod
    def from_config(cls, node: Mapping[str, Any]) -> "Annealed":
        """Build the number that ``{from: 1, to: 0.1, shape: cosine, start: 0, until: 0.2}`` describes.

        Raises:
            ValueError: a missing or unknown key, or what the constructor refuses.
        """
        if not {"from", "to"} <= set(node) <= set(KEYS):
            raise ValueError(f"a number that changes has the keys from, to and maybe shape, start, until; got {node}")
        return cls(node["from"], node["to"], **{key: node[key] for key in KEYS[2:] if key in node})

    def __call__(self, share: Share) -> Share:
        """Return the value at a share of the run: a float for a float, a 0-dim tensor for a tensor (no host sync)."""
        done = (share - self.start) / (self.until - self.start)
        done = min(max(done, 0.0), 1.0) if isinstance(done, (int, float)) else done.clamp(0.0, 1.0)
        if self.shape == "step":
            return self.initial + (self.final - self.initial) * (done >= 1)
        if self.shape == "exponential":
            return self.initial * (self.final / self.initial) ** done
        if self.shape == "cosine":
            wave = math.cos(math.pi * done) if isinstance(done, float) else (math.pi * done).cos()
            done = (1 - wave) / 2
        return self.initial + (self.final - self.initial) * done

    def __repr__(self) -> str:
        return f"Annealed({self.initial}, {self.final}, {self.shape!r}, {self.start}, {self.until})"


Number = float | Annealed


def value(number: Any, share: Any) -> Any:
    """Return a number, or the tuple for a sequence, at a share of the run; constants are returned unchanged."""
    if isinstance(number, (list, tuple)) and changes(number):
        return tuple(value(each, share) for each in number)
    return number(share) if isinstance(number, Annealed) else number


def changes(number: Any) -> bool:
    """Tell whether a number, or one of a sequence, changes over the run."""
    return any(map(changes, number)) if isinstance(number, (list, tuple)) else isinstance(number, Annealed)


def from_config(node: Any) -> Any:
    """Build the numbers given as mappings, ``{from: 1, to: 0.1}``, alone or in a list; leave the rest unchanged.

    Raises:
        ValueError: what Annealed refuses.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(from_config(each) for each in node)
    return Annealed.from_config(node) if isinstance(node, Mapping) else node


def bounds(number: "float | Annealed") -> tuple[float, float]:
    """Return the least and the largest value that a number takes."""
    if isinstance(number, Annealed):
        return min(number.initial, number.final), max(number.initial, number.final)
    return number, number
