# SPDX-License-Identifier: Apache-2.0
"""The deployed pipeline as a function of the raw volume: intensity, windows, network, fusion, cascade."""
