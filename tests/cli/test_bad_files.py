# SPDX-License-Identifier: Apache-2.0
"""Files and folders that cannot be used, each by its command: one sentence, exit code 2, little memory."""

import csv
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from robust3d.cli.app import main
from tests.conftest import BENCHMARK
from tests.trust.test_sizes import huge_nifti
from tests.zoo.foreign import unet, write_bundle

SHAPE = (18, 17, 16)
MEMORY = 300_000
"""Kibibytes that a refusal may take beyond what was in use; nothing here is larger than some kilobytes."""


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(-200, 300, SHAPE).astype(np.int16)


def save(array: np.ndarray, path: Path, *, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array, np.diag([spacing, 1, 1, 1]), dtype=array.dtype).to_filename(path)
    return path


def truth(values: int = 2) -> np.ndarray:
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) % values).astype(np.uint8)


def attack(folder: Path) -> list[object]:
    """The command for the pair of files in a folder."""
    files = ["--image", folder / "ct.nii.gz", "--label", folder / "seg.nii.gz"]
    settings = ["--attack", "fgsm", "--epsilon", "10.2", "--device", "cpu"]
    return ["attack", "--model", "tiny", *files, *settings, "--out", folder / "out"]


def run(folder: Path) -> list[object]:
    """The command for the folder of cases in a folder."""
    card = folder / "own.toml"
    text = BENCHMARK.replace("tiny-bench", "own").replace('source = "phantom"', 'source = "folder"')
    card.write_text("\n".join(line for line in text.splitlines() if not line.startswith(("cases", "shape", "spacing"))))
    return ["run", card, "--data", folder / "data", "--device", "cpu", "--out", folder / "out"]


def one(folder: Path, array: np.ndarray) -> list[object]:
    save(array, folder / "ct.nii.gz")
    save(truth(), folder / "seg.nii.gz")
    return attack(folder)


def pairs(folder: Path, *, names: tuple[str, ...] = ("a", "b")) -> Path:
    for name in names:
        save(image(), folder / "data" / "images" / f"{name}.nii.gz")
        save(truth(), folder / "data" / "labels" / f"{name}.nii.gz")
    return folder / "data"


def mixed_shapes(folder: Path) -> list[object]:
    save(truth()[1:], pairs(folder) / "labels" / "b.nii.gz")
    return run(folder)


def mixed_spacing(folder: Path) -> list[object]:
    save(truth(), pairs(folder) / "labels" / "b.nii.gz", spacing=2)
    return run(folder)


def missing_label(folder: Path) -> list[object]:
    (pairs(folder) / "labels" / "b.nii.gz").unlink()
    return run(folder)


def missing_label_file(folder: Path) -> list[object]:
    save(image(), folder / "ct.nii.gz")
    return attack(folder)


def unknown_value(folder: Path) -> list[object]:
    save(image(), folder / "ct.nii.gz")
    save(truth(4), folder / "seg.nii.gz")
    return attack(folder)


def unknown_value_of_a_folder(folder: Path) -> list[object]:
    root = folder / "data"
    save(image(), root / "imagesTr" / "a_0000.nii.gz")
    save(truth(4), root / "labelsTr" / "a.nii.gz")
    (root / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, "numTraining": 1,'
        ' "file_ending": ".nii.gz"}'
    )
    return run(folder)


def channels(folder: Path) -> list[object]:
    return one(folder, np.stack([image(), image()], axis=-1))


def flat(folder: Path) -> list[object]:
    return one(folder, image()[..., 0])


def colours(folder: Path) -> list[object]:
    return one(folder, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def imaginary(folder: Path) -> list[object]:
    return one(folder, image().astype(np.complex64))


def not_a_number(folder: Path) -> list[object]:
    values = image().astype(np.float64)
    values[3, 4, 5] = np.nan
    return one(folder, values)


def cut(folder: Path) -> list[object]:
    command = one(folder, image())
    path = folder / "ct.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return command


def huge(folder: Path) -> list[object]:
    command = one(folder, image())
    (folder / "ct.nii.gz").write_bytes(huge_nifti(nib.Nifti1Image, True))
    return command


def empty(folder: Path) -> list[object]:
    (folder / "data").mkdir()
    return run(folder)


def duplicates(folder: Path) -> list[object]:
    root = pairs(folder)
    with (root / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("image", "label", "case")]
            + [(f"images/{name}.nii.gz", f"labels/{name}.nii.gz", "same") for name in ("a", "b")]
        )
    return run(folder)


