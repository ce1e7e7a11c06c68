# SPDX-License-Identifier: Apache-2.0
"""The public leaderboard for people: a page, a Markdown file and a console table."""
