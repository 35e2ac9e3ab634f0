"""Names of folders: short, and without characters that a shell or Hydra would have quoted."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha1
from pathlib import Path

LONGEST = 96  # characters of a name
WHOLE = 240  # and of one that tells what a sweep varies; file systems allow 255 bytes
KEYS = 40  # of the keys in the name of a sweep
PART = "+"  # between the settings of a name


class Stamp:
    """The time that names a run's folder, on which several processes of one run have agreed; None: there is one."""

    agreed: str | None = None


def stamp() -> str:
    """Return the time that names the folder of a run that begins now."""
    return Stamp.agreed or datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")


def key_of(word: str) -> str:
    """Return the key of an override: ``+model.width=4`` has ``model.width``."""
    return word.partition("=")[0].lstrip("+")


def of_text(text: str) -> str:
    """Return a safe name for a text; two texts never share one."""
    return _distinct(_safe(text) or "default", text, LONGEST)


def of_job(words: Sequence[str], swept: Sequence[str]) -> str:
    """Return the name of a job of a sweep, from the settings that the sweep varies: ``model-dcgan+seed-1``.

    Args:
        words: the overrides of the job.
        swept: the keys that the sweep varies; if there are none, as of a sweeper that has them from elsewhere, all of
            its overrides name the job, as far as they fit into LONGEST characters.
    """
    given = {key_of(word): word.partition("=")[2] for word in words}
    varied = [key for key in swept if key in given]
    keys = varied or sorted(given)
    shown = dict(zip(keys, short(keys)))
    parts = {key: f"{name}-{_safe(given[key])}" for key, name in shown.items()}
    exact = all(_safe(given[key]) == given[key] for key in keys)
    name = PART.join(parts.values()) or "default"
    text = name if exact else ",".join(f"{key}={given[key]}" for key in keys)
    return _distinct(name, text, WHOLE if varied else LONGEST)


def of_sweep(verb: str, words: Sequence[str], swept: Sequence[str]) -> str:
    """Return the name that a sweep has whenever it is typed: what it varies, and a hash of all its settings.

    Args:
        verb: the verb that is swept.
        words: its overrides, in any order; the last of equal keys counts.
        swept: the keys that the sweep varies.
    """
    given: Mapping[str, str] = {key_of(word): word for word in words}
    digest = sha1("\n".join([verb, *sorted(given.values())]).encode()).hexdigest()[:6]
    return f"{PART.join(short(swept))[:KEYS].rstrip(PART) or 'sweep'}-{digest}"


def newest(folder: Path, name: str, *, new: bool = False) -> str:
    """Return the newest of the sweeps that have a name, ``name``, ``name-2``, ..., or with ``new`` the next one."""
    numbers = [int(path.name[len(name) + 1 :] or 1) for path in folder.glob(f"{name}*") if _is_again(path.name, name)]
    number = max(numbers, default=1) + (new and bool(numbers))
    return name if number == 1 else f"{name}-{number}"


def _is_again(found: str, name: str) -> bool:
    return re.fullmatch(r"(-[1-9]\d{0,8})?", found[len(name) :]) is not None


def short(keys: Sequence[str]) -> list[str]:
    """Return the last parts of dotted keys, or whole keys where two share it: ``optimizer.lr`` becomes ``lr``."""
    ends = [re.split(r"[./@:]", key)[-1] for key in keys]
    return [_safe(end if ends.count(end) == 1 else key) for key, end in zip(keys, ends)]


def _safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text).strip("_")


def _distinct(name: str, text: str, longest: int) -> str:
    """Return the name with a hash of the text that it stands for, unless it is that text."""
    if name == text and len(name) <= longest and name not in (".", ".."):
        return name
    return f"{name[:longest]}-{sha1(text.encode()).hexdigest()[:6]}"