def long_name(folder: Path) -> list[object]:
    root = pairs(folder)
    with (root / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label"), (f"images/{300 * '9'}.nii.gz", "labels/a.nii.gz")])
    return run(folder)


def read_only(folder: Path) -> list[object]:
    # No permission of a file holds back the administrator, whom tests may run as; this file system refuses everybody.
    return [*one(folder, image())[:-1], "/proc/robust3d"]


def link_out(folder: Path) -> list[object]:
    root = pairs(folder)
    outside = save(image(), folder / "elsewhere" / "b.nii.gz")
    (root / "images" / "b.nii.gz").unlink()
    (root / "images" / "b.nii.gz").symlink_to(outside)
    return run(folder)


def other_architecture(folder: Path) -> list[object]:
    command = one(folder, image())
    bundle = write_bundle(folder / "bundle", unet(), '"channels": [8, 16]', '"channels": [8, 12]')
    command[command.index("tiny")] = bundle
    return command


def other_layers(folder: Path) -> list[object]:
    command = one(folder, image())
    bundle = write_bundle(folder / "bundle", torch.nn.Conv3d(1, 2, 3))
    command[command.index("tiny")] = bundle
    return command


def pickled(folder: Path) -> list[object]:
    command = one(folder, image())
    bundle = write_bundle(folder / "bundle", unet())
    torch.save(unet(), bundle / "models" / "model.pt")
    command[command.index("tiny")] = bundle
    return command


CASES: list[tuple[Callable[[Path], list[object]], str]] = [
    (mixed_shapes, "shape (18, 17, 16) of image"),
    (mixed_spacing, "spacing (1, 1, 1) mm of image"),
    (missing_label, "case b has no label"),
    (missing_label_file, "seg.nii.gz does not exist"),
    (unknown_value, "holds class 2; expected 0, 1"),
    (unknown_value_of_a_folder, "every cell failed, the first: tiny, clean, a; the reasons are in"),
    (channels, "the model takes 1 channel and case"),
    (flat, "has shape (18, 17); a volume has three axes"),
    (colours, "it must hold real numbers"),
    (imaginary, "holds complex64 values; it must hold real numbers"),
    (not_a_number, "holds 1 NaN or infinite voxels of 4896"),
    (cut, "is truncated or damaged"),
    (huge, "its header claims 102400000000 bytes"),
    (empty, "has none of the known layouts"),
    (duplicates, "two cases are called same"),
    (long_name, "File name too long"),
    (read_only, "cannot write to the output folder /proc/robust3d"),
    (link_out, "leads out of"),
    (other_architecture, "has shape"),
    (other_layers, "model.pt"),
    (pickled, "save the weights alone"),
]


def call(monkeypatch, tiny_zoo: Path, command: list[object]) -> int:
    monkeypatch.setattr(sys, "argv", ["robust3d", *map(str, command), "--collection", str(tiny_zoo)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(("prepare", "message"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_refused_in_one_sentence(tiny_zoo, tmp_path, monkeypatch, capfd, prepare, message) -> None:
    command = prepare(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert call(monkeypatch, tiny_zoo, command) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    out, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (out, len(errors)) == ("", 1)
    assert message in errors[0]
    assert "Traceback" not in err


def test_names_beyond_ascii_are_no_mistake(tiny_zoo, tmp_path, monkeypatch, capfd) -> None:
    folder = tmp_path / "Käse und 肝臓"
    folder.mkdir()
    assert call(monkeypatch, tiny_zoo, one(folder, image())) == 0
    assert nib.load(folder / "out" / "adversarial.nii.gz").shape == SHAPE
    capfd.readouterr()
