# SPDX-License-Identifier: Apache-2.0
"""``python -m robust3d``."""

from robust3d.cli.app import main

main()
