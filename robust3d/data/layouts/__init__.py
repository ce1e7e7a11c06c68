# SPDX-License-Identifier: Apache-2.0
"""Layouts: how labelled cases lie in a folder; one file a layout."""
