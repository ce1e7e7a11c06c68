# SPDX-License-Identifier: Apache-2.0
"""The HTML report: pages, figures and a volume viewer in one folder that opens offline."""
