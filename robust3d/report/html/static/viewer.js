// SPDX-License-Identifier: Apache-2.0
// Shows the layers of a case in NiiVue; the volumes come as text in window.robust3dLayers.
"use strict";

(async () => {
  const layers = window.robust3dLayers;
  const control = (id) => document.getElementById(id);
  const status = control("status");
  if (!document.createElement("canvas").getContext("webgl2")) {
    status.textContent = "This browser has no WebGL 2, which the viewer needs; the pictures above need none.";
    return;
  }
  const { Niivue, NVImage, SHOW_RENDER } = window.niivue;
  const viewer = new Niivue({
    logLevel: "error",
    dragAndDropEnabled: false,
    backColor: [0, 0, 0, 1],
    show3Dcrosshair: true,
    crosshairWidth: 0.5,
    crosshairWidthUnit: "mm",
    // As CT is read, and as in the pictures: the patient's right is on the left.
    isRadiologicalConvention: true,
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
  });
  window.robust3dViewer = viewer;
  await viewer.attachToCanvas(control("canvas"));
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  viewer.setMultiplanarPadPixels(4);

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // Bytes of an uncompressed NIfTI file.
  async function inflate(text) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  // Values of a NIfTI file in its own unit.
  function values(buffer, Kind) {
    const header = new DataView(buffer);
    const slope = header.getFloat32(112, true) || 1;
    const inter = header.getFloat32(116, true) || 0;
    return Float32Array.from(new Kind(buffer.slice(header.getFloat32(108, true))), (one) => slope * one + inter);
  }

  // The clean image plus a perturbation, as a float32 NIfTI file.
  async function perturbed(clean, perturbation) {
    const [first, second] = await Promise.all([inflate(clean), inflate(perturbation)]);
    const image = values(first, Int16Array);
    const change = values(second, Int8Array);
    const header = first.slice(0, new DataView(first).getFloat32(108, true));
    const fields = new DataView(header);
    fields.setInt16(70, 16, true); // datatype: float32
    fields.setInt16(72, 32, true); // bits a voxel
    fields.setFloat32(112, 1, true);
    fields.setFloat32(116, 0, true);
    return new Blob([header, image.map((one, index) => one + change[index])]).arrayBuffer();
  }

  const load = (url, name, options) => NVImage.loadFromUrl({ url, name: `${name}.nii`, colorbarVisible: false, ...options });
  const mask = async (text, name, colormap, opacity) =>
    load(await inflate(text), name, { colormap, opacity, cal_min: 0.5, cal_max: 1 });

  // The volumes that the controls ask for, the image first.
  async function chosen() {
    const [model, attack] = [control("model").value, control("image").value];
    const opacity = Number(control("opacity").value);
    const attacked = attack && layers.attacks[model][attack];
    const [low, high] = layers.window;
    const image = attacked ? await perturbed(layers.clean, attacked.perturbation) : await inflate(layers.clean);
    const volumes = [await load(image, "image", { colormap: "gray", cal_min: low, cal_max: high })];
    if (control("truth").checked) volumes.push(await mask(layers.truth, "truth", "red", opacity));
    const before = layers.predictions[model];
    const prediction = attacked ? attacked.prediction : before;
    if (control("prediction").checked && prediction) volumes.push(await mask(prediction, "prediction", "green", opacity));
    if (control("before").checked && before) volumes.push(await mask(before, "before", "blue", opacity));
    if (control("perturbation").checked && attacked && attacked.largest > 0) {
      const limits = { cal_min: 0.1 * attacked.largest, cal_max: attacked.largest };
      const negative = { cal_minNeg: -limits.cal_max, cal_maxNeg: -limits.cal_min };
      const url = await inflate(attacked.perturbation);
      volumes.push(await load(url, "perturbation", { colormap: "warm", colormapNegative: "winter", opacity, ...limits, ...negative }));
    }
    return volumes;
  }

  // Only the last of several requests is shown, and one at a time.
  let requests = 0;
  async function show() {
    const request = ++requests;
    const volumes = await chosen();
    if (request !== requests) return;
    for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
    for (const volume of volumes) viewer.addVolume(volume);
    viewer.updateGLVolume();
    status.textContent = `Shown: ${volumes.map((volume) => volume.name.replace(/\.nii$/, "")).join(", ")}.`;
    status.dataset.layers = String(viewer.volumes.length);
  }

  // An attack that was not run on the chosen model cannot be shown.
  function offer() {
    const known = layers.attacks[control("model").value] || {};
    for (const option of control("image").options) option.disabled = option.value !== "" && !(option.value in known);
    if (control("image").selectedOptions[0].disabled) control("image").value = "";
    control("perturbation").disabled = control("image").value === "";
  }

  control("layers").addEventListener("submit", (event) => event.preventDefault());
  control("layers").addEventListener("change", () => {
    offer();
    show();
  });
  offer();
  await show();
})().catch((error) => {
  document.getElementById("status").textContent = `The viewer cannot start: ${error.message}`;
  throw error;
});
