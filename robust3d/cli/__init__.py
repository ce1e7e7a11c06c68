# SPDX-License-Identifier: Apache-2.0
"""The command line: thin commands, each a function of one file."""
