# SPDX-License-Identifier: Apache-2.0
"""Results as one flat table, and as a Parquet file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from robust3d.foundation.errors import InputError
from robust3d.foundation.files import replacing


def flat_table(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row a cell; what is nested (threat, classes, settings, trace...) is JSON text."""
    return pd.DataFrame([{key: _flat(value) for key, value in record.items()} for record in records])


def write_parquet(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the flat table as Parquet.

    Raises
    ------
    InputError
        If pyarrow is not installed, or the file cannot be written.
    """
    table = flat_table(records)
    try:
        with replacing(path) as temporary:
            table.to_parquet(temporary, engine="pyarrow", index=False)
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: pip install 'robust3d[parquet]'") from error


def _flat(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
