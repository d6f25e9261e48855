"""What an earlier preparation of the same folder saves: an image whose bytes, size, resize, filter
and decoder are the same is not decoded again, so a new split or a second size costs only itself.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.files import sha256
from pipeline.dataset.array_files import Array, array_files, array_name
from pipeline.dataset.arrays import Decoded
from pipeline.dataset.images import decoder
from pipeline.dataset.prepared import FORMAT
from pipeline.dataset.sources import Source


@dataclass(frozen=True)
class Earlier:
    """A prepared folder whose files still have the same bytes and would be decoded the same."""

    folder: Path
    decoded: list[Decoded]
    files: list[str]  # of the index, in the arrays' order
    arrays: dict[str, Any]

    def link(self, array: Array, folder: Path) -> bool:
        """Put this array into `folder` too, if it is here and undamaged."""
        known = self.arrays.get(array_name(array))
        paths = array_files(self.folder, array)
        if known is None or not all(path.is_file() for path in paths):
            return False
        if sha256(paths[0]) != known["sha256"]:
            return False
        for path in paths:
            try:
                os.link(path, folder / path.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, folder / path.name)
        return True


def find_earlier(folder: Path, source: Source) -> Earlier | None:
    """What `folder` holds of these very bytes; None if there is nothing to save."""
    try:
        return _find_earlier(folder, source)
    except (OSError, ValueError, TypeError, LookupError):  # not there, or damaged
        return None


def _find_earlier(folder: Path, source: Source) -> Earlier | None:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if meta["format"] != FORMAT or meta["decoder"] != decoder():
        return None
    table = pd.read_csv(folder / "decoded.csv", dtype=str, keep_default_na=False)
    files = [image.file for image in source.images]
    if table["file"].tolist() != files:
        return None
    hashes = [hashlib.sha256(source.read(file)).hexdigest() for file in files]
    if table["sha256"].tolist() != hashes:
        return None
    decoded = [Decoded(*row) for row in table[["sha256", "peculiar", "reason"]].to_numpy().tolist()]
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    return Earlier(folder, decoded, index["file"].tolist(), meta["arrays"])


def decoded_table(source: Source, decoded: Sequence[Decoded]) -> pd.DataFrame:
    """decoded.csv: file, sha256, peculiar, reason; one row per file found."""
    table = pd.DataFrame([vars(each) for each in decoded])
    table.insert(0, "file", [image.file for image in source.images])
    return table
