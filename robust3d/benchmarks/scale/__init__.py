# SPDX-License-Identifier: Apache-2.0
"""Runs that are shared by processes, machines and the jobs of a cluster."""
