# SPDX-License-Identifier: Apache-2.0
"""Training recipes: natural and adversarial, from windows of cached cases to weights."""
