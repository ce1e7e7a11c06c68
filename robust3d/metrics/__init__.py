# SPDX-License-Identifier: Apache-2.0
"""Counts, DSC and the statistics of leaderboards."""
