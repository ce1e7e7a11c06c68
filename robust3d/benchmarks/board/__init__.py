# SPDX-License-Identifier: Apache-2.0
"""The public leaderboard: entries that anyone can add by pull request, their checks, and the merged board."""
