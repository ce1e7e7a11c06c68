# SPDX-License-Identifier: Apache-2.0
"""A table of pairs: ``cases.csv`` with the columns ``image``, ``label`` and ``case``."""

from __future__ import annotations

import csv
from pathlib import Path

from robust3d.data.layouts.documents import pair_list, unique
from robust3d.data.layouts.layout import Listing, NiftiLayout

FILE = "cases.csv"


class CsvTable(NiftiLayout):
    """One row a case; paths are relative to the folder, and ``case`` may be left out."""

    name = "csv"
    signature = f"{FILE} with the columns image, label and case"

    def recognises(self, root: Path) -> bool:
        """By the file."""
        return (root / FILE).is_file()

    def scan(self, root: Path) -> Listing:
        """Return the rows."""
        path = root / FILE
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                columns, rows = reader.fieldnames or [], list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            return Listing(problems=[f"cannot read {path}: {error}"])
        missing = [column for column in ("image", "label") if column not in columns]
        if missing:
            return Listing(problems=[f"{path} has no column {' and no column '.join(missing)}"])
        entries, wrong = pair_list(rows, root, str(path))
        entries, twice = unique(entries)
        return Listing(entries, problems=[*wrong, *twice])
