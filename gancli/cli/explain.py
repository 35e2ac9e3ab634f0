"""One-line explanations of errors from Hydra, OmegaConf, memory and disk.

Errors are recognised by the names of their classes, so that nothing has to be imported to explain them.
"""

import errno
import re
from collections.abc import Iterator
from typing import Any

from gancli.cli import options
from gancli.errors import UsageError, counted, did_you_mean

_PLUGINS = {  # what Hydra itself does not have, by the package that brings it
    ("hydra/launcher", "joblib"): "hydra-joblib-launcher",
    ("hydra/launcher", "ray"): "hydra-ray-launcher",
    ("hydra/launcher", "ray_aws"): "hydra-ray-launcher",
    ("hydra/launcher", "rq"): "hydra-rq-launcher",
    ("hydra/launcher", "submitit_local"): "hydra-submitit-launcher",
    ("hydra/launcher", "submitit_slurm"): "hydra-submitit-launcher",
    ("hydra/sweeper", "ax"): "hydra-ax-sweeper",
    ("hydra/sweeper", "nevergrad"): "hydra-nevergrad-sweeper",
    ("hydra/sweeper", "optuna"): "hydra-optuna-sweeper",
    ("hydra/hydra_logging", "colorlog"): "hydra-colorlog",
    ("hydra/job_logging", "colorlog"): "hydra-colorlog",
}
# What torch says of a CPU, and CUDA and its libraries where a context or a workspace finds no room.
NO_MEMORY = r"can't allocate memory|not enough memory|CUDA error: out of memory|STATUS_ALLOC_FAILED"
_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def explain(error: BaseException) -> str | None:
    """Return what went wrong and what to do, in one line; None if the error is not the user's."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = error.filename or "the run folder"
        return f"no space left on the disk of {place}; free some space, or set GANCLI_OUTPUTS to another disk"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, *_NAMES):
        reason = (error.strerror or "not allowed").lower()
        return f"{error.filename}: {reason}; choose another folder with GANCLI_OUTPUTS or out="
    if isinstance(error, OSError) and _function(error) == "mkdir":
        reason = (error.strerror or "not allowed").lower()
        return f"{error.filename}: this folder cannot be made ({reason}); choose another folder"
    chain: list[Any] = list(_chain(error))
    for each in chain:
        if "MissingConfigException" in _names(each):
            return _no_option(each.missing_cfg_file or "", list(each.options or ()))  # its command keeps its line
        line = _of_hydra(each) or _of_omegaconf(each)
        if line:
            return " ".join(line.split())
    if "group override must be a string" in str(error):
        return "a group needs the name of one of its options, such as model=dcgan, not null or a number"
    if isinstance(error, ValueError) and _raised_in(error, "hydra"):
        return " ".join(str(error).split())
    if isinstance(error, (TypeError, AttributeError, AssertionError)) and _raised_in(error, "hydra"):
        reason = " ".join(str(error).split()) or type(error).__name__
        return (
            f"Hydra cannot compose these settings ({reason}); a group needs the name of an option, or a list of names"
        )
    return None


def out_of_memory(error: BaseException, cfg: Any) -> str | None:
    """Return a line that suggests a smaller batch size if the device or the host ran out of memory, else None."""
    text = str(error)
    said = isinstance(error, RuntimeError) and re.search(NO_MEMORY, text)
    if not (isinstance(error, MemoryError) or "OutOfMemoryError" in _names(error) or said):
        return None
    size = (cfg or {}).get("batch_size")
    if not size or size < 2:
        return "out of memory; use a smaller model or data.size"
    parts = cfg.get("accumulate")
    if not isinstance(parts, int):  # a command without this key, or not known yet
        return f"out of memory with batch_size={size}; try batch_size={size // 2}"
    more = [number for number in range(2 * parts, size + 1) if size % number == 0]  # it must divide the batch
    if not more:
        return f"out of memory with {counted(size // parts, 'image')} at a time; use a smaller model or data.size"
    smaller = f"batch_size={size // 2}, or " if size // 2 % parts == 0 else ""
    beside = f" accumulate={parts}" if parts > 1 else ""
    return f"out of memory with batch_size={size}{beside}; try {smaller}accumulate={more[0]} for the same updates"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, the first cause first."""
    if error is not None:
        yield from _chain(error.__cause__ or error.__context__)
        yield error


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _function(error: BaseException) -> str | None:
    """Return the name of the function that raised an error."""
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return last and last.tb_frame.f_code.co_name


