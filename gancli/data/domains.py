"""Data for image-to-image translation: two domains, unpaired or in pairs, or several domains as classes.

gancli train model=cyclegan data=unpaired data.root=~/horse2zebra
gancli train model=cyclegan data=unpaired data/a=mnist data/b=digits data.b.size=28
gancli train model=pix2pix data=paired data.root=~/facades data.swap=true
gancli train model=stargan data=domains data.root=~/seasons data.size=128
"""

from dataclasses import replace
from typing import Any, ClassVar

from gancli.data.files import DATA_ROOT, Files, open_files
from gancli.data.folder import FolderImages
from gancli.data.headers import upright_sizes
from gancli.data.keys import chosen, typed
from gancli.data.layout import Layout, has_sides, side_of
from gancli.data.pixels import fit
from gancli.data.source import Images, Source, fingerprint, folder
from gancli.data.splits import When
from gancli.errors import UsageError
from gancli.files import shown
from gancli.ranges import Bits

LARGER = 286 / 256  # size of a loaded picture relative to its random crop (Isola et al. 2017)
SIZE = 256  # default height and width of pictures from a folder, in pixels


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
            raise UsageError(
                f"{self.prefix}.load={self.load} crops pictures to a fixed size: add {self.prefix}.size=256, or "
                f"{self.prefix}.load=1"
            )
        return replace(plain, pixels=self._loaded(round(self.size * self.load)).split("train").pixels)

    def _loaded(self, size: int) -> FolderImages:
        """Return a source of the same files at another size, without crop."""
        return type(self)(size=size, load=1, **self.options)


class Side(Domains):
    """One of two domains under a root: folders trainA, testA, valA (`layout.side_of`), or a half of each AB picture."""

    asked = DATA_ROOT._replace(layout="")

    def __init__(
        self, root: str, side: str, half: bool = False, partner: "Side | None" = None, **kwargs: Any
    ) -> None:  # fmt: skip
        super().__init__(root, **kwargs)
        self.side, self.partner = side, partner
        self.options = {**self.options, "side": side, "half": half, "partner": partner}
        if half:
            self.recipe = replace(self.recipe, half="AB".index(side))
        self.half = half

    def _depends(self) -> dict[str, Any]:
        return {**super()._depends(), "side": self.side, "ordered": self.partner is not None}

    def found(self) -> Layout:
        """Return the files."""
        return self._layout(open_files(self.root, self.asked))

    def _layout(self, files: Files) -> Layout:
        """Return the files in the order of the partner's: where a.jpg belongs to a.png, sorting could mix pairs up."""
        found = super()._layout(files) if self.half else side_of(files, self.side)
        if self.partner is None:
            return found
        theirs = self.partner.found().parts
        at = {(split, _stem(path)): i for split, each in theirs.items() for i, (_, path) in enumerate(each)}
        parts = {split: sorted(each, key=lambda pair: at[split, _stem(pair[1])]) for split, each in found.parts.items()}
        return found._replace(parts=parts)


def _stem(path: str) -> str:
    """Return a path without its ending."""
    return path.rpartition(".")[0]


class PairedSide(Side):
    """One of the two halves of all pairs."""

    asked = Side.asked._replace(broken="repair them, or remove them with their partners: pairs cannot be skipped")


