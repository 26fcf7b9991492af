"""What the compile scripts share: reading ONNX files, and the shapes of their inputs."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import onnx.shape_inference
from google.protobuf.message import DecodeError, EncodeError

from compile_messages import UserError, last_line, one_line

Shape = tuple[int, ...]


def read_onnx(path: Path) -> Any:
    """Read an ONNX file."""
    if not path.is_file():
        raise UserError(f"{path}: is a folder, not an ONNX file" if path.is_dir() else f"{path}: no such file")
    try:
        model = onnx.load(str(path))
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise UserError(f"{path}: not a readable ONNX model: {last_line(error)}") from error
    if not model.graph.node and not model.graph.output:
        raise UserError(f"{path}: not an ONNX model, or one without operators and outputs")
    return model


def fits_protobuf(model: Any) -> bool:
    """Whether a model has less than 2 GiB; functions of ONNX and onnxruntime take no larger one as a whole."""
    try:
        model.ByteSize()
    except EncodeError:
        return False
    return True


def warn_of_contradictions(model: Any) -> None:
    """Let ONNX check the shapes: TVM compiles some models whose shapes contradict each other without a word."""
    if not fits_protobuf(model):
        return
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        print(f"compile: warning: ONNX's own check finds: {last_line(error)}", flush=True)


def parse_shape(text: str, symbols: bool = False) -> tuple[str, Shape]:
    """Parse name=1,3,224,224; the name may itself hold an equals sign. With `symbols`, dimensions may be names."""
    name, separator, numbers = text.rpartition("=")
    parts = [part.strip() for part in numbers.split(",")] if numbers else []
    good = [(part.isdecimal() and int(part) > 0) or (symbols and part.isidentifier()) for part in parts]
    if not separator or not name or not all(good):
        kinds = "dimensions that are positive numbers" + (" or names for unknown ones" if symbols else "")
        raise UserError(f"--shape {text}: expected a name and {kinds}, as in --shape data=1,3,224,224")
    return name, tuple(int(part) if part.isdecimal() else part for part in parts)


def declared_shapes(model: Any) -> dict[str, list[int | str] | None]:
    """The inputs that are not weights; unknown dimensions are their symbol, or "?", and unknown shapes None."""
    weights = {tensor.name for tensor in model.graph.initializer}
    shapes: dict[str, list[int | str] | None] = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        if not value.type.HasField("tensor_type"):
            raise UserError(f"input {value.name} is not a tensor: sequences and maps cannot be compiled")
        tensor = value.type.tensor_type
        dims = [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim]
        shapes[value.name] = dims if tensor.HasField("shape") else None
    return shapes


def check_given(name: str, given: Shape, declared: Mapping[str, Sequence[int | str] | None]) -> None:
    """Refuse a --shape that does not fit the model."""
    if name not in declared:
        raise UserError(f"--shape {name}: the model has no such input; it has {', '.join(declared) or 'none'}")
    known = declared[name]
    if known is None:
        return
    if len(known) != len(given):
        raise UserError(f"--shape {name}: {len(given)} dimensions, but the model declares {show(known)}")
    if any(isinstance(dim, int) and dim != size for dim, size in zip(known, given, strict=True)):
        raise UserError(f"--shape {name}: {show(given)} does not fit {show(known)}, as the model declares it")


def input_shapes(model: Any, options: Sequence[str], symbols: bool = False) -> dict[str, Shape]:
    """The full shape of every input; a dimension given for one input holds for the others. See parse_shape."""
    declared = declared_shapes(model)
    given = dict(parse_shape(option, symbols) for option in options)
    known: dict[str, Any] = {}
    for name, shape in given.items():
        check_given(name, shape, declared)
        pairs = zip(declared[name] or (), shape, strict=False)  # nothing, where no shape is declared
        known.update({dim: size for dim, size in pairs if isinstance(dim, str) and dim != "?"})
    shapes: dict[str, Shape] = {}
    for name, dims in declared.items():
        if name in given:
            shapes[name] = given[name]
            continue
        if dims is None:
            raise UserError(f"input {name} has no declared shape: give it, as in {shape_option(name, '1,3,224,224')}")
        full = [known.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]
        if any(isinstance(dim, str) and dim not in known.values() for dim in full):
            numbers = ",".join(str(dim) if isinstance(dim, int) else "1" for dim in full)
            hint = f"give them, as in {shape_option(name, numbers)}"
            if symbols:
                names = ",".join(
                    str(dim) if isinstance(dim, int) or dim.isidentifier() else f"n{i}" for i, dim in enumerate(full)
                )
                hint += f", or names to leave them unknown, as in {shape_option(name, names)}"
            raise UserError(f"input {name} has unknown dimensions {show(dims)}: {hint}")
        shapes[name] = tuple(full)
    return shapes


def shape_option(name: str, dims: str) -> str:
    """The option as one types it into a shell."""
    return f"--shape {shlex.quote(f'{name}={dims}')}"


def import_error(error: Exception) -> UserError:
    """An error of TVM's importer in one line, with the ONNX operator that it was at, where that is known."""
    # Both importers go through the graph with a variable of that name.
    found = [frame.f_locals.get("node") for frame, _ in traceback.walk_tb(error.__traceback__)]
    nodes = [node for node in found if isinstance(node, onnx.NodeProto)]
    if not nodes:
        return UserError(f"cannot import the model: {one_line(error)}")
    node = nodes[-1]
    text = one_line(error)
    if isinstance(error, KeyError) and str(error.args[0]) in node.input:
        text = f"nothing in the model makes its input {error.args[0]}"
    return UserError(f"cannot import operator {node.op_type} ({node.name or ', '.join(node.output)}): {text}")


def show(shape: Sequence[int | str]) -> str:
    """A shape as text."""
    return "[" + ",".join(str(dim) for dim in shape) + "]"
