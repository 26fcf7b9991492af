"""The models of gotvm/testdata/models: small Relay programs, their inputs, and numpy references where those are easy.

Every function marked with `@case(name)` gets a seeded random generator and returns a Case. All of them
run under both compilers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tvm
from numpy.lib.stride_tricks import sliding_window_view
from tvm import relay
from tvm.relay.backend import Executor

from testdata_numpy import normal, softmax


class Case(NamedTuple):
    """One model with the inputs to run it on."""

    arguments: Sequence[Any]
    body: Any
    inputs: Mapping[str, np.ndarray]
    params: Mapping[str, np.ndarray] = {}
    expected: Sequence[np.ndarray] | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    symbols: Sequence[str] = ()
    executor: Any = None
    options: str = ""  # of the target
    bits_of: str = ""  # the element type of all inputs, where numpy lacks it and the arrays hold its bits

    def dtype(self, array: np.ndarray) -> str:
        """The element type of an input."""
        return self.bits_of or array.dtype.name

    def tensors(self) -> dict[str, Any]:
        """The inputs as TVM tensors."""
        result = {name: tvm.nd.empty(array.shape, self.dtype(array)) for name, array in self.inputs.items()}
        for name, tensor in result.items():
            tensor.copyfrom(self.inputs[name])
        return result


CASES: dict[str, Callable[[np.random.Generator], Case]] = {}


def case(name: str) -> Callable[..., Any]:
    """Register a case."""

    def register(maker: Callable[[np.random.Generator], Case]) -> Callable[[np.random.Generator], Case]:
        CASES[name] = maker
        return maker

    return register


def variables(inputs: Mapping[str, np.ndarray]) -> list[Any]:
    """One Relay variable for each array, in order."""
    return [relay.var(name, shape=array.shape, dtype=array.dtype.name) for name, array in inputs.items()]


def conv2d_numpy(data: np.ndarray, weight: np.ndarray, pad: int = 0, stride: int = 1) -> np.ndarray:
    """Two-dimensional NCHW convolution."""
    padded = np.pad(data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, weight)


def max_pool_numpy(data: np.ndarray, size: int) -> np.ndarray:
    """Non-overlapping NCHW max pooling."""
    n, c, h, w = data.shape
    return data.reshape(n, c, h // size, size, w // size, size).max(axis=(3, 5))


def sigmoid_numpy(data: np.ndarray) -> np.ndarray:
    """Logistic function."""
    return 1 / (1 + np.exp(-data))


@case("conv")
def conv(rng: np.random.Generator) -> Case:
    """Convolution, batch normalisation, ReLU, pooling, classifier head."""
    data = normal(rng, 1, 3, 16, 16)
    weights = {
        "weight": normal(rng, 8, 3, 3, 3, scale=0.3),
        "gamma": rng.uniform(0.5, 1.5, 8).astype("float32"),
        "beta": normal(rng, 8, scale=0.1),
        "mean": normal(rng, 8, scale=0.1),
        "var": rng.uniform(0.5, 1.5, 8).astype("float32"),
        "head": normal(rng, 10, 8, scale=0.5),
    }
    x, weight, gamma, beta, mean, var, head = arguments = variables({"data": data, **weights})
    y = relay.nn.conv2d(x, weight, padding=(1, 1), channels=8, kernel_size=(3, 3))
    y = relay.nn.relu(relay.nn.batch_norm(y, gamma, beta, mean, var)[0])
    y = relay.nn.max_pool2d(y, pool_size=(2, 2), strides=(2, 2))
    y = relay.nn.dense(relay.nn.batch_flatten(relay.nn.global_avg_pool2d(y)), head)

    def column(name: str) -> np.ndarray:
        return weights[name].reshape(1, -1, 1, 1)

    z = conv2d_numpy(data, weights["weight"], pad=1)
    z = (z - column("mean")) / np.sqrt(column("var") + 1e-5) * column("gamma") + column("beta")
    z = max_pool_numpy(np.maximum(z, 0), 2).mean(axis=(2, 3)) @ weights["head"].T
    return Case(arguments, y, {"data": data}, weights, [z])


@case("dense")
def dense(rng: np.random.Generator) -> Case:
    """Two dense layers and a softmax."""
    data = normal(rng, 4, 32)
    weights = {
        "w1": normal(rng, 48, 32, scale=0.2),
        "b1": normal(rng, 48, scale=0.1),
        "w2": normal(rng, 10, 48, scale=0.2),
        "b2": normal(rng, 10, scale=0.1),
    }
    x, w1, b1, w2, b2 = arguments = variables({"data": data, **weights})
    y = relay.nn.relu(relay.nn.bias_add(relay.nn.dense(x, w1), b1))
    y = relay.nn.softmax(relay.nn.bias_add(relay.nn.dense(y, w2), b2))
    z = np.maximum(data @ weights["w1"].T + weights["b1"], 0)
    z = softmax(z @ weights["w2"].T + weights["b2"])
    return Case(arguments, y, {"data": data}, weights, [z])


@case("int8")
def int8(rng: np.random.Generator) -> Case:
    """Quantised convolution with int8 input, weights and output.

    The weights stay below 64: SSSE3 code adds pairs of products in 16 bits and saturates beyond that.
    """
    data = rng.integers(-100, 100, (1, 8, 8, 8)).astype("int8")
    weight = rng.integers(-60, 60, (16, 8, 3, 3)).astype("int8")
    x, w = arguments = variables({"data": data, "weight": weight})
    zero, scale = relay.const(0, "int32"), relay.const(0.05, "float32")
    y = relay.qnn.op.conv2d(
        x, w, relay.const(3, "int32"), zero, scale, scale, kernel_size=(3, 3), channels=16, out_dtype="int32"
    )
    y = relay.qnn.op.requantize(
        y, relay.const(0.0025, "float32"), zero, relay.const(1.5, "float32"), zero, out_dtype="int8"
    )
    z = conv2d_numpy(data.astype("int32") - 3, weight.astype("int32"))
    z = np.clip(np.round(z * (0.0025 / 1.5)), -128, 127)
    return Case(arguments, y, {"data": data}, {"weight": weight}, [z], rtol=0, atol=1)


@case("float16")
def float16(rng: np.random.Generator) -> Case:
    """Half precision: the compiled code converts in software at this CPU level."""
    data, weight = normal(rng, 4, 16).astype("float16"), normal(rng, 8, 16, scale=0.2).astype("float16")
    x, w = arguments = variables({"data": data, "weight": weight})
    y = relay.nn.relu(relay.nn.dense(relay.add(x, relay.const(0.5, "float16")), w, out_dtype="float16"))
    z = np.maximum((data.astype("float32") + 0.5) @ weight.astype("float32").T, 0)
    return Case(arguments, y, {"data": data}, {"weight": weight}, [z], rtol=1e-2, atol=1e-2)


@case("bfloat16")
def bfloat16(rng: np.random.Generator) -> Case:
    """Element-wise bfloat16: the upper half of a float32."""
    inputs = {name: (normal(rng, 4, 16).view("uint32") >> 16).astype("uint16") for name in ("a", "b")}
    x, y = arguments = [relay.var(name, shape=(4, 16), dtype="bfloat16") for name in inputs]
    a, b = ((bits.astype("uint32") << 16).view("float32") for bits in inputs.values())
    z = np.maximum(a * b + a, 0)
    return Case(arguments, relay.nn.relu(x * y + x), inputs, {}, [z], rtol=2e-2, atol=2e-2, bits_of="bfloat16")


@case("bool")
def boolean(rng: np.random.Generator) -> Case:
    """Comparison and logic; a bool input and a bool output."""
    inputs = {"a": normal(rng, 5, 7), "b": normal(rng, 5, 7), "mask": rng.random((5, 7)) > 0.5}
    a, b, mask = arguments = variables(inputs)
    chosen = relay.logical_and(relay.greater(a, b), mask)
    body = relay.Tuple([relay.where(chosen, a, b), relay.logical_not(chosen)])
    z = np.logical_and(inputs["a"] > inputs["b"], inputs["mask"])
    return Case(arguments, body, inputs, {}, [np.where(z, inputs["a"], inputs["b"]), ~z], rtol=0, atol=0)


@case("int64")
def int64(rng: np.random.Generator) -> Case:
    """Embedding look-up with int64 indices; an int64 output."""
    indices, table = rng.integers(0, 20, (2, 5)).astype("int64"), normal(rng, 20, 8)
    i, t = arguments = variables({"indices": indices, "table": table})
    body = relay.Tuple([relay.take(t, i, axis=0), i * relay.const(1 << 33, "int64")])
    return Case(
        arguments, body, {"indices": indices}, {"table": table}, [table[indices], indices << 33], rtol=0, atol=0
    )


@case("uint8")
def uint8(rng: np.random.Generator) -> Case:
    """Max pooling of bytes, and their int32 sum."""
    data = rng.integers(0, 256, (1, 3, 8, 8)).astype("uint8")
    (x,) = arguments = variables({"image": data})
    body = relay.Tuple(
        [relay.nn.max_pool2d(x, pool_size=(2, 2), strides=(2, 2)), relay.sum(relay.cast(x, "int32"), axis=[2, 3])]
    )
    return Case(arguments, body, {"image": data}, {}, [max_pool_numpy(data, 2), data.sum(axis=(2, 3))], rtol=0, atol=0)


@case("multi_output")
def multi_output(rng: np.random.Generator) -> Case:
    """Three parts of a split, and a sum, of different shapes."""
    data = normal(rng, 2, 12)
    (x,) = arguments = variables({"data": data})
    parts = relay.split(x, [2, 6], axis=1)
    body = relay.Tuple([parts[0], parts[1] * relay.const(2.0), parts[2], relay.sum(x, axis=1)])
    return Case(arguments, body, {"data": data}, {}, [data[:, :2], data[:, 2:6] * 2, data[:, 6:], data.sum(axis=1)])


@case("input_output")
def input_output(rng: np.random.Generator) -> Case:
    """An input that is directly an output, a computed output, and the same computed output again."""
    data = normal(rng, 3, 4)
    (x,) = arguments = variables({"x": data})
    y = x + relay.const(1.0)
    return Case(arguments, relay.Tuple([x, y, y]), {"x": data}, {}, [data, data + 1, data + 1])


@case("constants_only")
def constants_only(rng: np.random.Generator) -> Case:
    """No inputs: the output is a parameter after constant folding."""
    a, b = normal(rng, 2, 3), normal(rng, 2, 3)
    return Case([], relay.const(a) + relay.const(b), {}, {}, [a + b])


@case("reshape")
def reshape(rng: np.random.Generator) -> Case:
    """Only a reshape: the graph is one `__nop`."""
    data = normal(rng, 2, 3, 4)
    (x,) = arguments = variables({"x": data})
    return Case(arguments, relay.reshape(x, (6, 4)), {"x": data}, {}, [data.reshape(6, 4)])


@case("reshape_op")
def reshape_op(rng: np.random.Generator) -> Case:
    """A reshape of the input feeds an operator, and the input feeds another one."""
    data, weight = normal(rng, 2, 3, 4), normal(rng, 5, 12, scale=0.3)
    x, w = arguments = variables({"x": data, "weight": weight})
    body = relay.Tuple([relay.nn.dense(relay.reshape(x, (2, 12)), w), relay.nn.relu(x)])
    z = [data.reshape(2, 12) @ weight.T, np.maximum(data, 0)]
    return Case(arguments, body, {"x": data}, {"weight": weight}, z)


@case("scalar")
def scalar(rng: np.random.Generator) -> Case:
    """Tensors without dimensions as input and output."""
    inputs = {"factor": np.array(1.5, "float32"), "values": normal(rng, 6)}
    f, v = arguments = variables(inputs)
    body = relay.Tuple([relay.sum(v * f), f + relay.const(1.0), v * f])
    z = inputs["values"] * inputs["factor"]
    return Case(arguments, body, inputs, {}, [z.sum(), inputs["factor"] + 1, z])


@case("empty")
def empty(rng: np.random.Generator) -> Case:
    """An input and an output without elements."""
    inputs = {"none": np.zeros((0, 4), "float32"), "some": normal(rng, 2, 4)}
    n, s = arguments = variables(inputs)
    body = relay.Tuple([n * relay.const(2.0), s * relay.const(2.0)])
    return Case(arguments, body, inputs, {}, [inputs["none"], inputs["some"] * 2])


@case("odd_names")
def odd_names(rng: np.random.Generator) -> Case:
    """Input names with UTF-8, colons, slashes, blanks."""
    inputs = {name: normal(rng, 2, 3) for name in ("größe/輸入:0", "serving_default_x:0", "a/b.c d")}
    x, y, z = arguments = variables(inputs)
    a, b, c = inputs.values()
    return Case(arguments, (x - y) * z, inputs, {}, [(a - b) * c])


@case("workspace")
def workspace(rng: np.random.Generator) -> Case:
    """Padded convolutions: the padded images live in workspaces of up to 139 KB."""
    data = normal(rng, 1, 4, 32, 32)
    weights = {"w1": normal(rng, 24, 4, 5, 5, scale=0.1), "w2": normal(rng, 4, 24, 5, 5, scale=0.05)}
    x, w1, w2 = arguments = variables({"data": data, **weights})
    y = relay.nn.relu(relay.nn.conv2d(x, w1, padding=(2, 2), channels=24, kernel_size=(5, 5)))
    y = relay.nn.conv2d(y, w2, padding=(2, 2), strides=(2, 2), channels=4, kernel_size=(5, 5))
    z = np.maximum(conv2d_numpy(data, weights["w1"], pad=2), 0)
    z = conv2d_numpy(z, weights["w2"], pad=2, stride=2)
    symbols = ("__TVMBackendAllocWorkspace", "__TVMBackendFreeWorkspace")
    return Case(arguments, y, {"data": data}, weights, [z], rtol=1e-4, atol=1e-5, symbols=symbols)


@case("linked_params")
def linked_params(rng: np.random.Generator) -> Case:
    """Parameters inside the library, params file without entries."""
    data, weight = normal(rng, 2, 16), normal(rng, 8, 16, scale=0.3)
    x, w = arguments = variables({"data": data, "weight": weight})
    executor = Executor("graph", {"link-params": True})
    z = np.maximum(data @ weight.T, 0)
    return Case(
        arguments, relay.nn.relu(relay.nn.dense(x, w)), {"data": data}, {"weight": weight}, [z], executor=executor
    )


@case("parallel")
def parallel(rng: np.random.Generator) -> Case:
    """Convolutions of 64x64 pixels: enough work for several threads."""
    data = normal(rng, 1, 3, 64, 64)
    weights = {"w1": normal(rng, 16, 3, 3, 3, scale=0.2), "w2": normal(rng, 16, 16, 3, 3, scale=0.1)}
    x, w1, w2 = arguments = variables({"data": data, **weights})
    y = relay.nn.relu(relay.nn.conv2d(x, w1, padding=(1, 1), channels=16, kernel_size=(3, 3)))
    y = relay.nn.conv2d(y, w2, padding=(1, 1), channels=16, kernel_size=(3, 3))
    y = relay.nn.max_pool2d(y, pool_size=(8, 8), strides=(8, 8))
    z = np.maximum(conv2d_numpy(data, weights["w1"], pad=1), 0)
    z = max_pool_numpy(conv2d_numpy(z, weights["w2"], pad=1), 8)
    symbols = ("__TVMBackendParallelLaunch",)
    return Case(arguments, y, {"data": data}, weights, [z], rtol=1e-4, atol=1e-5, symbols=symbols)


@case("math")
def mathematics(rng: np.random.Generator) -> Case:
    """Transcendental functions; some are calls into libm."""
    data = rng.uniform(0.1, 3, (4, 16)).astype("float32")
    (x,) = arguments = variables({"x": data})
    d = data.astype("float64")
    pairs = [
        (relay.exp(x), np.exp(d)),
        (relay.log(x), np.log(d)),
        (relay.tanh(x), np.tanh(d)),
        (relay.erf(x), np.vectorize(math.erf)(d)),
        (relay.sqrt(x), np.sqrt(d)),
        (relay.sin(x), np.sin(d)),
        (relay.atan(x), np.arctan(d)),
        (relay.sigmoid(x), sigmoid_numpy(d)),
        (relay.rsqrt(x), 1 / np.sqrt(d)),
        (relay.floor(x), np.floor(d)),
        (relay.power(x, relay.const(1.7)), d**1.7),
        (relay.log(relay.tanh(relay.exp(x)) + relay.sqrt(x)), np.log(np.tanh(np.exp(d)) + np.sqrt(d))),
    ]
    body, z = relay.Tuple([y for y, _ in pairs]), [n for _, n in pairs]
    return Case(arguments, body, {"x": data}, {}, z, rtol=1e-4, atol=1e-5)


@case("lstm")
def lstm(rng: np.random.Generator) -> Case:
    """An LSTM of four steps, unrolled; the last output and the last cell state."""
    steps, size, hidden = 4, 6, 8
    data = normal(rng, steps, 1, size)
    weights = {
        "wx": normal(rng, 4 * hidden, size, scale=0.4),
        "wh": normal(rng, 4 * hidden, hidden, scale=0.4),
        "bias": normal(rng, 4 * hidden, scale=0.1),
    }
    x, wx, wh, bias = arguments = variables({"sequence": data, **weights})
    h = c = relay.zeros((1, hidden), "float32")
    hn = cn = np.zeros((1, hidden), "float32")
    for step, part in enumerate(relay.split(x, steps, axis=0)):
        gates = relay.nn.dense(relay.squeeze(part, axis=[0]), wx) + relay.nn.dense(h, wh) + bias
        i, f, g, o = relay.split(gates, 4, axis=1)
        c = relay.sigmoid(f) * c + relay.sigmoid(i) * relay.tanh(g)
        h = relay.sigmoid(o) * relay.tanh(c)
        gates_n = data[step] @ weights["wx"].T + hn @ weights["wh"].T + weights["bias"]
        i_n, f_n, g_n, o_n = np.split(gates_n, 4, axis=1)
        cn = sigmoid_numpy(f_n) * cn + sigmoid_numpy(i_n) * np.tanh(g_n)
        hn = sigmoid_numpy(o_n) * np.tanh(cn)
    return Case(arguments, relay.Tuple([h, c]), {"sequence": data}, weights, [hn, cn], rtol=1e-4)


@case("deconv")
def deconv(rng: np.random.Generator) -> Case:
    """Transposed convolution with stride 2."""
    data, weight = normal(rng, 1, 4, 6, 6), normal(rng, 4, 3, 4, 4, scale=0.2)
    x, w = arguments = variables({"data": data, "weight": weight})
    y = relay.nn.conv2d_transpose(x, w, strides=(2, 2), padding=(1, 1), channels=3, kernel_size=(4, 4))
    spread = np.zeros((1, 4, 11, 11), "float32")
    spread[:, :, ::2, ::2] = data
    z = conv2d_numpy(spread, weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], pad=2)
    return Case(arguments, y, {"data": data}, {"weight": weight}, [z])


@case("gather_cumsum")
def gather_cumsum(rng: np.random.Generator) -> Case:
    """Gather along an axis, and a running sum."""
    inputs = {"data": normal(rng, 4, 9), "indices": rng.integers(0, 9, (4, 3)).astype("int64")}
    x, i = arguments = variables(inputs)
    body = relay.Tuple([relay.gather(x, 1, i), relay.cumsum(x, axis=1)])
    z = [np.take_along_axis(inputs["data"], inputs["indices"], 1), np.cumsum(inputs["data"], axis=1)]
    return Case(arguments, body, inputs, {}, z)


@case("resize")
def resize(rng: np.random.Generator) -> Case:
    """Nearest neighbour and bilinear resizing of an image."""
    data = rng.random((1, 3, 6, 6)).astype("float32")
    (x,) = arguments = variables({"image": data})
    nearest = relay.image.resize2d(
        x,
        size=(12, 12),
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )
    linear = relay.image.resize2d(x, size=(11, 11), method="linear", coordinate_transformation_mode="align_corners")
    rows = (data[:, :, :-1] + data[:, :, 1:]) / 2
    tall = np.stack([data[:, :, :-1], rows], axis=3).reshape(1, 3, 10, 6)
    tall = np.concatenate([tall, data[:, :, -1:]], axis=2)
    wide = np.stack([tall[..., :-1], (tall[..., :-1] + tall[..., 1:]) / 2], axis=4).reshape(1, 3, 11, 10)
    z = [data.repeat(2, axis=2).repeat(2, axis=3), np.concatenate([wide, tall[..., -1:]], axis=3)]
    return Case(arguments, relay.Tuple([nearest, linear]), {"image": data}, {}, z)


@case("scatter")
def scatter(rng: np.random.Generator) -> Case:
    """Elements put in and added at places along an axis."""
    rows = np.stack([rng.permutation(6)[:3] for _ in range(5)], axis=1)
    inputs = {"data": normal(rng, 6, 5), "indices": rows.astype("int64"), "updates": normal(rng, 3, 5)}
    x, i, u = arguments = variables(inputs)
    if hasattr(relay, "scatter_elements"):
        body = [relay.scatter_elements(x, i, u, axis=0, reduction=how) for how in ("update", "add")]
    else:
        body = [relay.scatter(x, i, u, axis=0), relay.scatter_add(x, i, u, axis=0)]
    put, added = inputs["data"].copy(), inputs["data"].copy()
    np.put_along_axis(put, rows, inputs["updates"], 0)
    np.add.at(added, (rows, np.arange(5)), inputs["updates"])
    return Case(arguments, relay.Tuple(body), inputs, {}, [put, added])


@case("random")
def random(_rng: np.random.Generator) -> Case:
    """Random numbers from a key (Threefry), and the next key."""
    inputs = {"key": relay.random.threefry_key(99).data.numpy()}
    (key,) = arguments = variables(inputs)
    low, high = (relay.const(value, "float32") for value in (-1, 2))
    first = relay.TupleWrapper(relay.random.uniform(key, (3, 50), "float32", low, high), 2)
    second = relay.TupleWrapper(relay.random.normal(first[0], (40,), "float32", low, high), 2)
    return Case(arguments, relay.Tuple([first[1], second[1], second[0]]), inputs)
