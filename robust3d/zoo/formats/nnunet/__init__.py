# SPDX-License-Identifier: Apache-2.0
"""Results folders of nnU-Net v2: plans, labels and checkpoints read as data into a network and its grid."""