def _raised_in(error: BaseException, package: str) -> bool:
    """Tell whether the error was raised by a package's own code."""
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return last is not None and str(last.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package


def _of_hydra(error: Any) -> str | None:
    names, text = _names(error), str(error)
    if "OverrideParseException" in names:
        key = error.override.partition("=")[0]
        if slip := _slip(error.override):
            return f"{error.override!r} cannot be parsed: {slip}"
        reason = re.search(r"Unknown function '\w+'|Missing (?:quote|brace)", text)
        why = f" ({reason[0]})" if reason else ""
        return (
            f"{error.override!r} cannot be parsed{why}; put special characters in quotes within quotes: \"{key}='...'\""
        )
    if "SearchPathException" in names:
        return text
    if "ConfigCompositionException" in names:
        return _no_composition(text)
    return None


def _slip(word: str) -> str | None:
    """Return what is wrong with a setting that cannot be parsed, and what to do, for the usual slips."""
    key, _, value = word.partition("=")
    if re.search(r"\s[\w./@]+=", value) and not re.search(r"['\"]", value):
        return "these are several settings in one word; quote each on its own"
    if re.search(r"['\"]", value):
        return None
    for opening, closing in ("[]", "{}", "()"):
        if value.count(opening) != value.count(closing):
            more, fewer = sorted((opening, closing), key=value.count, reverse=True)
            return f"it has a {more} without its {fewer}"
    return f"it ends with a comma; write {key}={value.rstrip(',')}" if value.endswith(",") else None


def _no_option(path: str, options: list[str]) -> str:
    from gancli.config.composition import conf_dir

    group, _, option = path.rpartition("/") if path.startswith(("hydra/", "internal/")) else path.partition("/")
    if not option and path.endswith("/"):
        return f"{group}= is empty; name one of its options: gancli help {group}"
    if not option:
        return f"no config named {path!r} in conf/"
    folder = conf_dir() / group
    shipped = [str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.yaml")]
    # Hydra lists no options for a list, penalty=[a,b], and never those in subfolders, experiment=lecture/a.
    options = sorted({*options, *shipped})
    if package := _PLUGINS.get((group, option)):
        return f"{group}={option} is not installed; run:\npip install {package}"
    listed = f" (allowed: {', '.join(options)})" if options else " (none is allowed)"
    return f"{group}={option}: no such option{did_you_mean(option, options)}{listed}"


def _no_composition(text: str) -> str | None:
    if several := re.match(r"Ambiguous value for argument '(.*)'", text):
        word = several[1]
        key, _, value = word.partition("=")
        return f"{word} has several values; add -m to run each, or write '{key}=[{value}]' for a list"
    if twice := re.match(r"Multiple values for ([\w@/]+)", text):
        return f"{twice[1]} is already chosen; write {twice[1]}=... without the +"
    if lost := re.match(r"Could not override '([^']*)'", text):
        if about := options.first_line(lost[1]):
            return f"{lost[1]}: no such key or group of this command; the group is: {about}"
        return f"{lost[1]}: no such key or group"
    if unresolved := re.match(r"Error resolving interpolation '([^']*)'", text):
        return f"{unresolved[1]} cannot be resolved: each of its groups needs the name of one option, as in model=dcgan"
    return text.splitlines()[0]


def _optional(node: Any) -> set[str]:
    """Return the arguments with a default of the class that a node of the config names, if it names one."""
    from gancli.config import targets

    target = node.get("_target_") if hasattr(node, "keys") else None
    try:
        taken = targets.signature(str(target)).parameters if target else {}
    except UsageError:  # there is no such class, as another message says
        return set()
    return {name for name, each in taken.items() if not each.required}


def _within(root: Any, key: str) -> str | None:
    """Return the dotted names of a key in the nodes of a config's root, such as ``optimizer.lr``; None: in none."""
    nodes = {name: node for name, node in root.items_ex(resolve=False) if hasattr(node, "keys")} if root else {}
    return " or ".join(f"{name}.{key}" for name, node in nodes.items() if name != "hydra" and key in node) or None


def _of_omegaconf(error: Any) -> str | None:
    names, key = _names(error), getattr(error, "full_key", None)
    if "OmegaConfBaseException" not in names or not key or key == "_dummy_":
        return None
    reason = (error.msg or str(error)).splitlines()[0]
    if names & {"ConfigKeyError", "ConfigAttributeError"}:
        parent = error.parent_node
        known = [str(k) for k in parent] if parent is not None and hasattr(parent, "keys") else []
        if str(error.key) in _optional(parent):
            return f"{key} is not in the yaml of its option, so it is added, not set: write +{key}=..."
        if not str(key).count(".") and (inner := _within(parent, str(error.key))):
            return f"{key}: no such key; did you mean {inner}?"
        if found := options.placed(str(key)):
            return f"{key}: no such key; the keys of {key}={found[0]} are those of {found[1]}, such as {found[1]}.KEY=1"
        known = [k for k in known if k not in ("_target_", "_partial_", "hydra")]
        listed = f"allowed: {', '.join(sorted(known))}" if known else "none are allowed"
        return f"{key}: no such key{did_you_mean(str(error.key), known)} ({listed})"
    if converted := re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", reason):
        return f"{key}={converted[1]}: expected {_KINDS.get(converted[2], converted[2])}"
    if choice := re.match(r"Invalid value '(.*)', expected one of \[(.*)\]", reason):
        return f"{key}={choice[1]}: expected one of {choice[2]}{did_you_mean(choice[1], choice[2].split(', '))}"
    if "is not a ListConfig" in reason:
        return f"{key}: expected a list, such as '{key}=[a,b]'"
    return f"{key}: {reason}"
