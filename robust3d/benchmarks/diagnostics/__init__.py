# SPDX-License-Identifier: Apache-2.0
"""Diagnostics that tell whether a robustness figure can be trusted."""
