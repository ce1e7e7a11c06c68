# SPDX-License-Identifier: Apache-2.0
"""Why each other attack of torchattacks 3.5 and ART 1.20 is refused: found by running it on volumes and label maps.

Most fail with an obscure message; the dangerous ones run, and report a robustness that is not there.
"""

from __future__ import annotations

_OWN = "use algorithm = 'gradient_ascent', such as the card 'pgd'"
_MOMENTUM = (
    "it scales the momentum by a mean over all axes but the last, so each sagittal plane has a scale of its own and "
    "one without gradient turns to NaN and is never attacked again; use the card 'art-mim', or algorithm = "
    "'gradient_ascent' with update = 'momentum'"
)
_LOOK_AHEAD = (
    "it adds to the look-ahead volume a momentum that is NaN in planes without gradient, so the attack collapses and "
    "the model looks robust; use algorithm = 'gradient_ascent' with update = 'nesterov'"
)
_ONE_LABEL = f"it knows one label an image, not a label map; {_OWN}"
_ONE_HOT_LAST = (
    "its one-hot labels have the classes on the last axis, where a volume has voxels; use algorithm = "
    "'gradient_ascent' with loss = 'margin'"
)
_IMAGE = f"it works on the rows and columns of two-dimensional images; {_OWN}"
_RESIZED = f"it resizes images in two dimensions, and does not resize a label map with them; {_OWN}"
_COPIES = f"its noisy copies have the axes of two-dimensional images with one label each; {_OWN}"

TORCHATTACKS: dict[str, str] = {
    "VANILA": "it returns the clean volume; use the card 'identity'",
    "GN": "its Gaussian noise keeps to no epsilon; use the card 'random-sign', the control",
    "MIFGSM": _MOMENTUM,
    "UPGD": _MOMENTUM,
    "VMIFGSM": _MOMENTUM,
    "NIFGSM": _LOOK_AHEAD,
    "SINIFGSM": _LOOK_AHEAD,
    "VNIFGSM": _LOOK_AHEAD,
    "CW": _ONE_HOT_LAST,
    "EADL1": _ONE_HOT_LAST,
    "EADEN": _ONE_HOT_LAST,
    "APGD": _ONE_LABEL,
    "APGDT": _ONE_LABEL,
    "AutoAttack": _ONE_LABEL,
    "FAB": _ONE_LABEL,
    "Square": _ONE_LABEL,
    "SPSA": _ONE_LABEL,
    "JSMA": _ONE_LABEL,
    "DeepFool": _ONE_LABEL,
    "SparseFool": _ONE_LABEL,
    "DIFGSM": _RESIZED,
    "TIFGSM": _RESIZED,
    "PIFGSM": "its kernels are for two-dimensional images of three channels; " + _OWN,
    "PIFGSMPP": "its kernels are for two-dimensional images of three channels; " + _OWN,
    "Jitter": "it takes the length of a volume's last axis for the number of classes; " + _OWN,
    "PGDRS": _COPIES,
    "PGDRSL2": _COPIES,
    "OnePixel": _IMAGE,
    "Pixle": _IMAGE,
    "MultiAttack": (
        "it copies the volume once for each voxel that is still right; name several attacks in a benchmark, which "
        "reports the worst case"
    ),
    "LGV": "it trains the network further, and an attack must leave the model as it is; " + _OWN,
}
"""Reason and alternative, by class of ``torchattacks``."""

_CLASSIFIER = f"it needs a classifier with one label an image, and ART rejects label maps; {_OWN}"
_PATCH = "it makes a visible patch or texture, which no epsilon bounds; " + _OWN
_DETECTOR = f"it is for object detectors; {_OWN}"
_AUDIO = f"it is for speech recognition; {_OWN}"
_GUIDE = f"it imitates the features of a second volume, and does not aim at a label map; {_OWN}"
_SAME_PGD = "ART chooses the implementation; use attack = 'ProjectedGradientDescent'"
_MODEL_KIND = f"it is for another kind of model than a network; {_OWN}"

_CLASSIFIERS = """
    AutoAttack AutoConjugateGradient AutoProjectedGradientDescent BoundaryAttack BrendelBethgeAttack CarliniL0Method
    CarliniL2Method CarliniLInfMethod CompositeAdversarialAttackPyTorch DeepFool ElasticNet FrameSaliencyAttack GeoDA
    HopSkipJump LowProFool NewtonFool OverTheAirFlickeringPyTorch PixelAttack RescalingAutoConjugateGradient
    SaliencyMapMethod ShadowAttack SignOPTAttack SimBA TargetedUniversalPerturbation ThresholdAttack
    UniversalPerturbation VirtualAdversarialMethod Wasserstein ZooAttack
"""

ART: dict[str, str] = {
    **dict.fromkeys(_CLASSIFIERS.split(), _CLASSIFIER),
    "AdversarialPatch": _PATCH,
    "AdversarialPatchNumpy": _PATCH,
    "AdversarialPatchPyTorch": _PATCH,
    "AdversarialPatchTensorFlowV2": _PATCH,
    "AdversarialTexturePyTorch": _PATCH,
    "GRAPHITEBlackbox": _PATCH,
    "GRAPHITEWhiteboxPyTorch": _PATCH,
    "LaserAttack": _PATCH,
    "DPatch": _DETECTOR,
    "RobustDPatch": _DETECTOR,
    "OverloadPyTorch": _DETECTOR,
    "SNAL": _DETECTOR,
    "CarliniWagnerASR": _AUDIO,
    "ImperceptibleASR": _AUDIO,
    "ImperceptibleASRPyTorch": _AUDIO,
    "MalwareGDTensorFlow": _MODEL_KIND,
    "DecisionTreeAttack": _MODEL_KIND,
    "HighConfidenceLowUncertainty": _MODEL_KIND,
    "FeatureAdversariesNumpy": _GUIDE,
    "FeatureAdversariesPyTorch": _GUIDE,
    "FeatureAdversariesTensorFlowV2": _GUIDE,
    "ProjectedGradientDescentNumpy": _SAME_PGD,
    "ProjectedGradientDescentPyTorch": _SAME_PGD,
    "ProjectedGradientDescentTensorFlowV2": _SAME_PGD,
    "SpatialTransformation": f"it rotates and moves two-dimensional images, and not the label map with them; {_OWN}",
    "SquareAttack": f"its squares are two-dimensional and reach through the whole depth of a volume; {_OWN}",
}
"""Reason and alternative, by class of ``art.attacks.evasion``."""
