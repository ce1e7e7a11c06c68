# SPDX-License-Identifier: Apache-2.0
"""Adversaries of training, an algorithm a file; ``recipe.py`` lists them for cards."""
