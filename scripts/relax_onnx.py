"""Brings ONNX models into Relax: fixes shapes and folds constants first, which TVM's importer needs for many models."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from compile_messages import UserError, last_line
from compile_onnx import Shape, fits_protobuf, import_error
from compile_temporary import temporary_folder


def fix_shapes(model: Any, shapes: Mapping[str, Shape]) -> None:
    """Write the shapes of the inputs into a model, and drop what it says about all other shapes."""
    for value in model.graph.input:
        if value.name in shapes:
            tensor = value.type.tensor_type
            del tensor.shape.dim[:]
            for size in shapes[value.name]:
                dim = tensor.shape.dim.add()
                if isinstance(size, int):
                    dim.dim_value = size
                else:
                    dim.dim_param = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def fold_constants(model: Any) -> Any:
    """The model with everything computed that depends on no input, by onnxruntime; no shapes are known afterwards."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with temporary_folder() as folder:
        options.optimized_model_filepath = str(folder / "folded.onnx")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            folded = onnx.load(options.optimized_model_filepath)
        except Exception as error:  # noqa: BLE001  its errors have no common base; TVM may take the model yet
            print(f"compile: warning: onnxruntime does not take the model: {last_line(error)}", flush=True)
            return model
    used = {node.domain for node in folded.graph.node}
    if not used <= {"", "ai.onnx.ml"}:
        print(f"compile: constants not folded: onnxruntime adds operators of {', '.join(sorted(used))}", flush=True)
        return model
    kept = [opset for opset in folded.opset_import if opset.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    return folded


def drop_empty_slices(model: Any) -> Any:
    """The model without slices that take everything, which keep TVM from changing layouts."""
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    results = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        before, after = shapes.get(node.input[0] if node.input else "", []), shapes.get(node.output[0], [])
        whole = before and before == after and all(before) and node.output[0] not in results
        if node.op_type == "Slice" and whole and not reverses(node, graph):
            renamed[node.output[0]] = node.input[0]
            continue
        kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def reverses(node: Any, graph: Any) -> bool:
    """Whether a slice may have a negative step."""
    if len(node.input) < 5:
        return False
    steps = [onnx.numpy_helper.to_array(x) for x in graph.initializer if x.name == node.input[4]]
    return not steps or bool((steps[0] < 0).any())


def number(bound: Any, unbounded: float) -> float | None:
    """A bound of Clip as a number; None if it is not known now."""
    if bound is None:
        return unbounded
    return float(bound.value.numpy()) if isinstance(bound, tvm.ir.GenericConst) else None


class Clip(onnx_frontend.OnnxOpConverter):
    """Clip as an operator of Relax; TVM's converter makes kernels, which stop the pass that changes layouts."""

    @classmethod
    def _impl_v1(cls, _builder: Any, inputs: Sequence[Any], attr: Mapping[str, Any], _params: Any) -> Any:
        return relax.op.clip(inputs[0], attr.get("min", -np.inf), attr.get("max", np.inf))

    @classmethod
    def _impl_v11(cls, builder: Any, inputs: Sequence[Any], attr: Mapping[str, Any], params: Any) -> Any:
        low, high = number(inputs[1], -np.inf), number(inputs[2], np.inf)
        if low is None or high is None or "float" not in str(inputs[0].ty.dtype) or np.isnan([low, high]).any():
            return onnx_frontend.Clip._impl_v13(builder, inputs, attr, params)
        return relax.op.clip(inputs[0], low, high)


def pairwise(base: type) -> type:
    """A converter of Max, Min or Sum that takes the inputs two by two; TVM's stacks them and reduces the stack."""

    class Pairwise(base):  # type: ignore[misc, valid-type]
        """The converter."""

        @classmethod
        def _impl_v1(cls, builder: Any, inputs: Sequence[Any], _attr: Mapping[str, Any], _params: Any) -> Any:
            return cls._impl_dynamic(builder, inputs)

    return Pairwise


def use_own_converters() -> None:
    """Put our converters into TVM's table."""
    original = onnx_frontend._get_convert_map

    def table() -> dict[str, Any]:
        known = original()
        return {**known, "Clip": Clip, **{name: pairwise(known[name]) for name in ("Max", "Min", "Sum")}}

    onnx_frontend._get_convert_map = table


def import_model(model: Any) -> Any:
    """Translate ONNX to Relax."""
    use_own_converters()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what the error says again, at length
            return onnx_frontend.from_onnx(model, sanitize_input_names=False)
    except NotImplementedError as error:
        raise UserError(f"TVM's importer lacks something: {last_line(error)}") from error
    except Exception as error:
        raise import_error(error) from error


def load(model: Any, shapes: Mapping[str, Shape]) -> Any:
    """An ONNX model, with these shapes, as a Relax module."""
    fix_shapes(model, shapes)
    if fits_protobuf(model):
        model = drop_empty_slices(fold_constants(model))
    else:
        print("compile: warning: the model has over 2 GiB: constants are not folded", flush=True)
    try:
        return import_model(model)
    except UserError as error:
        if all(isinstance(size, int) for shape in shapes.values() for size in shape):
            raise
        raise UserError(f"{error}; it may work with numbers for all dimensions in --shape") from error
