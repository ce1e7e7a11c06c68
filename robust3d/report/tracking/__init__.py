# SPDX-License-Identifier: Apache-2.0
"""Experiment trackers behind one protocol; each is imported only when it is asked for."""
