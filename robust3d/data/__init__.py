# SPDX-License-Identifier: Apache-2.0
"""Datasets: named cases, generated or read from folders, and their splits."""
