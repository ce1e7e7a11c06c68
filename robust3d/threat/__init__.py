# SPDX-License-Identifier: Apache-2.0
"""Threat models: which perturbations count, in which unit, and the check that a volume keeps to them."""
