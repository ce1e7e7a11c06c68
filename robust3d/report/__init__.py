# SPDX-License-Identifier: Apache-2.0
"""Leaderboards as files and on the console."""
