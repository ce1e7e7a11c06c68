# SPDX-License-Identifier: Apache-2.0
"""Sphinx: the pages of this folder and the API reference, ``sphinx-build -W docs docs/_build``."""

from importlib import metadata

project = "robust3d"
author = "The robust3d developers"
version = release = metadata.version("robust3d")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples/hippocampus-unet"]
html_theme = "furo"
html_title = "robust3d"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
