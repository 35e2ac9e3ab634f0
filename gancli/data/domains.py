"""Data for image-to-image translation: two domains, unpaired or in pairs, or several domains as classes.

gancli train model=cyclegan data=unpaired data.root=~/horse2zebra
gancli train model=cyclegan data=unpaired data/a=mnist data/b=digits data.b.size=28
gancli train model=pix2pix data=paired data.root=~/facades data.swap=true
gancli train model=stargan data=domains data.root=~/seasons data.size=128
"""

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, ClassVar

from gancli.data.files import open_files
from gancli.data.folder import FolderImages, Named
from gancli.data.pixels import fit
from gancli.data.source import Images, Source, fingerprint
from gancli.errors import UsageError

LARGER = 286 / 256  # size of a loaded picture relative to its random crop (Isola et al. 2017)
SIZE = 256  # default height and width of pictures from a folder, in pixels
_PARTS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}


class Domains(FolderImages):
    """One folder per domain, as in `FolderImages`; training pictures are loaded larger and cropped at random.

    - `load`: size of the loaded pictures relative to `size`, 1 to 4; 1: no crop.

    The other arguments are those of `FolderImages`.
    """

    flip = True

    def __init__(self, root: str, size: int | None = SIZE, load: float = LARGER, **kwargs: Any) -> None:
        super().__init__(root, size=size, **kwargs)
        self.load, self.options = check_load(load), {"root": root, **kwargs}

    def training(self) -> Images:
        plain = self.split("train")
        if self.load == 1:
            return plain
        if self.size is None:
            raise UsageError(f"data.load={self.load} crops pictures to a fixed size: add data.size=256, or data.load=1")
        return replace(plain, pixels=self._loaded(round(self.size * self.load)).split("train").pixels)

    def _loaded(self, size: int) -> FolderImages:
        """Return a source of the same files at another size, without crop."""
        return type(self)(size=size, load=1, **self.options)


