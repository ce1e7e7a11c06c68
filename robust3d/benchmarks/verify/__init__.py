# SPDX-License-Identifier: Apache-2.0
"""Whether a finished run is what it says: cells, weights, data and a sample computed anew."""
