"""gancli help, gancli help <group>: what there is to choose from, in the words of the files themselves.

The first line of a group's README.md says what the group is for, the first comment of a yaml what the option is.
"""

import re
from pathlib import Path
from textwrap import fill

from gancli.errors import UsageError, did_you_mean
from gancli.folders import conf_dir, typed_groups, user_folders

WIDTH = 120  # characters of a line


def overview() -> str:
    """Return the groups that one types, a line for each."""
    groups = sorted(group for group in typed_groups() if "/" not in group)
    return _table({group: first_line(group) for group in groups})


def explained(group: str) -> str:
    """Return what a group, such as ``model`` or ``experiment/lecture``, is for, its options, and the groups within.

    Raises:
        UsageError: there is no such group.
    """
    groups = typed_groups()
    if group not in groups:
        own = [each for each in groups if group in _files(each)]
        if own:
            groups_of = " and ".join(own)
            raise UsageError(f"{group!r} is an option of {groups_of}; gancli help {' '.join(own)} explains it")
        raise UsageError(f"no group {group!r}{did_you_mean(group, groups)} (allowed: {', '.join(sorted(groups))})")
    files = _files(group)
    stories = {name: _story(files[name]) for name in sorted(files)}
    for each in sorted(groups):
        if each.startswith(f"{group}/"):  # its options are typed like this: experiment=lecture/dirac_gan
            stories[each.removeprefix(f"{group}/") + "/"] = first_line(each)
    return "\n".join(filter(None, [fill(first_line(group), WIDTH), _table(stories)]))


def typed(option: str) -> str | None:
    """Return how an option is chosen, ``model=dcgan`` or ``experiment=lecture/dirac_gan``; None: there is none."""
    for group in sorted(typed_groups(), key=lambda each: each.count("/")):
        if option in _files(group):
            root, _, within = group.partition("/")
            return f"{root}={within}/{option}" if within else f"{root}={option}"
    return None


def placed(group: str) -> tuple[str, str] | None:
    """Return an option of a group and the node that its keys go to, if that has another name than the group.

    ``("dragan", "loss.penalties.dragan")`` for ``penalty``, as the ``@package`` of its yamls says.
    """
    for option, file in sorted(_files(group).items()):
        if found := re.match(r"# @package (\w+\.[\w.]+)", file.read_text(encoding="utf-8")):
            return option, found[1]
    return None


def first_line(group: str) -> str:
    """Return the first line of a group's README.md, the shipped one before the user's; empty: there is none."""
    for folder in _folders():
        file = folder / group / "README.md"
        if file.is_file():
            return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
    return ""


def _table(stories: dict[str, str]) -> str:
    """Return names and what is said of them in two columns."""
    indent = max(map(len, stories), default=0) + 4
    return "\n".join(
        fill(f"  {name:<{indent - 2}}{story}", WIDTH, subsequent_indent=" " * indent) for name, story in stories.items()
    )


def _folders() -> list[Path]:
    return [conf_dir(), *user_folders()]


def _files(group: str) -> dict[str, Path]:
    """Return the yaml of each option of a group, the user's before the shipped one."""
    return {file.stem: file for folder in _folders() for file in (folder / group).glob("*.yaml")}


def _story(file: Path) -> str:
    """Return the whole sentences of a yaml's first comment, up to a command or the first key; empty: there are none."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("# "):
            break
        text, command, _ = line.removeprefix("# ").partition("    gancli ")
        lines.append(text)
        if command:
            break
    said = " ".join(lines).partition(" gancli train ")[0].strip()
    return re.sub(r"(?<=[.!?]) [^.!?]*:$", "", said)  # what announces the command
