"""gancli help <group>: the options of a group, explained by the first comment of each option's yaml."""

from pathlib import Path
from textwrap import fill

from gancli.errors import UsageError, did_you_mean

WIDTH = 120  # characters of a line


def explained(group: str) -> str:
    """Return the options of a group, such as ``model`` or ``experiment/lecture``, with their explanations.

    Raises:
        UsageError: there is no such group.
    """
    groups = _groups()
    if group not in groups:
        raise UsageError(f"no group {group!r}{did_you_mean(group, groups)} (allowed: {', '.join(sorted(groups))})")
    files = {file.stem: file for folder in _folders() for file in (folder / group).glob("*.yaml")}
    indent = max(map(len, files)) + 4
    return "\n".join(
        fill(f"  {name:<{indent - 2}}{_story(files[name])}", WIDTH, subsequent_indent=" " * indent)
        for name in sorted(files)
    )


def _folders() -> list[Path]:
    from gancli.config import composition  # imports Hydra, which takes a third of a second

    return [composition.conf_dir(), *composition.user_folders()]


def _groups() -> set[str]:
    from gancli.config import composition

    files = ((folder, file) for folder in _folders() for file in folder.glob("*/**/*.yaml"))
    groups = {file.parent.relative_to(folder).as_posix() for folder, file in files}
    return {group for group in groups if group.split("/")[0] not in composition.INTERNAL}


def _story(file: Path) -> str:
    """Return the first comment of a yaml, up to a command or the first key; empty if there is none."""
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
    return " ".join(lines).partition(" gancli train ")[0]
