# SPDX-License-Identifier: Apache-2.0
"""Speed and memory as ratios, each measured in one run: ``python -m tests.speed`` (see docs/speed.md)."""
