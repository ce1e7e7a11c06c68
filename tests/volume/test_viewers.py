# SPDX-License-Identifier: Apache-2.0
"""What robust3d saves, opened by SimpleITK (which ITK-SNAP and 3D Slicer place volumes by) beside nibabel."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

import robust3d as r3
from robust3d.benchmarks.single import attack_file
from robust3d.volume.nifti import read_volume

# Voxel axes to posterior, left and inferior, 3.9 x 3.9 x 2.5 mm, as the CTs of OpenKBP lie; and a tilted variant.
PLI = np.array([[0, -3.9, 0, 140.0], [-3.9, 0, 0, 95.5], [0, 0, -2.5, 30.25], [0, 0, 0, 1]])
TURN = np.deg2rad(12)
TILT = np.array([[1, 0, 0, 0], [0, np.cos(TURN), -np.sin(TURN), 0], [0, np.sin(TURN), np.cos(TURN), 0], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1.0, 1.0])
POINTS = [(0, 0, 0), (19, 0, 0), (0, 16, 0), (0, 0, 13), (19, 16, 13), (7, 11, 5)]


@pytest.fixture(params=[(PLI, (1, 1)), (PLI, (0, 2)), (TILT @ PLI, (1, 2))], ids=["pli", "pli-sform", "tilted"])
def attacked(request, tmp_path):
    """An attack on a CT in PLI orientation, stored as int16, with a slope and an intercept."""
    affine, codes = request.param
    random = np.random.default_rng(2)
    label = np.zeros((20, 17, 14), np.uint8)
    label[6:14, 5:12, 4:10] = 1
    image = np.rint(random.normal(30, 25, label.shape) + 70 * label).astype(np.int16)
    for name, array in (("ct", image), ("seg", label)):
        file = nib.Nifti1Image(array, affine, dtype=array.dtype)
        file.header.set_qform(affine, code=codes[0])
        file.header.set_sform(affine, code=codes[1])
        if name == "ct":
            file.header.set_slope_inter(1, -4)
        file.to_filename(tmp_path / f"{name}.nii.gz")

    def bright(windows):
        return 4 * (windows[:, :1] - 0.5) * windows.new_tensor([-1, 1]).view(1, 2, 1, 1, 1)

    settings = {"window": 16, "grid": r3.overlap(0.5), "intensity": r3.unit_window(-100, 240)}
    model = r3.Segmenter.from_network(bright, **settings, weights_sha256=64 * "0")
    case = read_volume(tmp_path / "ct.nii.gz", label=tmp_path / "seg.nii.gz")
    threat = r3.ThreatModel(norm="linf", epsilon=30, unit="HU", valid=(-100, 240))
    attack = r3.load_attack("fgsm-exact")
    result = attack_file(model, case, attack, threat, seed=0, out=tmp_path / "out")
    return tmp_path, result.figures, codes


def test_physical_positions_are_those_of_the_original_in_both_libraries(attacked) -> None:
    folder, _, codes = attacked
    original = nib.load(folder / "ct.nii.gz")
    assert nib.aff2axcodes(original.affine) == ("P", "L", "I")
    for name in ("adversarial", "prediction_clean", "prediction_adversarial"):
        path = folder / "out" / f"{name}.nii.gz"
        saved, opened = nib.load(path), SimpleITK.ReadImage(str(path))
        assert (saved.header["qform_code"], saved.header["sform_code"]) == codes
        assert nib.aff2axcodes(saved.affine) == ("P", "L", "I")
        assert opened.GetSize() == original.shape
        np.testing.assert_allclose(opened.GetSpacing(), (3.9, 3.9, 2.5), rtol=1e-6)
        before = SimpleITK.ReadImage(str(folder / "ct.nii.gz"))
        for point in POINTS:
            world = nib.affines.apply_affine(original.affine, point)
            np.testing.assert_allclose(nib.affines.apply_affine(saved.affine, point), world, atol=1e-4)
            # ITK counts to the left and the back where NIfTI counts to the right and the front.
            np.testing.assert_allclose(opened.TransformIndexToPhysicalPoint(point), LPS @ world, atol=1e-3)
            np.testing.assert_allclose(
                opened.TransformIndexToPhysicalPoint(point), before.TransformIndexToPhysicalPoint(point), atol=1e-5
            )


def test_types_are_kept_and_the_reported_figures_follow_from_the_files(attacked) -> None:
    folder, figures, _ = attacked
    stored = {name: SimpleITK.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("ct", "seg")}
    stored |= {
        name: SimpleITK.ReadImage(str(folder / "out" / f"{name}.nii.gz"))
        for name in ("adversarial", "prediction_clean", "prediction_adversarial")
    }
    assert nib.load(folder / "out" / "adversarial.nii.gz").get_data_dtype() == np.int16
    assert nib.load(folder / "out" / "prediction_adversarial.nii.gz").get_data_dtype() == np.uint8
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    truth = SimpleITK.Cast(stored["seg"], SimpleITK.sitkUInt8)
    for name, key in (("prediction_clean", "dsc_clean"), ("prediction_adversarial", "dsc_adversarial")):
        overlap.Execute(truth, SimpleITK.Cast(stored[name], SimpleITK.sitkUInt8))
        assert overlap.GetDiceCoefficient() == pytest.approx(figures[key], abs=1e-12)
    assert figures["dsc_clean"] > figures["dsc_adversarial"] + 0.05
    # Axes of an array of SimpleITK are the other way round.
    moved, clean = (SimpleITK.GetArrayFromImage(stored[name]).T.astype(float) for name in ("adversarial", "ct"))
    assert np.abs(moved - np.clip(clean, -100, 240)).max() == figures["linf"] == 30