class Unpaired(Source):
    """Two domains without correspondence: the images of a split are domain b, their `Images.source` is domain a.

    - `root`: a folder or zip that holds trainA and trainB, and optionally testA, testB, valA, valB (`layout.side_of`).
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
        bit_depth: Bits | None = None,
        decode: When = "auto",
    ) -> None:
        kind = type(self).__name__.lower()
        super().__init__(kind, size, channels, validation, seed)
        if (root is None) == (a is None or b is None) or (root is not None and (a or b)):
            raise UsageError(
                f"{chosen(kind)} needs a folder or zip, {typed('root')}=..., or two data sets, as in data/a=mnist "
                "data/b=digits"
            )
        self.load = check_load(load or (1 if root is None else LARGER))
        self.flip = root is not None
        if root is not None:
            options: dict[str, Any] = {
                "bit_depth": bit_depth,
                "decode": decode,
                "channels": channels,
                "crop": crop,
                "test": test,
                "validation": validation,
                "seed": seed,
            }
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

    def notes(self) -> list[str]:
        sides = zip("ab", self.domains)
        return super().notes() + [f"domain {name}: {line}" for name, each in sides for line in each.notes()]

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
            raise UsageError(f"{self.prefix}.load={self.load} requires square pictures: add {self.prefix}.size=64")
        return replace(plain, pixels=fit(plain.pixels, round(plain.spec.height * self.load), None))

    def _joined(self, a: Images, b: Images) -> Images:
        sizes = [images.spec.size for images in (a, b)]
        if sizes[0] != sizes[1]:
            raise UsageError(f"domain a has pictures of {sizes[0]} and b of {sizes[1]}: add {self.prefix}.size=...")
        return replace(b, source=a, spec=replace(b.spec, source_channels=a.spec.channels, paired=self.paired))


class Paired(Unpaired):
    """Pairs of pictures: a and b side by side in one file, or in folders and matched by file name.

    - `root`: a folder or zip of AB pictures (a left, b right), flat or in train/, test/ and val/; or with the folders
      trainA, trainB, testA, testB.
    - `a`, `b`: two data sets whose i-th images form a pair.
    - `swap`: use b as the source and a as the target.

    The other arguments are those of `Unpaired`, except that unreadable files cannot be skipped.

    Raises UsageError if a picture has no partner, or one of another shape, of which cropping would keep another part.
    """

    paired = True

    def _sides(self, root: str, options: dict[str, Any]) -> tuple[Side, Side]:
        if options["on_error"] != "refuse":
            raise UsageError(
                f"{typed('on_error')}=skip would break pairs: repair or remove the files that cannot be read"
            )
        half = not has_sides(open_files(folder(root)))
        a, b = (PairedSide(root, side, half=half, **options) for side in "AB")
        if half:
            return a, b
        names = [{split: [_stem(path) for _, path in n] for split, n in s.found().parts.items()} for s in (a, b)]
        for split in sorted(names[0].keys() | names[1].keys()):
            ours, theirs = (each.get(split, []) for each in names)
            alone = sorted(set(ours) ^ set(theirs))
            if alone or sorted(ours) != sorted(theirs):
                which = shown(alone[0]) if alone else "two files of one name"
                raise UsageError(
                    f"{typed('root')}={root}: {split} has {which} without a partner; pairs need the same name in A and "
                    "B"
                )
        return a, PairedSide(root, "B", partner=a, **options)

    def _load(self, split: str) -> dict[str, Images]:
        a, b = self.domains
        if isinstance(a, Side) and isinstance(b, Side):
            if not a.half and a.recipe.crop != "none":
                _check_shapes(a, b)
        elif self.size is not None:
            ours, theirs = ((each.spec.width, each.spec.height) for each in (a.split(split), b.split(split)))
            if not _same_shape(ours, theirs, "center"):
                raise UsageError(
                    f"{chosen('paired')}: pictures of {_times(ours)} and {_times(theirs)} would be cropped apart; "
                    "choose data of one shape"
                )
        return super()._load(split)

    def _joined(self, a: Images, b: Images) -> Images:
        if len(a) != len(b):
            raise UsageError(
                f"{chosen('paired')}: {len(a)} pictures in a and {len(b)} in b; pairs need as many in both"
            )
        return super()._joined(a, b)


def _check_shapes(a: Side, b: Side) -> None:
    """Refuse pairs of different shapes: the centre of one picture is not the centre of the other. Raises UsageError."""
    ours, theirs = (each.found().parts for each in (a, b))
    pairs = [pair for split, named in ours.items() for pair in zip(named, theirs[split])]
    sizes = [upright_sizes([pair[side][0] for pair in pairs]) for side in (0, 1)]
    apart = [
        f"{shown(named[1])}: {_times(one)} and {_times(other)}"
        for (named, _), one, other in zip(pairs, *sizes)
        if one and other and not _same_shape(one, other, a.recipe.crop)
    ]
    if apart:
        raise UsageError(
            f"{typed('root')}={a.root}: {len(apart)} of {len(pairs)} pairs have pictures of different shapes "
            f"({apart[0]}), "
            f"which would be cropped apart; make them equal, or squeeze both with {typed('crop')}=none"
        )


def _times(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _same_shape(a: tuple[int, int], b: tuple[int, int], crop: str | int) -> bool:
    """Tell whether cropping takes the same part of two pictures, (width, height), up to a pixel of the smaller one."""
    if isinstance(crop, int):
        return a == b
    return abs(a[0] * b[1] - b[0] * a[1]) <= max(*a, *b)


def check_load(load: float) -> float:
    """Return ``load`` if it is a number in [1, 4], otherwise raise UsageError."""
    if isinstance(load, bool) or not isinstance(load, int | float) or not 1 <= load <= 4:
        raise UsageError(
            f"{typed('load')}={load!r}: allowed are numbers from 1 (no crop) to 4, e.g. {typed('load')}=1.117"
        )
    return load
