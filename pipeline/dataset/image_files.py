"""The image files of a folder, to be found by what tables call them."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import Found, files_below, suffix_of

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class ImageFiles:
    """The image files below a folder, to be found by their names."""

    def __init__(self, root: Path, files: Sequence[str] | None = None) -> None:
        self.root = root
        self._files = files

    @cached_property
    def files(self) -> list[str]:
        if self._files is not None:
            return list(self._files)
        return [file for file in files_below(self.root) if suffix_of(file) in SUFFIXES]

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        return grouped(self.files, lambda file: file.rpartition("/")[2].lower())

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        return grouped(self.files, lambda file: stem(file.rpartition("/")[2]).lower())

    def find(self, wanted: str, any_suffix: bool, any_case: bool) -> list[str]:
        """The files that `wanted` may mean, `**/` in it standing for any folders.

        A file of just this name comes before one in other letters, and that before one with
        another suffix.
        """
        if "**/" not in wanted and (wanted in self.known or (self.root / wanted).is_file()):
            return [wanted]
        if "**/" not in wanted and not any_suffix and not any_case:
            return []
        head, deep, tail = wanted.rpartition("**/")
        name = tail.rpartition("/")[2]
        named = self.by_name.get(name.lower(), [])
        if len(named) == 1 and deep and not head and _below(named[0], tail):
            return list(named)

        def fits(file: str, tail: str) -> bool:
            if not deep:
                return file == tail
            return file.startswith(head) and (file[len(head) :] == tail or _below(file, tail))

        found = [file for file in named if fits(file, tail)]
        if not found and any_case:
            found = [file for file in named if fits(file.lower(), tail.lower())]
        if not found and any_suffix:
            folders = tail[: len(tail) - len(name)]
            wanted_stem = folders + stem(name)
            for file in self.by_stem.get(stem(name).lower(), []):
                without = stem_path(file)
                if any_case:
                    without, wanted_stem = without.lower(), wanted_stem.lower()
                if fits(without, wanted_stem):
                    found.append(file)
        return found

    def beside(self, images: Sequence[Found], listed: set[str]) -> list[str]:
        """The images that lie in the folders of `images` and that no row names."""
        folders = {folder_of(image.file) for image in images}
        return [f for f in self.files if f not in listed and folder_of(f) in folders]


def stem(name: str) -> str:
    """A file's name without the suffix of an image; other dots stay."""
    place = name.rfind(".")
    return name[:place] if place > 0 and name[place:].lower() in SUFFIXES else name


def stem_path(file: str) -> str:
    """A path without the suffix of an image."""
    place, _, own = file.rpartition("/")
    return f"{place}/{stem(own)}" if place else stem(own)


def grouped(values: Iterable[T], key_of: Callable[[T], K]) -> dict[K, list[T]]:
    """The values by their key, keys and values in their order."""
    groups: dict[K, list[T]] = {}
    for value in values:
        groups.setdefault(key_of(value), []).append(value)
    return groups


def folder_of(file: str) -> str:
    """The folder of a file, empty at the root."""
    return file.rpartition("/")[0]


def _below(file: str, tail: str) -> bool:
    return file.endswith(f"/{tail}")
