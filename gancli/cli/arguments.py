"""The command line after the verb: separating flags from settings, quoting paths, and reading single settings."""

import glob
import os
import re
from collections.abc import Collection, Sequence

from gancli.cli import options
from gancli.errors import UsageError, did_you_mean

_VALUED = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir")
_PLAIN = ("--help", "--hydra-help", "--resolve", "--run", "--multirun", "--shell-completion", "--info")
_SHORT = {
    "-c": "--cfg", "-p": "--package", "-cp": "--config-path", "-cn": "--config-name", "-cd": "--config-dir",
    "-h": "--help", "-r": "--run", "-m": "--multirun", "-sc": "--shell-completion", "-i": "--info",
}  # fmt: skip
_CFG = ("job", "hydra", "all")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_PATHS = (  # keys of paths, in addition to a verb's own
    "hydra.run.dir", "hydra.sweep.dir", "features.weights", "data.root", "data.a.root", "data.b.root", "data.of.root",
    "source", "view.source", "view.image", "view.mask",
)  # fmt: skip
_SAFE = re.compile(r"[\w./:@%+-]*", re.ASCII)  # what Hydra reads as one word; anything else needs quotes


def shows_config(flags: Sequence[str]) -> bool:
    """Tell whether the flags ask for the config of a job, which is checked as one that is run."""
    return "--cfg" in flags and flags[flags.index("--cfg") + 1] != "hydra"


def without_config(flags: Sequence[str]) -> list[str]:
    """Return the flags without those that show a config."""
    dropped = {i for i, flag in enumerate(flags) if flag in ("--cfg", "--package")}
    shown = {i + 1 for i in dropped} | dropped | {i for i, flag in enumerate(flags) if flag == "--resolve"}
    return [flag for i, flag in enumerate(flags) if i not in shown]


