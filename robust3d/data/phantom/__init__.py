# SPDX-License-Identifier: Apache-2.0
"""A procedural abdominal CT with a pancreas label, generated from a seed with numpy and scipy only."""

from robust3d.data.phantom.phantom import Phantom, generate_phantom

__all__ = ["Phantom", "generate_phantom"]
