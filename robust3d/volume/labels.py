# SPDX-License-Identifier: Apache-2.0
"""Label values with a meaning of their own."""

from __future__ import annotations

IGNORE = 255
"""Voxels of this label count neither in a loss nor in a metric (annotators left them open)."""
