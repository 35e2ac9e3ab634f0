"""The space of a search: the values that settings may take, read from Hydra's grammar of sweeps.

optimizer.lr=interval(1e-5,1e-3)        numbers; where they span a factor of 10 above 0, on a logarithmic scale
model.width=int(interval(16,128))       whole numbers
optimizer.lr=tag(linear,interval(1,99)) tags choose the scale: log or linear
loss.repeat=range(1,6)                  1 to 5; a third number is the step
loss=choice(hinge,nonsaturating)        any values; loss=hinge,nonsaturating is the same
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from gancli.errors import UsageError

DECADE = 10  # an interval of positive numbers that spans this factor has a logarithmic scale
_TAGS = ("log", "linear")


@dataclass(frozen=True)
class Number:
    """Numbers from ``low`` to ``high``, both included.

    Args:
        low: the least.
        high: the greatest.
        log: whether their logarithms are searched evenly.
        whole: whether they are whole numbers.
        step: the distance between neighbours; None: any number, or any whole one.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None

    def values(self) -> list[float] | None:
        """Return all of them; None if they are too many to be listed."""
        step = self.step or (1 if self.whole else None)
        return None if step is None else [self.low + i * step for i in range(round((self.high - self.low) / step) + 1)]

    def word(self, value: Any) -> str:
        """Return a value as it is typed, to six digits."""
        return str(int(value)) if self.whole else f"{value:.6g}"

    def told(self) -> str:
        """Return what is searched, for the user."""
        kind = f" in steps of {self.word(self.step)}" if self.step else ", whole" if self.whole else ""
        return f"{self.word(self.low)} to {self.word(self.high)}{kind}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Some values, as they are typed."""

    words: tuple[str, ...]

    def values(self) -> list[str]:
        """Return all of them."""
        return list(self.words)

    def word(self, value: Any) -> str:
        """Return a value as it is typed."""
        return str(value)

    def told(self) -> str:
        """Return what is searched, for the user."""
        return " | ".join(self.words)


Axis = Number | Choice


def split(settings: Sequence[str]) -> tuple[list[str], dict[str, Axis]]:
    """Separate settings that have one value from those that are searched, by their keys; the last of equal keys counts.

    Raises:
        UsageError: a space that cannot be searched.
        hydra.errors.OverrideParseException: a setting cannot be parsed; the exception tells where.
    """
    shared: dict[str, str] = {}
    axes: dict[str, Axis] = {}
    for word, parsed in zip(settings, OverridesParser.create().parse_overrides(list(settings))):
        key = parsed.get_key_element()
        shared.pop(key, None), axes.pop(key, None)
        if parsed.is_sweep_override():
            axes[key] = _axis(parsed, word)
        else:
            shared[key] = word
    return list(shared.values()), axes


def _axis(parsed: Override, word: str) -> Axis:
    value: Any = parsed.value()
    tags = set(getattr(value, "tags", ()))
    if wrong := sorted(tags - set(_TAGS)) or (sorted(tags) if len(tags) > 1 else []):
        raise UsageError(f"{word}: tag {', '.join(wrong)} is not known; allowed is one of {', '.join(_TAGS)}")
    if isinstance(value, IntervalSweep):
        return _interval(value, tags, word)
    if isinstance(value, RangeSweep):
        return _range(value, word)
    if not hasattr(value, "list"):
        raise UsageError(f"{word}: list the options, such as {parsed.key_or_group}=choice(a,b)")
    return Choice(tuple(dict.fromkeys(parsed.sweep_string_iterator())))


def _interval(value: IntervalSweep, tags: set[str], word: str) -> Number:
    assert value.start is not None and value.end is not None  # the grammar has both
    low, high = value.start, value.end
    if not low < high:
        raise UsageError(f"{word}: the interval is empty; its first number has to be below the second one")
    if "log" in tags and low <= 0:
        raise UsageError(f"{word}: a logarithmic scale needs numbers above 0")
    log = "log" in tags or ("linear" not in tags and low > 0 and high >= DECADE * low)
    return Number(low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def _range(value: RangeSweep, word: str) -> Number:
    steps = value.range()
    listed = sorted(steps)  # a step below 0 counts down
    if len(listed) < 2:
        raise UsageError(f"{word}: the range has {len(listed)} values; name two or more")
    whole = isinstance(steps, range)
    step = abs(value.step)
    return Number(listed[0], listed[-1], whole=whole, step=None if whole and step == 1 else float(step))
