"""The operators of gotvm/testdata/relax, in groups, with what numpy or onnxruntime computes for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax, tirx

from relax_cases import Call, Case, Rows, Shape, case, const, function, op, run_onnx, script, variable
from testdata_numpy import normal, softmax

Emit = Callable[[Any], Any]


def group(
    inputs: Mapping[str, np.ndarray], results: Callable[..., Sequence[Any]], expected: Sequence[Any], **options: Any
) -> Case:
    """A case with one function: `results` makes the operators from the inputs' variables."""
    builder = relax.BlockBuilder()
    variables = [variable(name, array) for name, array in inputs.items()]

    def body(emit: Emit) -> Any:
        return emit(relax.Tuple([emit(result) for result in results(*variables)]))

    function(builder, "main", variables, body)
    return Case(builder.get(), [Call("main", list(inputs.values()), list(expected))], **options)


@case("ops_unary", versions="newest")
def unary(rng: np.random.Generator) -> Case:
    """Functions of one number, many from libm."""
    x = (rng.random(7) * 0.8 + 0.1).astype("float32")
    names = ("abs", "acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "log", "negative")
    names += ("round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc")
    own = {
        "erf": lambda a: run_onnx("Erf", a),
        "rsqrt": lambda a: 1 / np.sqrt(a),
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "acos": np.arccos,
        "asin": np.arcsin,
        "atan": np.arctan,
        "atanh": np.arctanh,
    }
    expected = [(own.get(name) or getattr(np, name))(x) for name in names]
    return group({"x": x}, lambda v: [getattr(op, name)(v) for name in names], expected, modes=["bytecode"])


@case("ops_reduce", versions="newest")
def reduce(rng: np.random.Generator) -> Case:
    """Reductions and scans."""
    x = normal(rng, 3, 4, 5)
    expected = [x.argmax(1), x.argmin(2, keepdims=True), x.cumsum(1), x.cumprod(0), x.max((0, 2)), x.mean((1, 2))]
    expected += [x.prod(2), x.std(1), np.log(softmax(x))]

    def results(v: Any) -> list[Any]:
        first = [op.argmax(v, 1), op.argmin(v, 2, True), op.cumsum(v, 1), op.cumprod(v, 0), op.max(v, [0, 2])]
        return [*first, op.mean(v, [1, 2]), op.prod(v, 2), op.std(v, 1), op.nn.log_softmax(v)]

    return group({"x": x}, results, expected)


@case("ops_sort")
def sort(rng: np.random.Generator) -> Case:
    """Sorting, which the runtime does."""
    x = rng.permutation(24).reshape(4, 6).astype("float32")
    descending = np.argsort(-x, 1)
    expected = [np.sort(x, 1), -np.sort(-x, 0), np.argsort(x, 1).astype("int32"), descending.astype("int64")]
    expected += [[-np.sort(-x, 1)[:, :3], descending[:, :3].astype("int32")], np.sort(x, 0)[:2]]
    expected += [np.argsort(x, 0)[:2].astype("int64")]

    def results(v: Any) -> list[Any]:
        first = [op.sort(v, 1), op.sort(v, 0, True), op.argsort(v, 1), op.argsort(v, 1, True, "int64")]
        least = op.topk(v, 2, 0, "values", False), op.topk(v, 2, 0, "indices", False, "int64")
        return [*first, op.topk(v, 3, 1), *least]

    return group({"x": x}, results, expected)


@case("ops_nms", versions="newest")
def nms(rng: np.random.Generator) -> Case:
    """Non-maximum suppression as ONNX has it: a fixed number of rows, and how many of them count."""
    corners = rng.random((1, 10, 2)).astype("float32") * 4
    boxes = np.concatenate([corners, corners + 1 + rng.random((1, 10, 2)).astype("float32")], 2)
    scores = rng.permutation(20).reshape(1, 2, 10).astype("float32") / 20
    numbers = np.array([4]), np.array([0.3], "float32"), np.array([0.25], "float32")
    chosen = run_onnx("NonMaxSuppression", boxes, scores, *numbers)
    builder = relax.BlockBuilder()
    variables = [variable("boxes", boxes), variable("scores", scores)]
    limits = [const(array.reshape(())) for array in numbers]
    function(
        builder, "main", variables, lambda emit: emit(op.vision.all_class_non_max_suppression(*variables, *limits))
    )
    return Case(builder.get(), [Call("main", [boxes, scores], Rows(chosen.tolist()))])


@case("ops_gather", versions="newest")
def gather(rng: np.random.Generator) -> Case:
    """Reading and writing by index."""
    x, updates = normal(rng, 4, 5), normal(rng, 2, 5)
    rows, pairs = np.array([2, 0]), np.array([[1, 2], [3, 4], [0, 0]])
    elements, batched = rng.integers(0, 4, (2, 5)), np.array([[4], [0], [2], [2]])
    expected = [
        np.take_along_axis(x, elements, 0),
        x[pairs[:, 0], pairs[:, 1]],
        x[np.arange(4), batched[:, 0]],
        x[rows],
        x[:, rows],
        run_onnx("ScatterElements", x, elements, updates, axis=0, reduction="add"),
        run_onnx("ScatterND", x, rows[:, None], updates),
        run_onnx("ScatterND", x, rows[:, None], updates, reduction="add"),
        np.eye(5, dtype="float32")[rows],
        np.where(x > 0, x, 0),
    ]

    def results(v: Any, u: Any) -> list[Any]:
        e, p, r, b = (const(array) for array in (elements, pairs, rows, batched))
        column = const(rows[:, None])
        zero = const(np.float32(0))
        return [
            op.gather_elements(v, e, 0),
            op.gather_nd(v, p),
            op.gather_nd(v, b, 1),
            op.take(v, r, 0),
            op.take(v, r, 1),
            op.scatter_elements(v, e, u, 0, "add"),
            op.scatter_nd(v, column, u),
            op.scatter_nd(v, column, u, "add"),
            op.one_hot(r, one(1.0), one(0.0), 5),
            op.where(op.greater(v, zero), v, zero),
        ]

    return group({"x": x, "updates": updates}, results, expected, modes=["bytecode"])


def one(value: float) -> Any:
    """A float32 number, not a tensor."""
    return relax.prim_value(tirx.FloatImm("float32", value))


@case("ops_image", versions="newest")
def image(rng: np.random.Generator) -> Case:
    """Resizing and pooling of regions."""
    x = normal(rng, 1, 2, 5, 6)
    rois = np.array([[0, 0.5, 0.5, 4.0, 3.5], [0, 1.0, 0.0, 5.0, 4.0]], "float32")
    grid = (rng.random((1, 3, 4, 2)) * 2 - 1).astype("float32")
    sizes = np.array([1, 2, 8, 9])
    none = np.array([], "float32")

    def resized(mode: str, transformation: str, **more: Any) -> np.ndarray:
        return run_onnx(
            "Resize", x, none, none, sizes, mode=mode, coordinate_transformation_mode=transformation, **more
        )

    expected = [
        resized("linear", "half_pixel"),
        resized("linear", "align_corners"),
        resized("nearest", "asymmetric", nearest_mode="floor"),
        resized("cubic", "half_pixel"),
        run_onnx(
            "RoiAlign",
            x,
            rois[:, 1:].copy(),
            np.zeros(2, "int64"),
            output_height=2,
            output_width=2,
            sampling_ratio=2,
            coordinate_transformation_mode="output_half_pixel",
        ),
        run_onnx("GridSample", x, grid, opset=16, mode="bilinear", align_corners=1),
    ]

    def results(v: Any, r: Any, g: Any) -> list[Any]:
        def resize(method: str, mode: str, rounding: str = "round") -> Any:
            return op.image.resize2d(
                v, (8, 9), layout="NCHW", method=method, coordinate_transformation_mode=mode, rounding_method=rounding
            )

        pairs = op.permute_dims(g, (0, 3, 1, 2))
        return [
            resize("linear", "half_pixel"),
            resize("linear", "align_corners"),
            resize("nearest_neighbor", "asymmetric", "floor"),
            resize("cubic", "half_pixel"),
            op.vision.roi_align(v, r, (2, 2), 1.0, 2),
            op.image.grid_sample(v, pairs, align_corners=True),
        ]

    return group({"x": x, "rois": rois, "grid": grid}, results, expected, modes=["bytecode"])


@case("ops_linear", versions="newest")
def linear(rng: np.random.Generator) -> Case:
    """Products."""
    a, b, c = normal(rng, 2, 3, 4), normal(rng, 2, 4, 5), normal(rng, 4)
    query = normal(rng, 1, 3, 2, 4)
    scores = np.einsum("bqhd,bkhd->bhqk", query, query) / 2
    expected = [
        np.einsum("bij,bjk->bik", a, b),
        np.einsum("bij,j->i", a, c),
        a @ c,
        np.outer(c, c),
        a @ b[:1],
        np.einsum("bhqk,bkhd->bqhd", softmax(scores), query),
    ]

    def results(x: Any, y: Any, z: Any, q: Any) -> list[Any]:
        products = [op.einsum((x, y), "bij,bjk->bik"), op.einsum((x, z), "bij,j->i"), op.matmul(x, z), op.outer(z, z)]
        first = op.strided_slice(y, axes=[0], begin=[0], end=[1])
        return [*products, op.matmul(x, first), op.nn.attention(q, q, q)]

    return group({"a": a, "b": b, "c": c, "query": query}, results, expected, modes=["bytecode"])


@case("ops_quantize", versions="newest")
def quantize(rng: np.random.Generator) -> Case:
    """To eight bits and back, for a tensor and for channels; a product of integers."""
    x, weight = normal(rng, 3, 4), rng.integers(-128, 128, (4, 2)).astype("int8")
    scale, zero = np.float32(0.05), np.int8(3)
    scales, zeros = np.array([0.02, 0.04, 0.06, 0.08], "float32"), np.array([0, 5, -5, 9], "int8")
    whole = run_onnx("QuantizeLinear", x, np.array(scale), np.array(zero))
    channels = run_onnx("QuantizeLinear", x, scales, zeros, axis=1)
    unsigned = run_onnx("QuantizeLinear", x, np.array(scale), np.array(np.uint8(128)))
    expected = [
        whole,
        channels,
        unsigned,
        (whole.astype("float32") - 3) * scale,
        (channels.astype("float32") - zeros) * scales,
    ]
    expected += [whole.astype("int32") @ weight.astype("int32")]

    def results(v: Any, w: Any) -> list[Any]:
        s, z, ss, zz = (const(value) for value in (scale, zero, scales, zeros))
        q, c = op.quantize(v, s, z, axis=1, out_dtype="int8"), op.quantize(v, ss, zz, axis=1, out_dtype="int8")
        u = op.quantize(v, s, const(np.uint8(128)), axis=1, out_dtype="uint8")
        return [
            q,
            c,
            u,
            op.dequantize(q, s, z, axis=1),
            op.dequantize(c, ss, zz, axis=1),
            op.matmul(q, w, out_dtype="int32"),
        ]

    return group({"x": x, "weight": weight}, results, expected, modes=["bytecode"])


@case("ops_half", versions="newest")
def half(rng: np.random.Generator) -> Case:
    """float16."""
    a, b = rng.standard_normal((3, 4)).astype("float16"), rng.standard_normal((4, 2)).astype("float16")
    wide = a.astype("float32")
    expected = [a + a, np.exp(wide).astype("float16"), wide, (wide / 3).astype("float16")]
    expected += [(wide @ b.astype("float32")).astype("float16")]

    def results(x: Any, y: Any) -> list[Any]:
        third = op.divide(op.astype(x, "float32"), const(np.float32(3)))
        return [op.add(x, x), op.exp(x), op.astype(x, "float32"), op.astype(third, "float16"), op.matmul(x, y)]

    return group({"a": a, "b": b}, results, expected, rtol=5e-3, atol=5e-3)


@case("ops_bool")
def booleans(rng: np.random.Generator) -> Case:
    """bool as input, output and between."""
    a, b = rng.random((2, 3)) < 0.5, rng.random((2, 3)) < 0.5
    x = normal(rng, 2, 3)
    expected = [a & b, a | b, ~a, a ^ b, x < 0, np.where(a, x, -x), a.astype("float32"), x.astype("bool")]

    def results(p: Any, q: Any, v: Any) -> list[Any]:
        zero = const(np.float32(0))
        logic = [op.logical_and(p, q), op.logical_or(p, q), op.logical_not(p), op.logical_xor(p, q), op.less(v, zero)]
        return [*logic, op.where(p, v, op.negative(v)), op.astype(p, "float32"), op.astype(v, "bool")]

    return group({"a": a, "b": b, "x": x}, results, expected)


@case("ops_types", versions="newest")
def types(rng: np.random.Generator) -> Case:
    """All other element types, and operations on integers."""
    names = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64")
    inputs = {name: rng.integers(1, 50, 3).astype(name) for name in names}
    n, m = inputs["int32"], np.array([3, 5, 7], "int32")
    expected = [array + array for array in inputs.values()]
    expected += [n & m, n << np.array([1, 2, 3], "int32"), n // m, n % m]

    def results(*variables: Any) -> list[Any]:
        v, w = variables[2], const(m)
        integers = [op.bitwise_and(v, w), op.left_shift(v, const(np.array([1, 2, 3], "int32")))]
        return [*(op.add(x, x) for x in variables), *integers, op.floor_divide(v, w), op.floor_mod(v, w)]

    return group(inputs, results, expected, modes=["bytecode"])


@case("ops_conv", versions="newest")
def convolutions(rng: np.random.Generator) -> Case:
    """Convolutions of other kinds than in `cnn`, and pooling."""
    x, weight = normal(rng, 1, 4, 6, 6), normal(rng, 4, 2, 3, 3)
    line, narrow = normal(rng, 1, 2, 9), normal(rng, 3, 2, 3)
    expected = [
        run_onnx("ConvTranspose", x, weight, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
        run_onnx("Conv", x, weight, group=2, dilations=[2, 2], pads=[2] * 4),
        run_onnx("Conv", line, narrow, strides=[2], pads=[1, 1]),
        run_onnx("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1),
    ]

    def results(v: Any, u: Any) -> list[Any]:
        w, n = const(weight), const(narrow)
        transposed = op.nn.conv2d_transpose(v, w, strides=(2, 2), padding=(1, 1), output_padding=(1, 1))
        pooled = op.nn.avg_pool2d(v, (3, 3), (2, 2), (1, 1, 1, 1), count_include_pad=True)
        dilated = op.nn.conv2d(v, w, padding=(2, 2), dilation=(2, 2), groups=2)
        return [transposed, dilated, op.nn.conv1d(u, n, strides=2, padding=1), pooled]

    return group({"x": x, "line": line}, results, expected, modes=["bytecode"])


@case("ops_layout", versions="newest")
def layout(rng: np.random.Generator) -> Case:
    """Moving elements."""
    x, y = normal(rng, 2, 3, 4), normal(rng, 2, 2, 4)
    expected = [
        np.concatenate([x, y], 1),
        [x[:, :1], x[:, 1:]],
        list(np.split(x, 2, 2)),
        x[:, ::-2, 1:3],
        np.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=0.5),
        np.tile(x, (1, 2, 1)),
        np.repeat(x, 2, 0),
        np.flip(x, 2),
        np.stack([x, x], 1),
        x.transpose(2, 0, 1),
        np.broadcast_to(x[:, None], (2, 2, 3, 4)),
        np.tril(x),
        x.reshape(6, 4),
    ]

    def results(v: Any, w: Any) -> list[Any]:
        slices = op.strided_slice(v, axes=[1, 2], begin=[2, 1], end=[-4, 3], strides=[-2, 1])
        spread = op.broadcast_to(op.expand_dims(v, 1), (2, 2, 3, 4))
        first = [op.concat([v, w], 1), op.split(v, [1], 1), op.split(v, 2, 2), slices]
        second = [op.nn.pad(v, [0, 0, 1, 2, 0, 1], pad_value=0.5), op.tile(v, [1, 2, 1]), op.repeat(v, 2, 0)]
        third = [op.flip(v, 2), op.stack([v, v], 1), op.permute_dims(v, (2, 0, 1)), spread, op.tril(v)]
        return [*first, *second, *third, op.reshape(v, (6, 4))]

    return group({"x": x, "y": y}, results, expected, modes=["bytecode"])


@case("dynamic")
def dynamic(rng: np.random.Generator) -> Case:
    """Shapes that are computed, passed in, returned, and checked."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def joined(x: R.Tensor(("n", "m"), "float32"), y: R.Tensor(("k", "m"), "float32")):
        n = T.int64()
        m = T.int64()
        k = T.int64()
        z = R.concat((x, y), axis=0)
        flat = R.reshape(z, ((n + k) * m,))
        shape = R.shape_of(z)
        half = R.strided_slice(x, axes=[0], begin=[0], end=[n // 2])
        return (flat, shape, half)

    @R.function
    def filled(size: R.Shape(["n", 2])):
        n = T.int64()
        y = R.full((n, 2, n + 1), R.const(1.5, "float32"), "float32")
        return y

    @R.function
    def any_rank(x: R.Tensor(dtype="float32", ndim=2)):
        n = T.int64()
        m = T.int64()
        y = R.match_cast(x, R.Tensor((n, m), "float32"))
        z = R.reshape(y, (m, n))
        return z

    @R.function
    def by_tensor(x: R.Tensor((6,), "float32"), wanted: R.Tensor((2,), "int64")):
        shape: R.Shape(ndim=2) = R.tensor_to_shape(wanted)
        n = T.int64()
        m = T.int64()
        known = R.match_cast(shape, R.Shape([n, m]))
        y = R.reshape(x, (n, m))
        return y

    @R.function
    def doubled(size: R.Shape(["n"])):
        n = T.int64()
        y = R.full((n * 2,), R.const(2.5, "float32"), "float32")
        return y

    @R.function
    def number(n: R.Prim("int64"), x: R.Tensor((2,), "float32")):
        y = R.add(x, x)
        return (n, y)

    @R.function
    def numbers(size: R.Shape(["n"])):
        n = T.int64()
        y = R.arange(0, n, 1, "int64")
        return y

    @R.function
    def slice_by_tensor(
        x: R.Tensor((5, 6), "float32"), begin: R.Tensor((2,), "int64"),
        end: R.Tensor((2,), "int64"), step: R.Tensor((2,), "int64"),
    ):
        y = R.dynamic_strided_slice(x, begin, end, step)
        return y
""")
    x, y = normal(rng, 3, 4), normal(rng, 2, 4)
    z, six, table = np.concatenate([x, y]), normal(rng, 6), normal(rng, 5, 6)
    begin, end, step = np.array([1, 0]), np.array([5, 6]), np.array([2, 3])
    calls = [
        Call("joined", [x, y], [z.ravel(), Shape(z.shape), x[:1]]),
        Call("filled", [Shape((3, 2))], np.full((3, 2, 4), 1.5, "float32")),
        Call("any_rank", [x], x.reshape(4, 3)),
        Call("any_rank", [y], y.reshape(4, 2)),
        Call("by_tensor", [six, np.array([3, 2])], six.reshape(3, 2)),
        Call("doubled", [Shape((3,))], np.full(6, 2.5, "float32")),
        Call("number", [9, six[:2]], [9, six[:2] * 2]),
        Call("numbers", [Shape((5,))], np.arange(5)),
        Call("slice_by_tensor", [table, begin, end, step], table[1:5:2, 0:6:3]),
    ]
    return Case(module, calls)


@case("views", versions="newest")
def views(rng: np.random.Generator) -> Case:
    """A view into a tensor, with an offset; and a copy to a device that is the same one."""
    module = script("""
@I.ir_module
class Module:
    I.module_global_infos({"vdevice": [I.vdevice("llvm")]})

    @R.function
    def main(x: R.Tensor((4, 3), "float32")):
        rows = R.memory.view(x, R.shape([2, 3]), R.dtype("float32"), R.prim_value(24))
        aligned = R.memory.ensure_zero_offset(rows)
        y = R.add(aligned, aligned)
        bits = R.memory.view(x, R.shape([12]), R.dtype("int32"), R.prim_value(0))
        z = R.add(bits, R.const(1, "int32"))
        return (y, z)

    @R.function
    def placed(x: R.Tensor((4, 3), "float32", "llvm")):
        y = R.to_vdevice(x, "llvm")
        z = R.add(y, y)
        return z
""")
    x = normal(rng, 4, 3)
    calls = [Call("main", [x], [x[2:] * 2, x.view("int32").ravel() + 1]), Call("placed", [x], x + x)]
    return Case(module, calls)


@case("python_only", versions="newest")
def python_only(rng: np.random.Generator) -> Case:
    """Needs functions that only TVM's Python package has."""
    x, builder = rng.integers(0, 3, 6), relax.BlockBuilder()
    data = variable("x", x)
    function(builder, "main", [data], lambda emit: [emit(op.unique(data)), emit(op.nonzero(data))])
    return Case(builder.get(), [], modes=["bytecode"], runs=False)
