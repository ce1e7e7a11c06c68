# SPDX-License-Identifier: Apache-2.0
"""One case: a volume in its own unit with its label and geometry, read from and saved to NIfTI."""
