# SPDX-License-Identifier: Apache-2.0
"""nnU-Net v2 raw: ``dataset.json`` (name: integer), ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``."""

from __future__ import annotations

from pathlib import Path

from robust3d.data.layouts.documents import named_channels, read_object
from robust3d.data.layouts.layout import Entry, Listing, NiftiLayout
from robust3d.foundation.errors import InputError
from robust3d.volume.nifti import channel_file
from robust3d.volume.nifti_file import SUFFIXES


class NnunetRaw(NiftiLayout):
    """Raw folders of nnU-Net v2 (Isensee et al., Nature Methods 18, 2021), one file a channel."""

    name = "nnunet"
    signature = "dataset.json with channel_names, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz"

    def recognises(self, root: Path) -> bool:
        """By the key of ``dataset.json`` that only version 2 has."""
        try:
            return "channel_names" in read_object(root / "dataset.json")
        except InputError:
            return False

    def scan(self, root: Path) -> Listing:
        """Return the cases of ``imagesTr``, each with its label in ``labelsTr``."""
        path = root / "dataset.json"
        try:
            card = read_object(path)
        except InputError as error:
            return Listing(problems=[f"{error}; an nnU-Net raw folder holds a dataset.json"])
        channels, problems = named_channels(card.get("channel_names"), f"channel_names in {path}")
        ending = card.get("file_ending", ".nii.gz")
        if ending not in SUFFIXES:
            return Listing(problems=[f"{path} has file_ending {ending!r}; supported: {', '.join(SUFFIXES)}"])
        images = sorted((root / "imagesTr").glob(f"[!.]*_0000{ending}"))
        if not images:
            problems.append(f"folder {root / 'imagesTr'} holds no image CASE_0000{ending}")
        entries = []
        for image in images:
            name = image.name.removesuffix(f"_0000{ending}")
            case = image.with_name(f"{name}{ending}")
            others = tuple(channel_file(case, number) for number in range(1, channels or 1))
            entries.append(Entry(name, image, root / "labelsTr" / case.name, others, channels))
        problems += [f"case {one.name} has no {path}" for one in entries for path in one.others if not path.is_file()]
        problems += [f"case {one.name} has no label {one.label}" for one in entries if not one.label.is_file()]
        labels = _values(card.get("labels"))
        if labels is None:
            problems.append(f"{path} needs labels as name: integer from 0 to 255, or a list of these for a region")
        # A case without a label or a channel is told once.
        whole = (one for one in entries if all(path.is_file() for path in (one.label, *one.others)))
        entries = sorted(whole, key=lambda entry: entry.name)
        return Listing(entries, labels, ignore=None if labels is None else labels.get("ignore"), problems=problems)


def _values(labels: object) -> dict[str, int] | None:
    """Return the value of each label; of regions the values that have no name of their own, by their number."""
    if not isinstance(labels, dict):
        return None
    named, regions = {}, []
    for name, value in labels.items():
        if isinstance(value, list) and len(value) != 1:
            regions += value
        else:
            named[name] = value[0] if isinstance(value, list) else value
    if not all(type(one) is int and 0 <= one < 256 for one in (*named.values(), *regions)):
        return None
    return named | {str(one): one for one in sorted({*regions} - {*named.values()})}
