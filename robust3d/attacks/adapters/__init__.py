# SPDX-License-Identifier: Apache-2.0
"""Attacks of other libraries on whole volumes: those that are right there, and a reason for each of the others."""
