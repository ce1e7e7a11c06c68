# SPDX-License-Identifier: Apache-2.0
"""Write a dataset as an nnU-Net raw folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from robust3d.data.dataset import Dataset
from robust3d.foundation.errors import InputError
from robust3d.foundation.files import make_folder, write_text
from robust3d.volume.nifti import save_image, save_label


def write_folder(
    dataset: Dataset, root: Path, *, name: str, labels: dict[str, int], report: Callable[[str], None] = lambda _: None
) -> None:
    """Write a dataset as an nnU-Net raw folder; the same call again overwrites its cases.

    Parameters
    ----------
    dataset : Dataset
        Labelled cases; loaded one at a time.
    root : Path
        New or existing folder.
    name : str
        Name of the dataset.
    labels : dict of str to int
        Class names; ``background`` is 0.
    report : callable
        Called with the name of each case once it is written.

    Raises
    ------
    InputError
        Before anything is written, if the folder holds other cases, which would mix with these.
    """
    make_folder(root)
    images = {case: root / "imagesTr" / f"{case}_0000.nii.gz" for case in dataset.names}
    truths = {case: root / "labelsTr" / f"{case}.nii.gz" for case in dataset.names}
    _check_no_others(root, {*images.values(), *truths.values()})
    for case in dataset.names:
        volume = dataset.load(case)
        save_image(volume, images[case])
        save_label(volume.known_label(), volume, truths[case])
        report(case)
    card = {
        "name": name,
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": len(dataset.names),
        "file_ending": ".nii.gz",
    }
    # Last, so that a folder with a dataset.json is complete.
    write_text(root / "dataset.json", json.dumps(card, indent=2) + "\n")


def _check_no_others(root: Path, written: set[Path]) -> None:
    for folder in ("imagesTr", "labelsTr"):
        # Hidden files are no cases.
        others = sorted(path for path in (root / folder).glob("[!.]*") if path not in written)
        if others:
            raise InputError(
                f"{others[0]} is none of the cases to be written and would mix with them ({len(others)} such files in "
                f"{folder}); delete them or choose another folder"
            )
