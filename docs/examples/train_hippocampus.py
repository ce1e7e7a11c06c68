# SPDX-License-Identifier: Apache-2.0
"""Train a small UNet of MONAI on Task04 Hippocampus and save it as a MONAI bundle, in about a minute on one core.

python docs/examples/train_hippocampus.py TASK04_FOLDER BUNDLE_FOLDER [ITERATIONS]
"""

import hashlib
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    RandSpatialCropd,
    SpatialPadd,
)
from safetensors.torch import save_file

NETWORK = {"channels": [8, 16, 32, 64], "strides": [2, 2, 2], "num_res_units": 1, "norm": "batch"}
WINDOW = [32, 32, 32]
SPLIT = Path(__file__).parents[2] / "benchmarks" / "splits" / "hippocampus.json"

CONFIG = {
    "image_key": "image",
    "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, **NETWORK},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "@image_key"},
            {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
            {"_target_": "NormalizeIntensityd", "keys": "@image_key"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": WINDOW, "sw_batch_size": 4, "overlap": 0.25},
}
ABOUT = {
    "version": "1",
    "monai_version": "1.6.1",
    "description": "UNet for the anterior and posterior hippocampus in T1 MR crops; trained to be attacked",
    "copyright": "Weights: CC BY-SA 4.0, from Task04 of the Medical Segmentation Decathlon (arXiv:1902.09063)",
}


def load(root: Path, names: list[str]) -> list[dict]:
    """Return normalised images, padded to a window, and their labels, shape (1, D1, D2, D3)."""
    read = Compose(
        [
            LoadImaged(["image", "label"]),
            EnsureChannelFirstd(["image", "label"]),
            NormalizeIntensityd("image"),
            SpatialPadd(["image", "label"], WINDOW),
        ]
    )
    return [read({"image": root / f"imagesTr/{one}.nii.gz", "label": root / f"labelsTr/{one}.nii.gz"}) for one in names]


def train(network: UNet, cases: list[dict], iterations: int) -> None:
    """Minimise cross entropy plus soft Dice over random windows, four cases a step."""
    crop = RandSpatialCropd(["image", "label"], WINDOW, random_size=False)
    crop.set_random_state(seed=0)
    order = np.random.default_rng(0)
    loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=iterations)
    for iteration in range(1, iterations + 1):
        batch = [crop(cases[index]) for index in order.choice(len(cases), 4, replace=False)]
        image, label = (torch.stack([one[key].as_tensor() for one in batch]) for key in ("image", "label"))
        value = loss(network(image), label)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        if iteration % 50 == 0:
            print(f"iteration {iteration} of {iterations}: loss {value.item():.3f}", flush=True)


def validate(network: UNet, root: Path, names: list[str]) -> list[float]:
    """Return the mean DSC of each class in percent, predicted by MONAI's own inferer."""
    inferer = SlidingWindowInferer(WINDOW, sw_batch_size=4, overlap=0.25)
    scores = []
    for name in names:
        label = np.asanyarray(nib.load(root / f"labelsTr/{name}.nii.gz").dataobj)
        image = np.asanyarray(nib.load(root / f"imagesTr/{name}.nii.gz").dataobj).astype(np.float32)
        scaled = torch.from_numpy((image - image.mean()) / image.std())
        with torch.no_grad():
            mask = inferer(scaled[None, None], network)[0].argmax(0).numpy()
        scores.append(
            [2 * ((mask == k) & (label == k)).sum() / ((mask == k).sum() + (label == k).sum()) for k in (1, 2)]
        )
    return [round(100 * float(score), 2) for score in np.mean(scores, axis=0)]


def save(network: UNet, folder: Path, validation: list[float]) -> None:
    """Write the bundle: configs/inference.json, configs/metadata.json, models/model.safetensors and its SHA-256."""
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    weights = folder / "models" / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
    (folder / "models" / "SHA256SUMS").write_text(
        f"{hashlib.sha256(weights.read_bytes()).hexdigest()}  model.safetensors\n"
    )
    about = ABOUT | {"validation_dsc_percent": dict(zip(("anterior", "posterior"), validation, strict=True))}
    (folder / "configs" / "metadata.json").write_text(json.dumps(about, indent=2) + "\n")
    (folder / "configs" / "inference.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


if __name__ == "__main__":
    data, bundle = Path(sys.argv[1]), Path(sys.argv[2])
    split = json.loads(SPLIT.read_text())
    torch.manual_seed(0)
    unet = UNet(spatial_dims=3, in_channels=1, out_channels=3, **NETWORK)
    train(unet.train(), load(data, split["train"]), int(sys.argv[3]) if len(sys.argv) > 3 else 300)
    found = validate(unet.eval(), data, split["validation"])
    print(f"validation DSC in percent, anterior and posterior: {found}")
    save(unet, bundle, found)
