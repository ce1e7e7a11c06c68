# SPDX-License-Identifier: Apache-2.0
"""What all pages share: template, style, sortable tables."""