class Side(Domains):
    """One of two domains under a root: folders trainA, testA, valA (or trainB, ...), or a half of each AB picture."""

    def __init__(self, root: str, side: str, half: bool = False, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.side, self.options = side, {**self.options, "side": side, "half": half}
        if half:
            self.recipe = replace(self.recipe, half="AB".index(side))
        self.half = half

    def _parts(self) -> dict[str, list[Named]]:
        return super()._parts() if self.half else side_of(self.root, self.side)


def side_of(root: Any, side: str) -> dict[str, list[Named]]:
    """Return the files in the folders train<side>, test<side> and val<side>, at any depth below ``root``.

    Raises:
        UsageError: there is no folder train<side>.
    """
    found: dict[str, list[Named]] = {}
    names = {f"{part}{side}": split for part, split in _PARTS.items()}
    for entry in open_files(root).entries():
        parts = PurePosixPath(entry.name).parts
        for depth, folder in enumerate(parts[:-1]):
            if folder in names:
                found.setdefault(names[folder], []).append((entry, "/".join(parts[depth + 1 :])))
                break
    if "train" not in found:
        raise UsageError(
            f"data.root={root}: no images in a folder train{side}; it has to hold trainA and trainB, and may hold "
            "testA, testB, valA, valB. Two other folders: data/a=folder data.a.root=... data/b=folder data.b.root=..."
        )
    return found


class Unpaired(Source):
    """Two domains without correspondence: the images of a split are domain b, their `Images.source` is domain a.

    - `root`: a folder or zip that holds trainA and trainB, and optionally testA, testB, valA, valB.
    - `a`, `b`: instead of `root`, two data sets of equal size (`data/a=mnist data/b=digits`).
    - `size`: height and width in pixels; None: 256 with `root`, the data sets' own size with `a` and `b`.
    - `load`: size of loaded training pictures relative to `size`, from which random crops are taken; None: 286/256
      with `root`, 1 (no crop) with `a` and `b`.
    - `swap`: exchange the domains.

    The other arguments are those of `FolderImages` and apply to `root` only.

    Raises UsageError unless exactly one of `root` or both `a` and `b` is given, and if the domains differ in size.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        root: str | None = None,
        a: Source | None = None,
        b: Source | None = None,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        load: float | None = None,
        swap: bool = False,
        test: int | float = 0.1,
        validation: int | float = 0.05,
        seed: int = 0,
        on_error: str = "refuse",
    ) -> None:
        kind = type(self).__name__.lower()
        super().__init__(kind, size, channels, validation, seed)
        if (root is None) == (a is None or b is None) or (root is not None and (a or b)):
            raise UsageError(
                f"data={kind} needs a folder or zip, data.root=..., or two data sets, as in data/a=mnist data/b=digits"
            )
        self.load = check_load(load or (1 if root is None else LARGER))
        self.flip = root is not None
        if root is not None:
            options = {"channels": channels, "crop": crop, "test": test, "validation": validation, "seed": seed}
            a, b = self._sides(root, {**options, "size": size or SIZE, "load": self.load, "on_error": on_error})
        assert a is not None and b is not None
        self.domains = (b, a) if swap else (a, b)

    def _sides(self, root: str, options: dict[str, Any]) -> tuple[Side, Side]:
        return Side(root, "A", **options), Side(root, "B", **options)

    def _load(self, split: str) -> dict[str, Images]:
        return {split: self._joined(*(self._sized(domain.split(split)) for domain in self.domains))}

    def training(self) -> Images:
        a, b = (self._larger(domain.training(), images) for domain, images in zip(self.domains, self._plain("train")))
        return self._joined(a, b)

    def _plain(self, split: str) -> tuple[Images, Images]:
        joined = self.split(split)
        assert joined.source is not None
        return joined.source, replace(joined, source=None, spec=replace(joined.spec, source_channels=0, paired=False))

    def _sized(self, images: Images) -> Images:
        """Convert pictures to the configured size and channels."""
        pixels = fit(images.pixels, self.size, self.channels)
        if pixels.shape == images.pixels.shape:
            return images
        channels, height, width = pixels.shape[1:]
        spec = replace(images.spec, channels=channels, height=height, width=width)
        return replace(images, pixels=pixels, spec=spec, fingerprint=fingerprint(pixels, images.labels))

    def _larger(self, images: Images, plain: Images) -> Images:
        """Return the pictures from which random crops are taken: as loaded from a root, otherwise enlarged."""
        if self.load == 1 or images.pixels.shape[2:] != images.spec.shape[1:]:
            return replace(images, pixels=plain.pixels, spec=plain.spec) if self.load == 1 else images
        if plain.spec.height != plain.spec.width:
            raise UsageError(f"data.load={self.load} requires square pictures: add data.size=64")
        return replace(plain, pixels=fit(plain.pixels, round(plain.spec.height * self.load), None))

    def _joined(self, a: Images, b: Images) -> Images:
        sizes = [f"{images.spec.height}x{images.spec.width}" for images in (a, b)]
        if sizes[0] != sizes[1]:
            raise UsageError(f"domain a has pictures of {sizes[0]} and b of {sizes[1]}: add data.size=...")
        return replace(b, source=a, spec=replace(b.spec, source_channels=a.spec.channels, paired=self.paired))


class Paired(Unpaired):
    """Pairs of pictures: a and b side by side in one file, or in folders and matched by file name.

    - `root`: a folder or zip of AB pictures (a left, b right), flat or in train/, test/ and val/; or with the folders
      trainA, trainB, testA, testB.
    - `a`, `b`: two data sets whose i-th images form a pair.
    - `swap`: use b as the source and a as the target.

    The other arguments are those of `Unpaired`, except that unreadable files cannot be skipped.

    Raises UsageError if a picture has no partner.
    """

    paired = True

    def _sides(self, root: str, options: dict[str, Any]) -> tuple[Side, Side]:
        if options["on_error"] != "refuse":
            raise UsageError("data.on_error=skip would break pairs: repair or remove the files that cannot be read")
        a, b = super()._sides(root, options)
        folders = {entry.name.split("/")[-2] for entry in open_files(a.root).entries() if "/" in entry.name}
        if not {"trainA", "trainB"} & folders:
            return Side(root, "A", half=True, **options), Side(root, "B", half=True, **options)
        names = [{split: [path.rpartition(".")[0] for _, path in n] for split, n in s._parts().items()} for s in (a, b)]
        for split in sorted(names[0].keys() | names[1].keys()):
            alone = sorted(set(names[0].get(split, ())) ^ set(names[1].get(split, ())))
            if alone or sorted(names[0][split]) != sorted(names[1][split]):
                which = alone[0] if alone else "two files of one name"
                raise UsageError(
                    f"data.root={root}: {split} has {which} without a partner; pairs need the same name in A and B"
                )
        return a, b

    def _joined(self, a: Images, b: Images) -> Images:
        if len(a) != len(b):
            raise UsageError(f"data=paired: {len(a)} pictures in a and {len(b)} in b; pairs need as many in both")
        return super()._joined(a, b)


def check_load(load: float) -> float:
    """Return ``load`` if it is a number in [1, 4], otherwise raise UsageError."""
    if isinstance(load, bool) or not isinstance(load, int | float) or not 1 <= load <= 4:
        raise UsageError(f"data.load={load!r}: allowed are numbers from 1 (no crop) to 4, e.g. data.load=1.117")
    return load
