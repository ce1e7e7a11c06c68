# SPDX-License-Identifier: Apache-2.0
"""Write nnunet.npz with nnunetv2 itself (2.8.1): run ``python -m tests.zoo.golden.make_nnunet`` where it is installed.

Weights of windows, starts, resampled and preprocessed volumes are what its own functions return. Its logits are sums in
half precision, so they are summed anew here, in double precision, over its own windows, weights and mirror images.
Masks are its own of both.
"""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape
from torch.nn.functional import pad

from tests.zoo.nnunet_cases import CASES, RESAMPLINGS, WINDOWS, file_of

FILE = Path(__file__).with_name("nnunet.npz")


def fused(predictor: nnUNetPredictor, data: torch.Tensor) -> np.ndarray:
    """The mean logits of all folds, as theirs but for the precision of the sums."""
    patch = predictor.configuration_manager.patch_size
    missing = [max(0, size - length) for size, length in zip(patch, data.shape[1:], strict=True)]
    pads = [half for one in reversed(missing) for half in (one // 2, one - one // 2)]
    padded = pad(data, pads)
    gaussian = compute_gaussian(tuple(patch), 1 / 8, 10, device=torch.device("cpu")).double()
    total = torch.zeros(predictor.label_manager.num_segmentation_heads, *padded.shape[1:], dtype=torch.float64)
    weights = torch.zeros(padded.shape[1:], dtype=torch.float64)
    for parameters in predictor.list_of_parameters:
        predictor.network.load_state_dict(parameters)
        predictor.network.eval()
        for place in predictor._internal_get_sliding_window_slicers(padded.shape[1:]):
            output = predictor._internal_maybe_mirror_and_predict(padded[place][None])[0].double()
            total[place] += output * gaussian
            weights[place[1:]] += gaussian
    inner = tuple(slice(one // 2, one // 2 + length) for one, length in zip(missing, data.shape[1:], strict=True))
    return (total / weights)[(slice(None), *inner)].float().numpy()


@torch.inference_mode()
def predicted(folder: Path, file: Path) -> dict[str, np.ndarray]:
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), use_folds=None)
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    managers = (predictor.plans_manager, predictor.configuration_manager)
    data, _, properties = preprocessor.run_case([str(file)], None, *managers, predictor.dataset_json)
    tensor = torch.from_numpy(data)
    summed = fused(predictor, tensor)
    halves = predictor.predict_logits_from_preprocessed_data(tensor)
    masks = {"mask": torch.from_numpy(summed), "mask of halves": halves}
    writer, arrays = predictor.plans_manager.image_reader_writer_class(), {"data": data[0], "logits": summed}
    for name, logits in masks.items():
        mask = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, *managers, predictor.label_manager, properties, num_threads_torch=1
        )
        written = file.with_name(f"mask_{file.name}")
        writer.write_seg(mask, str(written), properties)
        arrays[name] = np.asarray(nib.load(written).dataobj).astype(np.uint8)
    return arrays


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for window in WINDOWS:
        arrays[f"gaussian {window}"] = compute_gaussian(window, 1 / 8, 10, device=torch.device("cpu")).numpy()
    for length in range(16, 120):
        arrays[f"starts {length}"] = np.array(compute_steps_for_sliding_window((length,), (16,), 0.5)[0])
    for name, (image, current, new, order) in RESAMPLINGS.items():
        shape = compute_new_shape(image.shape, current, new)
        resampled = resample_data_or_seg_to_shape(
            image[None], shape, current, new, is_seg=False, order=order, order_z=0, force_separate_z=None
        )
        arrays[f"resampled {name}"] = resampled[0].astype(np.float32)
    with tempfile.TemporaryDirectory() as root:
        for name, one in CASES.items():
            folder = one.write(Path(root) / name)
            file = file_of(one, Path(root) / f"{name}.nii.gz")
            arrays |= {f"{name} {key}": value for key, value in predicted(folder, file).items()}
            arrays[f"{name} image"] = np.asarray(nib.load(file).dataobj).astype(np.int16)
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
