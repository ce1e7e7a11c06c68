# SPDX-License-Identifier: Apache-2.0
"""Attack your own MONAI model in ten lines. Here it is untrained and the case a phantom; put yours in their place."""

from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet

import robust3d as r3
from robust3d.data.phantoms import PhantomDataset

network = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=[8, 16], strides=[2])
inferer = SlidingWindowInferer(roi_size=[32, 32, 32], overlap=0.25, mode="gaussian")
model = r3.from_monai(network.eval(), inferer, intensity=r3.unit_window(-100, 240))
# Yours: case = r3.read_volume("ct.nii.gz", label="seg.nii.gz")
case = PhantomDataset("test", 1, shape=(48, 40, 32), spacing=(6, 6, 8)).load("test_0000")
threat = r3.ThreatModel(norm="linf", epsilon=10.2, unit="HU", valid=(-100, 240))
adversarial = r3.load_attack("ifgsm-exact")(model, case, threat, seed=0)
adversarial.volume.save("adversarial.nii.gz")
for name, image in (("clean", case.image), ("adversarial", adversarial.volume.image)):
    print(f"{name}: DSC {100 * r3.dsc(model.predict(image).mask, case.label):.2f} %")
print(f"largest change: {adversarial.distance:.2f} HU")