def split(
    argv: list[str], bare: str | None = None, paths: Collection[str] = (), keys: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Return Hydra's flags with their values, and the settings; Hydra 1.3 requires this order.

    Args:
        argv: the words after the verb.
        bare: the key that collects words without a key, which are paths, into a list; None: every word needs a key.
        paths: the keys of this verb whose values are paths.
        keys: the root keys of this verb, which settings begin with.

    Raises:
        UsageError: an unknown flag, a flag without its value, or a word that is not a setting.
    """
    flags, settings, named, words = [], [], [], list(argv)
    while words:
        word = words.pop(0)
        name, _, attached = word.partition("=")
        name = _SHORT.get(name, name)
        if bare and _is_bare(word, keys):
            refuse_address(word, word)
            named.append(word)
        elif not word.startswith("-") or word == "-":
            settings.append(_setting(word, words, (*_PATHS, *paths)))
        elif name in _VALUED:
            if not attached and not words:
                raise UsageError(f"{word} needs a value")
            flags += [name, attached or words.pop(0)]
            if name in ("--config-dir", "--config-path") and not os.path.isdir(os.path.expanduser(flags[-1])):
                raise UsageError(f"{name} {flags[-1]}: no such folder")
            if name == "--cfg" and flags[-1] not in _CFG:
                raise UsageError(f"--cfg {flags[-1]}: expected one of {', '.join(_CFG)}")
        elif name in _PLAIN:
            flags.append(name)
            if name == "--info":
                flags.append(words.pop(0) if words and words[0] in _INFO else "all")
        else:
            key = name.lstrip("-").replace("-", "_")
            tip = did_you_mean(name, (*_VALUED, *_PLAIN)) or f"; write settings as {key}=value, without dashes"
            raise UsageError(f"unknown option {word}{tip}")
    return flags, settings + ([f"{bare}=[{','.join(map(quote, named))}]"] if named else [])


def _is_bare(word: str, keys: Collection[str]) -> bool:
    """Tell whether a word is a path and no setting; the folders of a sweep's jobs are named ``model=dcgan,seed=0``.

    A word such as ``seed=0``, in a sweep's folder, is a setting if the verb has that key; ``./seed=0`` is the path.
    """
    if not re.match(r"[-+~]|[\w.@/]+=", word) or re.match(r"/|\.{1,2}/|~/", word):
        return True
    group = word.partition("=")[0]
    return ("/" in group or re.split(r"[.@]", group)[0] not in keys) and _is_there(word)


def _is_there(value: str) -> bool:
    """Tell whether a value names an existing path, or is a glob that matches one."""
    path = os.path.expanduser(value)
    return os.path.exists(path) or any(glob.iglob(path))


def _setting(word: str, following: Sequence[str], paths: Collection[str]) -> str:
    key, equals, value = word.partition("=")
    if not key or not equals and not word.startswith("~"):
        raise UsageError(f"{word!r} is not a setting; {_instead(word, following, paths)}")
    if re.fullmatch(r"~[\w@]+", key):
        raise UsageError(f"{word}: {key[1:]} cannot be removed; choose another value with {key[1:]}=...")
    if key in paths:
        refuse_address(word, value)
        if not value:
            raise UsageError(f"{key}= is empty; name a path, or omit it")
    if key not in paths or _SAFE.fullmatch(value) or not value or value[0] in "'\"":
        return word
    # Hydra's grammar stops at ~ ( = and others. Commas mean a sweep, unless a path with them exists.
    if _is_there(value) or not re.search(r"[,(\[]", value):
        return f"{key}={quote(value)}"
    if re.fullmatch(r"\[[^\[\](){}'\"]*=[^\[\](){}'\"]*\]", value):  # a list without quotes of its own
        return f"{key}=[{','.join(quote(each.strip()) for each in value[1:-1].split(','))}]"
    return word


def _instead(word: str, following: Sequence[str], paths: Collection[str]) -> str:
    """Return how a word that is not a setting is to be written."""
    if following and following[0].startswith("="):  # key = value, or key =value
        value = following[0][1:] or "".join(following[1:2])
        return f"write it without blanks: {word}={value}"
    run = next((each for each in ("ckpt", "resume") if each in paths), None)
    if run and (word == "latest" or _is_there(word)):
        return f"to name a run, write {run}={word}"
    if typed := options.typed(word):
        return f"did you mean {typed}?"
    return "write settings as key=value, such as data=mnist"


def refuse_address(word: str, value: str) -> None:
    """Refuse a web address where a path is meant. Raises UsageError."""
    if re.match(r"['\"\[]*\w+://", value):
        raise UsageError(f"{word}: this reads files, not web addresses; download it, and name the file")


def quote(value: str) -> str:
    """Return a value quoted so that Hydra reads it as this exact text."""
    slashed = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'")
    return f"'{slashed}'"


def value_of(settings: list[str], key: str) -> str | None:
    """Return the value given for a key, without quotes, or None; the last occurrence counts."""
    for word in reversed(settings):
        name, equals, value = word.lstrip("+").partition("=")
        if name == key and equals:
            return re.sub(r"\\(['\"\\])", r"\1", value[1:-1]) if value[:1] in ("'", '"') else value
    return None


def replaced(settings: list[str], key: str, value: str) -> list[str]:
    """Return the settings with the value of a key replaced."""
    return [f"{key}={quote(value)}" if w.lstrip("+").partition("=")[0] == key else w for w in settings]


def refuse_repeated(settings: list[str]) -> None:
    """Refuse ``+penalty=r1`` beside ``penalty=drift``: one would have no effect. Without +, the last of two counts.

    Raises:
        UsageError: a key or group is set and added, or added twice.
    """
    given: dict[str, str] = {}
    for word in settings:
        key = word.lstrip("+").partition("=")[0]
        before = given.setdefault(key, word)
        if before != word and "+" in (before[0], word[0]):
            raise UsageError(f"{key} is given twice, {given[key]} and {word}: omit one of them")


def is_sweep(value: str) -> bool:
    """Tell whether a value on the command line stands for several: ``a,b`` or ``glob(*)``."""
    return bool(re.search(r"[,(]", value)) and not _is_there(value)
