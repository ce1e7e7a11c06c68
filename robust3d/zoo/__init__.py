# SPDX-License-Identifier: Apache-2.0
"""Models: cards with weights, loaded as pipelines."""
