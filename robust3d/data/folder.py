# SPDX-License-Identifier: Apache-2.0
"""nnU-Net raw folders: ``dataset.json``, ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robust3d.data.dataset import Dataset
from robust3d.foundation.errors import InputError, nearest
from robust3d.foundation.files import make_folder, write_text
from robust3d.volume.nifti import read_volume, save_image, save_label
from robust3d.volume.volume import Volume


@dataclass(frozen=True)
class FolderDataset:
    """Labelled cases of a single-channel nnU-Net raw folder; open one with :meth:`open`.

    Parameters
    ----------
    root : Path
        The folder with ``dataset.json``.
    names : sequence of str
        Cases in order.
    ending : str
        Suffix of the files, such as ``.nii.gz``.
    classes : tuple of int
        Values that labels may hold.
    """

    root: Path
    names: Sequence[str]
    ending: str
    classes: tuple[int, ...]

    @classmethod
    def open(cls, root: str | Path, *, first: int = 0, limit: int | None = None) -> FolderDataset:
        """Return the labelled cases of a folder by name, ``limit`` of them from number ``first`` on.

        Raises
        ------
        InputError
            If the folder is not nnU-Net raw, has several channels, lacks a label, or has too few cases.
        """
        folder = Path(root)
        card = _read_json(folder / "dataset.json")
        ending = str(card.get("file_ending", ".nii.gz"))
        channels = card.get("channel_names", {})
        if not isinstance(channels, dict) or len(channels) != 1:
            raise InputError(f"{folder / 'dataset.json'} does not name exactly one channel; one is supported")
        images = sorted((folder / "imagesTr").glob(f"*_0000{ending}"))
        names = [path.name.removesuffix(f"_0000{ending}") for path in images]
        if not names:
            raise InputError(f"folder {folder / 'imagesTr'} holds no image CASE_0000{ending}")
        for name in names:
            if not (folder / "labelsTr" / f"{name}{ending}").is_file():
                raise InputError(f"case {name} has no label {folder / 'labelsTr' / f'{name}{ending}'}")
        chosen = names[first:] if limit is None else names[first : first + limit]
        if limit is not None and len(chosen) < limit:
            raise InputError(
                f"{folder} has {len(names)} labelled cases; cases {first + 1} to {first + limit} are asked for"
            )
        return cls(folder, chosen, ending, _classes(card, folder))

    def load(self, name: str) -> Volume:
        """Read one case with its label."""
        if name not in self.names:
            raise InputError(f"unknown case {name!r} in {self.root}; {nearest(name, self.names)}")
        return read_volume(
            self.root / "imagesTr" / f"{name}_0000{self.ending}",
            self.root / "labelsTr" / f"{name}{self.ending}",
            name=name,
            classes=self.classes,
        )


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


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; an nnU-Net raw folder holds a dataset.json") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; it must hold an object")
    return content


def _classes(card: dict[str, object], folder: Path) -> tuple[int, ...]:
    labels = card.get("labels")
    if not isinstance(labels, dict) or not all(isinstance(value, int) for value in labels.values()):
        raise InputError(f"{folder / 'dataset.json'} needs labels as name: integer; regions are not supported")
    return tuple(sorted(labels.values()))
