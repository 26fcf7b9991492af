"""The models of gotvm/testdata/models that call functions of the runtime: sorting, detection, products."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relay

from testdata_models import Case, case, variables
from testdata_numpy import normal


@case("sort")
def sort(rng: np.random.Generator) -> Case:
    """Sorting along several axes, of values with many ties and zeros of both signs: tvm.contrib.sort.{argsort,sort}."""
    inputs = {"x": np.round(normal(rng, 3, 20, 2) * 2), "half": normal(rng, 2, 40).astype("float16")}
    x, half = arguments = variables(inputs)
    data, halves = inputs.values()
    body = relay.Tuple(
        [
            relay.argsort(x, axis=1, is_ascend=True, dtype="int32"),
            relay.argsort(x, axis=1, is_ascend=False, dtype="int64"),
            relay.argsort(half, axis=-1, is_ascend=True, dtype="float32"),
            relay.sort(x, axis=0, is_ascend=False),
            relay.sort(half, axis=1, is_ascend=True),
        ]
    )
    z = [
        np.argsort(data, axis=1, kind="stable"),
        np.argsort(-data, axis=1, kind="stable"),
        np.argsort(halves, axis=1, kind="stable"),
        -np.sort(-data, axis=0),
        np.sort(halves, axis=1),
    ]
    return Case(arguments, body, inputs, {}, z, rtol=0, atol=0)


@case("topk")
def topk(rng: np.random.Generator) -> Case:
    """The largest and smallest values and where they are, with ties: tvm.contrib.sort.topk."""
    inputs = {"x": np.round(normal(rng, 4, 300) * 20), "image": rng.integers(0, 256, (2, 16, 5)).astype("uint8")}
    x, image = arguments = variables(inputs)
    data, pixels = inputs.values()
    both = relay.topk(x, k=5, axis=1, ret_type="both", is_ascend=False, dtype="int64")
    values = relay.topk(x, k=60, axis=-1, ret_type="values", is_ascend=True)
    indices = relay.topk(image, k=0, axis=1, ret_type="indices", is_ascend=False, dtype="int32")
    order = np.argsort(-data, axis=1, kind="stable")[:, :5]
    z = [
        np.take_along_axis(data, order, 1),
        order,
        np.sort(data, axis=1)[:, :60],
        np.argsort(-pixels.astype("int32"), axis=1, kind="stable"),
    ]
    return Case(arguments, relay.Tuple([both[0], both[1], values, indices]), inputs, {}, z, rtol=0, atol=0)


def boxes_numpy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Boxes as two corners, many of which overlap."""
    corner = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 0.3, (*shape, 2))], axis=-1)


def scored_boxes(rng: np.random.Generator) -> np.ndarray:
    """Two pictures' boxes: class, score, corners."""
    boxes = boxes_numpy(rng, 2, 24)
    scores = np.round(rng.uniform(0, 1, (2, 24, 1)), 1)
    return np.concatenate([rng.integers(0, 3, (2, 24, 1)), scores, boxes], axis=2).astype("float32")


@case("nms")
def nms(rng: np.random.Generator) -> Case:
    """Non-maximum suppression of overlapping boxes: tvm.contrib.sort.argsort_nms."""
    data = scored_boxes(rng)
    (x,) = arguments = variables({"boxes": data})
    valid = relay.vision.get_valid_counts(x, score_threshold=0.15)
    body = relay.vision.non_max_suppression(
        valid[1],
        valid[0],
        valid[2],
        max_output_size=-1,
        iou_threshold=0.4,
        force_suppress=False,
        top_k=20,
        return_indices=False,
    )
    return Case(arguments, body, {"boxes": data}, rtol=0, atol=0)


@case("nms_indices")
def nms_indices(rng: np.random.Generator) -> Case:
    """The same, but which boxes stay, and how many of each picture."""
    data = scored_boxes(rng)
    (x,) = arguments = variables({"boxes": data})
    valid = relay.vision.get_valid_counts(x, score_threshold=0.15)
    body = relay.vision.non_max_suppression(
        valid[1], valid[0], valid[2], max_output_size=-1, iou_threshold=0.4, top_k=20, return_indices=True
    )
    return Case(arguments, relay.Tuple([body[0], body[1]]), {"boxes": data}, rtol=0, atol=0)


@case("all_class_nms")
def all_class_nms(rng: np.random.Generator) -> Case:
    """Non-maximum suppression for each class, as ONNX has it: tvm.contrib.sort.argsort. The rows behind the last are
    not defined, and cleared here."""
    scores = np.round(rng.uniform(0, 1, (2, 3, 20)), 2).astype("float32")
    inputs = {"boxes": boxes_numpy(rng, 2, 20).astype("float32"), "scores": scores}
    x, s = arguments = variables(inputs)
    found = relay.vision.all_class_non_max_suppression(x, s, 8, 0.4, 0.2)
    row = relay.const(np.arange(2 * 3 * 20).reshape(-1, 1), "int64")
    rows = relay.where(relay.less(row, found[1]), found[0], relay.const(-1, "int64"))
    return Case(arguments, relay.Tuple([rows, found[1]]), inputs, rtol=0, atol=0)


def product_numpy(a: Any, b: Any, c: Any, transpose_a: int, transpose_b: int) -> None:
    """c = a b on stacks of matrices: the compilers' binaries have no BLAS."""
    x, y = a.numpy(), b.numpy()
    c.copyfrom(np.matmul(np.swapaxes(x, -1, -2) if transpose_a else x, np.swapaxes(y, -1, -2) if transpose_b else y))


@case("cblas")
def cblas(rng: np.random.Generator) -> Case:
    """Products by a BLAS library: tvm.contrib.cblas.{matmul,batch_matmul}."""
    for function in ("matmul", "batch_matmul"):
        tvm.register_func(f"tvm.contrib.cblas.{function}", product_numpy, override=True)
    inputs = {"x": normal(rng, 6, 32), "stack": normal(rng, 4, 5, 16)}
    weights = {"w": normal(rng, 24, 32, scale=0.2), "w64": rng.standard_normal((9, 24)), "b": normal(rng, 1, 7, 16)}
    x, stack, w, w64, b = arguments = variables({**inputs, **weights})
    y = relay.nn.relu(relay.nn.dense(x, w))
    body = relay.Tuple([y, relay.nn.dense(relay.cast(y, "float64"), w64), relay.nn.batch_matmul(stack, b)])
    z = np.maximum(inputs["x"] @ weights["w"].T, 0)
    expected = [z, z @ weights["w64"].T, inputs["stack"] @ weights["b"].transpose(0, 2, 1)]
    return Case(arguments, body, inputs, weights, expected, options="-libs=cblas")
