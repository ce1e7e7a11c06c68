# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: models x attacks x cases, one stored cell each, and the leaderboard made of them."""
