# SPDX-License-Identifier: Apache-2.0
"""Phantoms written as the archive of NIH Pancreas-CT holds them, by pydicom, which the reader does not use."""

from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ARCHIVE = "manifest-1599750808610/Pancreas-CT"
"""Where the NBIA Data Retriever puts the patients."""
ORIGIN = (-120.0, -90.0, -40.0)
"""Position of the first voxel in LPS mm."""
SPACING = (0.8, 0.7, 1.5)
"""Columns, rows and slices, mm."""


def write_case(root: Path, number: int, image: np.ndarray, label: np.ndarray, *, archive: str = ARCHIVE) -> None:
    """Write arrays of axes columns, rows, slices (L, P, S); image in whole HU."""
    folder = root / archive / f"PANCREAS_{number:04d}" / "study" / "series"
    folder.mkdir(parents=True)
    series, study = generate_uid(), generate_uid()
    for index in range(image.shape[2]):
        # Files and instance numbers run the other way round than positions, which alone must count.
        write_slice(folder / f"1-{image.shape[2] - index:03d}.dcm", image[..., index].T, index, series, study)
    # The header of a label there tells nothing of its place.
    truth = nib.Nifti1Image(label.astype(np.uint8), np.eye(4))
    (root / "TCIA_pancreas_labels-02-05-2017").mkdir(exist_ok=True)
    nib.save(truth, root / "TCIA_pancreas_labels-02-05-2017" / f"label{number:04d}.nii.gz")


def write_slice(path: Path, rows: np.ndarray, index: int, series: str, study: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    slice_ = Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.SeriesInstanceUID, slice_.StudyInstanceUID, slice_.Modality = series, study, "CT"
    slice_.InstanceNumber = 1000 - index
    slice_.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + SPACING[2] * index]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing, slice_.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    slice_.Rows, slice_.Columns = rows.shape
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 0
    slice_.RescaleIntercept, slice_.RescaleSlope = -1024, 1
    slice_.PixelData = (rows.astype(np.int32) + 1024).astype("<u2").tobytes()
    slice_.save_as(path, enforce_file_format=True)
