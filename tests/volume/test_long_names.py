# SPDX-License-Identifier: Apache-2.0
"""A file name longer than the system allows is a sentence, not an error of the system."""

import pytest

from robust3d.foundation.errors import InputError
from robust3d.volume.nifti_file import open_file


def test_a_name_that_is_too_long_is_told(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be looked up: File name too long"):
        open_file(tmp_path / f"{300 * '9'}.nii")
