# SPDX-License-Identifier: Apache-2.0
"""The gate: whether results are worse than a baseline, by more than noise and by more than is tolerated."""
