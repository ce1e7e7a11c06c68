# SPDX-License-Identifier: Apache-2.0
"""Models of other tools: one file a format, all read into a network and how it is deployed."""
