"""How people lay out folders of images: splits, classes, shards, two domains, and the labels of a ``dataset.json``."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from gancli.data.files import EXTENSIONS, LABELS, Entry, Files, one_line
from gancli.data.keys import chosen, typed, within
from gancli.data.source import SPLITS
from gancli.errors import UsageError, counted
from gancli.files import shown

How = Literal["auto", "classes", "flat"]
Named = tuple[Entry, str]  # a file, and its path below the split's folder
_LABEL_BYTES = 256 * 1024**2  # ImageNet's has 40 MB

_WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_PART = "|".join(_SPLIT_OF)
_SPLIT = re.compile(rf"({_PART})([-_ ]?(set|data|split|images|imgs|\d{{4}}))?", re.IGNORECASE)
_SIDE = re.compile(rf"(?i:({_PART}))(?:[-_ ](?i:([ab]))|([AB]))")
_SHARD = re.compile(r"(shard|part|chunk|batch|images?|imgs?)[-_ ]?\d+", re.IGNORECASE)
_NUMBERED = re.compile(r"\d{4,}")


class Layout(NamedTuple):
    """The images of a folder, sorted into splits and classes."""

    parts: dict[str, list[Named]]
    labels: dict[Entry, str]  # names of classes
    classes: tuple[str, ...]  # in order; empty: the images have no classes
    note: str  # what was taken and what was not, in one line


def read(files: Files, how: How = "auto") -> Layout:
    """Return the layout of a folder or zip.

    - ``auto``: folders named like splits (`split_of`) are the splits, above or below the classes, if one of them is
      train; other folders are left out then. A ``dataset.json`` with labels decides the classes; otherwise folders do,
      if there are at least two and they are no shards (`sharded`). A single enclosing folder is ignored.
    - ``classes``: every top-level folder is a class, whatever its name. ``flat``: all images, without classes.

    Raises:
        UsageError: there are no images; test or validation images, but none to train on, also of one class alone;
            images beside class folders; or a ``dataset.json`` that is damaged or lacks some of the images.
    """
    entries, others = files.found()
    named = [(entry, entry.name) for entry in entries]
    if not named:
        seen = f"; it holds {_endings(others)}" if others else ""
        raise UsageError(
            f"{files}: no images in it; looked for {' '.join(EXTENSIONS)} there and in its sub-folders{seen}"
        )
    auto = how == "auto"
    parts, left = _arranged(_stripped(named), files) if auto else ({"train": _stripped(named, all=True)}, Counter())
    labels = _json_labels(files, [entry for part in parts.values() for entry, _ in part], others) if auto else None
    if labels is not None:
        classes = tuple(sorted(set(labels.values()), key=int))
        kind = f"labels of {LABELS}" if labels else f"no classes, as {LABELS} says"
        others = [name for name in others if PurePosixPath(name).name != LABELS]
    else:
        labels = {} if how == "flat" else _folders(parts, files)
        classes = tuple(sorted(set(labels.values())))
        kind = f"{len(classes)} class folders" if len(classes) > 1 else "no classes"
        if auto and len(classes) > 1 and sharded(classes, labels):
            kind = f"no classes: {classes[0]}/ to {classes[-1]}/ are shards{_or(files, 'classes')}"
            classes = ()
    classes = classes if len(classes) > 1 else ()
    _check_trained(parts, labels, classes, files)
    return Layout(parts, labels, classes, taken(files, parts, kind, left, others))


def split_of(folder: str) -> str | None:
    """Return the split that the name of a folder means, as in ``training``, ``val`` or ``test_images``; None: none."""
    match = _SPLIT.fullmatch(folder)
    return _SPLIT_OF[match[1].lower()] if match else None


def sharded(folders: Iterable[str], labels: dict[Entry, str]) -> bool:
    """Return whether folders only keep their size small: ``00000/ 00001/`` of StyleGAN's tools, ``shard-3/``.

    Numbers of four digits or more are shards, unless files repeat the number of their folder as those of class folders
    do, ``00007/00007_00012.ppm``.
    """
    if all(_SHARD.fullmatch(folder) for folder in folders):
        return True
    repeated = any(re.match(rf"{re.escape(name)}\D+\d", entry.name.split("/")[-1]) for entry, name in labels.items())
    return all(_NUMBERED.fullmatch(folder) for folder in folders) and not repeated


def taken(files: Files, parts: dict[str, list[Named]], kind: str, left: Counter[str], others: list[str]) -> str:
    """Return one line that says which images were taken as what, and which files were not."""
    count = sum(map(len, parts.values()))
    splits = ", ".join(f"{len(parts[split]):,} as {split}" for split in SPLITS if split in parts)
    out = [f"{n:,} image{'s' * (n > 1)} {where}" for where, n in sorted(left.items())]
    out += [f"{_endings(others)}"] if others else []
    rest = f"; not taken: {', '.join(out)}" if out else ""
    return f"{files.root}: images found: {count + sum(left.values()):,}, taken: {splits} ({kind}){rest}"


def has_sides(files: Files) -> bool:
    """Return whether there are folders of two domains, as for `side_of`."""
    return _sides(files) is not None


def side_of(files: Files, side: str) -> Layout:
    """Return one of two domains, "A" or "B": the images in folders such as ``trainA``, ``test_A`` and ``validA``.

    Or in ``train/A`` or ``A/train``, or in ``A`` beside ``B``, of which all is train; each at any depth.

    Raises:
        UsageError: there is no folder to train on.
    """
    parts: dict[str, list[Named]] = {}
    left: Counter[str] = Counter()
    place = _sides(files) or (lambda folders: None)
    for entry in files.entries():
        *folders, _ = names = PurePosixPath(entry.name).parts
        found = place(folders)
        if found is None:
            left[_where(folders)] += 1
        elif found[0] == side:
            parts.setdefault(found[1], []).append((entry, "/".join(names[found[2] :])))
    if "train" not in parts:
        raise UsageError(
            f"{files}: no images in a folder train{side}; it has to hold trainA and trainB, and may hold "
            f"testA, testB, valA, valB. Two other folders: {_two('a')} {_two('b')}"
        )
    labels = _folders(parts, files)
    classes = tuple(sorted(set(labels.values())))
    classes = classes if len(classes) > 1 else ()
    _check_trained(parts, labels, classes, files)
    return Layout(parts, labels, classes, taken(files, parts, f"domain {side}", left, files.others()))


def _two(side: str) -> str:
    with within(typed(side)):
        return f"{chosen('folder')} {typed('root')}=..."


Place = tuple[str, str, int]  # domain, split, and the depth below which a file's own path begins


def _sides(files: Files) -> Callable[[Sequence[str]], Place | None] | None:
    """Return what finds the domain of a file in its folders, by the first naming that fits; None: there is none."""
    for place in (_joined, _nested, _plain):
        found = {where[0] for e in files.entries() if (where := place(PurePosixPath(e.name).parts[:-1]))}
        if found == {"A", "B"} or (found and place is _joined):
            return place
    return None


def _joined(folders: Sequence[str]) -> Place | None:
    for depth, folder in enumerate(folders, 1):
        if match := _SIDE.fullmatch(folder):
            return (match[2] or match[3]).upper(), _SPLIT_OF[match[1].lower()], depth
    return None


def _nested(folders: Sequence[str]) -> Place | None:
    for depth, (outer, inner) in enumerate(pairwise(folders), 2):
        for split, side in ((split_of(outer), inner), (split_of(inner), outer)):
            if split and side in ("A", "B"):
                return side, split, depth
    return None


def _plain(folders: Sequence[str]) -> Place | None:
    return next(((folder, "train", depth) for depth, folder in enumerate(folders, 1) if folder in ("A", "B")), None)


def _arranged(named: list[Named], files: Files) -> tuple[dict[str, list[Named]], Counter[str]]:
    """Group the files into splits, and count those that are in none; without folders of splits, all are train."""
    tops = Counter(path.split("/")[0] if "/" in path else "" for _, path in named)
    splits = {split for top in tops if (split := split_of(top))}
    classes = [top for top in tops if top and not split_of(top)]
    if "train" in splits and (not classes or len(splits) > 1):
        return _split_by(named, lambda folders: 0 if folders and split_of(folders[0]) else None)
    if splits - {"train"} and len(tops) > 1 and files.asked.trained:
        test = next(top for top in tops if split_of(top) and split_of(top) != "train")
        rest = ", ".join(f"{top}/" for top in sorted(classes)[:3]) or "no folder"
        raise UsageError(
            f"{files}: has {test}/ beside {rest}, and no train/; rename the folder to train on, or take {test}/ away"
            f"{_or(files, 'classes')}"
        )
    below = {(path.split("/")[0], split_of(path.split("/")[1]) if path.count("/") > 1 else None) for _, path in named}
    inner = {split for _, split in below}
    if "train" in inner and len(inner) > 1 and None not in inner:  # cat/train/, cat/test/, dog/train/
        return _split_by(named, lambda folders: 1)
    return {"train": named}, Counter()


def _split_by(named: list[Named], place: Callable[[list[str]], int | None]) -> tuple[dict[str, list[Named]], Counter]:
    """Sort files by the folder at a place in their path, which is taken out of it; None: the file is left out."""
    parts: dict[str, list[Named]] = {}
    left: Counter[str] = Counter()
    for entry, path in named:
        *folders, file = path.split("/")
        at = place(folders)
        if at is None:
            left[_where(folders)] += 1
            continue
        split = split_of(folders[at])
        assert split is not None  # place() has looked
        parts.setdefault(split, []).append((entry, "/".join([*folders[:at], *folders[at + 1 :], file])))
    return parts, left


def _where(folders: Sequence[str]) -> str:
    return f"in {shown(folders[0])}/" if folders else "beside the folders"


def _stripped(named: list[Named], all: bool = False) -> list[Named]:
    """Take enclosing folders off the paths, up to train/ or all of them."""
    while len(tops := {path.split("/")[0] if "/" in path else "" for _, path in named}) == 1 and "" not in tops:
        if not all and split_of(next(iter(tops))) == "train":
            break
        named = [(entry, path.split("/", 1)[1]) for entry, path in named]
    return named


def _check_trained(
    parts: dict[str, list[Named]], labels: dict[Entry, str], classes: tuple[str, ...], files: Files
) -> None:
    """Refuse classes that have images to test on, but none to train on. Raises UsageError."""
    training = {labels[entry] for entry, _ in parts["train"]} if classes and files.asked.trained else set(classes)
    if absent := [name for name in classes if name not in training]:
        raise UsageError(
            f"{files}: class {shown(absent[0])!r} has test or validation images but none to train on; "
            f"the classes of train are {shown(', '.join(sorted(training)[:10]))}"
        )


def _folders(parts: dict[str, list[Named]], files: Files) -> dict[Entry, str]:
    """Return the class folder of each file; empty if there are none."""
    named = [each for part in parts.values() for each in part]
    names = {entry: path.split("/")[0] for entry, path in named if "/" in path}
    loose = [path for _, path in named if "/" not in path]
    if names and loose:
        images, folders = counted(len(loose), "image"), counted(len(set(names.values())), "class folder")
        raise UsageError(
            f"{files}: {images}, e.g. {shown(loose[0])}, beside {folders}, "
            f"e.g. {shown(min(names.values()))}/; move all images into class folders, or none{_or(files, 'flat')}"
        )
    return names


def _json_labels(files: Files, entries: list[Entry], others: list[str]) -> dict[Entry, str] | None:
    """Return the labels in the outermost ``dataset.json``; empty if it says that there are none, None without one."""
    found = min((n for n in others if PurePosixPath(n).name == LABELS), key=lambda n: n.count("/"), default=None)
    if found is None:
        return None
    where = found.removesuffix(LABELS)
    try:
        with files.open(found) as file:
            data = file.read(_LABEL_BYTES + 1)
        if len(data) > _LABEL_BYTES:
            raise ValueError(f"more than {_LABEL_BYTES:,} bytes")
        labels = json.loads(data)["labels"]
        pairs = {where + str(name).replace("\\", "/"): label for name, label in dict(labels or {}).items()}
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        reason = one_line(error)
        raise UsageError(
            f"{files}: its {found} holds no labels ({reason}); repair it, or take it away{_or(files, 'classes')}"
        ) from None
    bad = next((label for label in pairs.values() if type(label) is not int or label < 0), None)
    if bad is not None:
        raise UsageError(
            f"{files}: {found} has the label {json.dumps(bad)[:40]}; allowed are whole numbers from 0; "
            f"repair it, or take it away{_or(files, 'flat')}"
        )
    missing = [entry.name for entry in entries if entry.name not in pairs] if pairs else []
    if missing:
        images = counted(len(entries), "image")
        raise UsageError(
            f"{files}: {found} has no label for {len(missing)} of {images}, e.g. {shown(missing[0])}; "
            f"add them, or take the images away{_or(files, 'flat')}"
        )
    return {entry: str(pairs[entry.name]) for entry in entries} if pairs else {}


def _or(files: Files, how: How) -> str:
    """Return the advice to choose another layout, where its key can be typed."""
    return f", or add {files.asked.layout}={how}" if files.asked.layout else ""


def _endings(names: list[str]) -> str:
    """Return how many files there are of each ending: ``130 .heic, 1 .txt``."""
    counts = Counter(PurePosixPath(name).suffix.lower() or PurePosixPath(name).name for name in names)
    told = ", ".join(f"{n:,} {shown(ending)}" for ending, n in counts.most_common(5))
    return told + (f" and {len(counts) - 5} other kinds" if len(counts) > 5 else "")
