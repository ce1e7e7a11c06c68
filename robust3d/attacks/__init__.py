# SPDX-License-Identifier: Apache-2.0
"""Attacks: maximise a loss of a pipeline within a threat model; they know nothing about windows."""
