# SPDX-License-Identifier: Apache-2.0
"""What every floor stands on: errors, atomic files, content hashes, cards and their collections."""
