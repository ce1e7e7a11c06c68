# SPDX-License-Identifier: Apache-2.0
"""Losses that an attack maximises: pure functions of logits and labels, mean over voxels."""
