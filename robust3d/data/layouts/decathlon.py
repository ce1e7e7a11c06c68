# SPDX-License-Identifier: Apache-2.0
"""Medical Segmentation Decathlon: ``dataset.json`` (integer: name) whose list ``training`` names image and label."""

from __future__ import annotations

from pathlib import Path

from robust3d.data.layouts.documents import named_channels, pair_list, read_object, unique
from robust3d.data.layouts.layout import Listing, NiftiLayout
from robust3d.foundation.errors import InputError


class Decathlon(NiftiLayout):
    """Task folders of the Medical Segmentation Decathlon (Antonelli et al., arXiv 1902.09063), channels last."""

    name = "decathlon"
    signature = "dataset.json with modality and a list training of image and label"

    def recognises(self, root: Path) -> bool:
        """By the keys of ``dataset.json``."""
        try:
            return {"modality", "training"} <= read_object(root / "dataset.json").keys()
        except InputError:
            return False

    def scan(self, root: Path) -> Listing:
        """Return the cases of the list ``training``."""
        path = root / "dataset.json"
        try:
            card = read_object(path)
        except InputError as error:
            return Listing(problems=[f"{error}; a folder of the Decathlon holds a dataset.json"])
        channels, problems = named_channels(card.get("modality"), f"modality in {path}")
        entries, wrong = pair_list(card.get("training"), root, f"training in {path}", channels=channels)
        entries, twice = unique(entries)
        labels, unread = _labels(card.get("labels"), path)
        return Listing(entries, labels, problems=[*problems, *wrong, *twice, *unread])


def _labels(content: object, path: Path) -> tuple[dict[str, int] | None, list[str]]:
    if isinstance(content, dict) and all(
        str(value).isdecimal() and isinstance(content[value], str) for value in content
    ):
        return {name: int(value) for value, name in content.items()}, []
    return None, [f"{path} needs labels as integer: name"]
