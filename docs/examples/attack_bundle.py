# SPDX-License-Identifier: Apache-2.0
"""A MONAI bundle under two attacks on one MR case, in ten lines of Python.

One command does the same: robust3d run docs/examples/hippocampus-bundle.toml --data DATA/Task04_Hippocampus --out OUT
"""

import os

import robust3d as r3
from robust3d.data.folder import FolderDataset

cases = FolderDataset.open(os.environ["ROBUST3D_DATA"] + "/Task04_Hippocampus", rescale=True)
model = r3.load_model("docs/examples/hippocampus-unet", device="cpu")
threat = r3.ThreatModel(norm="linf", epsilon=3.0, unit="% of range")
case = cases.load("hippocampus_093")
found = {"clean": r3.foreground_dsc(model.predict(case.image).mask, case.label, model.classes)}
for name in ("ifgsm-relative", "sea3d-fast"):
    adversarial = r3.load_attack(name)(model, case, threat, seed=0).volume
    found[name] = r3.foreground_dsc(model.predict(adversarial.image).mask, case.label, model.classes)
    adversarial.save(f"{case.name}_{name}.nii.gz")
print({name: f"DSC {100 * dsc:.2f} %" for name, dsc in found.items()})
