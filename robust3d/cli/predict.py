# SPDX-License-Identifier: Apache-2.0
"""``robust3d predict``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from robust3d.cli.options import Collection, Device, Images, Out


def predict(
    *,
    model: str,
    image: Images,
    out: Out,
    label: Path | None = None,
    device: Device = "auto",
    collection: Collection = (),
) -> None:
    """Segment one NIfTI volume and write prediction.nii.gz.

    Parameters
    ----------
    model
        Name of a model, NAME/coarse for one stage, or a path: a MONAI bundle, a results folder of nnU-Net, a card
        (docs/models.md).
    label
        NIfTI label on the same grid; with it the DSC is shown.
    """
    from robust3d.foundation.allocator import keep_freed_memory
    from robust3d.foundation.collections import Collections
    from robust3d.foundation.files import make_folder
    from robust3d.metrics.counts import foreground_dsc
    from robust3d.segment.placed import placed
    from robust3d.volume.nifti import read_volume, save_label
    from robust3d.zoo.load import load_model

    keep_freed_memory()
    pipeline = load_model(model, device=device, collections=Collections.open(collection))
    case = read_volume(image, label, classes=range(pipeline.classes))
    path = make_folder(out) / "prediction.nii.gz"
    prediction = placed(pipeline, case).predict(case.image)
    save_label(prediction.mask, case, path)
    console = Console(highlight=False)
    if case.label is not None:
        score = 100 * foreground_dsc(prediction.mask, case.label, pipeline.classes)
        console.print(f"DSC {score:.2f} % (mean over foreground classes)")
    console.print(f"saved {path}", markup=False)
