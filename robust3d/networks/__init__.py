# SPDX-License-Identifier: Apache-2.0
"""Networks that map a batch of windows ``(B, 1, d, h, w)`` to logits ``(B, K, d, h, w)``."""
