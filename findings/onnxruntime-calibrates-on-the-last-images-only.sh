#!/usr/bin/env bash
# onnxruntime 1.32.0, quantize_static with the extra option CalibMaxIntermediateOutputs: "it will load at max value
# number of outputs before computing and merging the range. This will produce the same result as all computing with
# None, but is more memory efficient". When that number is reached, the outputs are thrown away, and no range is
# computed from them. Only the images after the last full load are used: 250 % 100 = 50 of 250.
#
# Seen: a small network, 250 random calibration images. None: the integer network has the float network's first class
# for 98 % of 5,000 test images. 249: 70 %, and the scale of the input is half as large, as None has it from the last
# image alone. 100: another network too, that of the last 50 images. 50, a divisor of 250: "No data is collected". No
# warning.
# Expected: the same network each time.
# It matters because who sets it has many images, and a folder per class means that the last images are of one class.
# Leave it at None, and calibrate on fewer images instead.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, quantize_static

described = " ".join(inspect.getdoc(quantize_static).split())
assert "This will produce the same result as all computing with None, but is more memory efficient." in described
draw = np.random.default_rng(0)
weights = {"first": draw.normal(size=(20, 64)), "second": draw.normal(size=(64, 10))}
graph = helper.make_graph(
    [
        helper.make_node("MatMul", ["images", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["logits"]),
    ],
    "net",
    [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 20])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
    [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "net.onnx")
calibration, test = (draw.normal(size=(number, 20)).astype(np.float32) for number in (250, 5000))


class Reader(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter(np.split(images, len(images)))

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def predict(file):
    return InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"images": test})[0]


truth = predict("net.onnx").argmax(1)


def quantized(at_most, images=calibration):
    quantize_static("net.onnx", "integer.onnx", Reader(images), extra_options={"CalibMaxIntermediateOutputs": at_most})
    logits = predict("integer.onnx")
    values = {value.name: numpy_helper.to_array(value) for value in onnx.load("integer.onnx").graph.initializer}
    same, scale = (logits.argmax(1) == truth).mean(), float(values["images_scale"])
    print(f"{at_most} of {len(images)}: same first class for {same:.3f}, input scale {scale:.4f}")
    return logits, same, scale


everything, same, scale = quantized(None)
assert same > 0.97
assert np.array_equal(quantized(251)[0], everything)
for at_most in (100, 249):
    found, found_same, found_scale = quantized(at_most)
    last = quantized(None, calibration[-(250 % at_most) :])[0]
    assert np.array_equal(found, last) and not np.array_equal(found, everything)
assert found_same < 0.85 and found_scale < 0.7 * scale
try:
    quantized(50)
except ValueError as error:
    print("50:", error)
    assert "No data is collected" in str(error)
else:
    raise AssertionError("50 of 250 gives a network")
P
echo "as described: of 250 images, the last 50, or the last one, are used"
