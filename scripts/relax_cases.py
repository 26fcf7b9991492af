"""The models of gotvm/testdata/relax: small Relax programs, how to call them, and what they must compute.

Every function marked with `@case(name)` gets a seeded random generator and returns a Case. All of them run under
TVM 0.25, 0.26 and 0.27.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import tvm
from tvm import relax, tirx
from tvm.script import relax as R

from testdata_numpy import normal, softmax
from tvm_version import VERSION

op = relax.op


class Call(NamedTuple):
    """One call of a function: arguments and expected result. Arrays are tensors, lists tuples, Shape objects shapes."""

    function: str
    arguments: Sequence[Any]
    expected: Any = None  # None: only the compiler's own runtime knows


class Shape(tuple):
    """A shape as an argument or a result."""


class Rows(list):
    """Expected: a pair of a tensor that begins with these rows, in any order, and how many they are."""


class Case(NamedTuple):
    """A module and the calls to make."""

    module: Any
    calls: Sequence[Call]
    params: Mapping[str, np.ndarray] = {}  # written to a params file; argument "@name" stands for one of them
    rtol: float = 1e-5
    atol: float = 1e-5
    needs: Sequence[str] = ()  # functions that the program must register
    modes: Sequence[str] = ("bytecode", "compiled")
    pipeline: str = "default"  # of Relax passes; "fused" is the one for CPUs, "compile" that of scripts/compile
    runs: bool = True  # False: made to be refused


NEWEST = "0.27"
CASES: dict[str, Callable[[np.random.Generator], Case]] = {}


def case(name: str, versions: str = "all") -> Callable[..., Any]:
    """Register a case, for all versions of the compiler or only for the newest."""

    def register(maker: Callable[[np.random.Generator], Case]) -> Callable[[np.random.Generator], Case]:
        if versions == "all" or VERSION == NEWEST:
            CASES[name] = maker
        return maker

    return register


def variable(name: str, array: np.ndarray, shape: Sequence[Any] | None = None) -> Any:
    """A Relax variable for an array, with another shape if some dimensions are symbols."""
    return relax.Var(name, R.Tensor(tuple(shape or array.shape), array.dtype.name))


def function(
    builder: Any, name: str, arguments: Sequence[Any], body: Callable[[Callable[[Any], Any]], Any], **attrs: Any
) -> None:
    """Add a function of one dataflow block; the body gets an `emit` and returns the result, or a tuple of results."""
    with builder.function(name, list(arguments), attrs=attrs or None):
        with builder.dataflow():
            result = builder.emit_output(body(builder.emit))
        builder.emit_func_output(result)


def const(value: Any) -> Any:
    """A constant with the element type of a numpy value; TVM itself makes int64 into int32."""
    return relax.const(value, value.dtype.name)


def symbol(name: str) -> Any:
    """An unknown dimension."""
    return tirx.Var(name, "int64")


def dense_layers(emit: Callable[[Any], Any], x: Any, weights: Sequence[Any]) -> Any:
    """Dense layers with ReLU between them, softmax at the end."""
    for index in range(0, len(weights), 2):
        x = emit(op.add(emit(op.matmul(x, weights[index])), weights[index + 1]))
        if index + 2 < len(weights):
            x = emit(op.nn.relu(x))
    return emit(op.nn.softmax(x))


def dense_numpy(x: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """The same in numpy."""
    for index in range(0, len(weights), 2):
        x = x @ weights[index] + weights[index + 1]
        x = np.maximum(x, 0) if index + 2 < len(weights) else x
    return softmax(x)


def mlp_weights(rng: np.random.Generator) -> list[np.ndarray]:
    """Three layers, 16-12-12-5."""
    sizes = (16, 12, 12, 5)
    return [normal(rng, *shape, scale=0.4) for a, b in pairwise(sizes) for shape in ((a, b), (b,))]


@case("mlp")
def mlp(rng: np.random.Generator) -> Case:
    """Parameters bundled as constants."""
    weights, x = mlp_weights(rng), normal(rng, 1, 16)
    builder = relax.BlockBuilder()
    data = variable("x", x)
    function(builder, "main", [data], lambda emit: dense_layers(emit, data, [relax.const(w) for w in weights]))
    other = normal(rng, 1, 16)
    calls = [Call("main", [value], dense_numpy(value, weights)) for value in (x, other)]
    return Case(builder.get(), calls)


@case("mlp_params", versions="newest")
def mlp_params(rng: np.random.Generator) -> Case:
    """Parameters as arguments, from a params file."""
    weights, x = mlp_weights(rng), normal(rng, 1, 16)
    names = [f"{kind}{layer}" for layer in (1, 2, 3) for kind in ("weight", "bias")]
    builder = relax.BlockBuilder()
    data, vs = variable("x", x), [variable(name, w) for name, w in zip(names, weights, strict=True)]
    function(builder, "main", [data, *vs], lambda emit: dense_layers(emit, data, vs), num_input=1)
    call = Call("main", [x, *(f"@{name}" for name in names)], dense_numpy(x, weights))
    return Case(builder.get(), [call], dict(zip(names, weights, strict=True)))


@case("mlp_dynamic")
def mlp_dynamic(rng: np.random.Generator) -> Case:
    """Any batch."""
    weights = mlp_weights(rng)
    batches = [normal(rng, n, 16) for n in (1, 7, 3)]
    builder = relax.BlockBuilder()
    data = variable("x", batches[0], (symbol("n"), 16))
    function(builder, "main", [data], lambda emit: dense_layers(emit, data, [relax.const(w) for w in weights]))
    return Case(builder.get(), [Call("main", [x], dense_numpy(x, weights)) for x in batches])


# The keyword for the type of a packed call's result: renamed with TVM 0.26.
TYPES = "sinfo_args" if hasattr(relax, "TensorStructInfo") else "ty_args"


def script(text: str) -> Any:
    """A module from TVMScript; `TYPES` in it stands for the keyword of this version."""
    return tvm.script.from_source(text.replace("TYPES", TYPES))


@case("cond", versions="newest")
def cond(rng: np.random.Generator) -> Case:
    """An `if` on a tensor, in an `if` on a comparison."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(flag: R.Tensor((), "bool"), x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        if flag:
            small: R.Tensor((), "bool") = R.less(R.sum(x), R.const(1.0, "float32"))
            if small:
                y: R.Tensor((2, 3), "float32") = R.add(x, x)
            else:
                y: R.Tensor((2, 3), "float32") = R.multiply(x, x)
            z: R.Tensor((2, 3), "float32") = R.exp(y)
        else:
            z: R.Tensor((2, 3), "float32") = R.negative(x)
        w: R.Tensor((2, 3), "float32") = R.abs(z)
        return w
""")
    low, high = -abs(normal(rng, 2, 3)), abs(normal(rng, 2, 3)) + 1
    true, false = np.array(True), np.array(False)
    calls = [
        Call("main", [true, low], np.exp(low + low)),
        Call("main", [true, high], np.exp(high * high)),
        Call("main", [false, low], np.abs(low)),
    ]
    return Case(module, calls)


@case("recursion")
def recursion(rng: np.random.Generator) -> Case:
    """x to the power n by recursion, and even/odd by mutual recursion."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def power(n: R.Tensor((), "int64"), x: R.Tensor((3,), "float32")) -> R.Tensor((3,), "float32"):
        done: R.Tensor((), "bool") = R.less_equal(n, R.const(0, "int64"))
        if done:
            result: R.Tensor((3,), "float32") = R.ones((3,), "float32")
        else:
            fewer: R.Tensor((), "int64") = R.subtract(n, R.const(1, "int64"))
            rest: R.Tensor((3,), "float32") = Module.power(fewer, x)
            result: R.Tensor((3,), "float32") = R.multiply(rest, x)
        return result

    @R.function
    def even(n: R.Tensor((), "int64")) -> R.Tensor((), "bool"):
        done: R.Tensor((), "bool") = R.equal(n, R.const(0, "int64"))
        if done:
            result: R.Tensor((), "bool") = R.const(True, "bool")
        else:
            fewer: R.Tensor((), "int64") = R.subtract(n, R.const(1, "int64"))
            result: R.Tensor((), "bool") = Module.odd(fewer)
        return result

    @R.function
    def odd(n: R.Tensor((), "int64")) -> R.Tensor((), "bool"):
        done: R.Tensor((), "bool") = R.equal(n, R.const(0, "int64"))
        if done:
            result: R.Tensor((), "bool") = R.const(False, "bool")
        else:
            fewer: R.Tensor((), "int64") = R.subtract(n, R.const(1, "int64"))
            result: R.Tensor((), "bool") = Module.even(fewer)
        return result
""")
    x = normal(rng, 3)
    calls = [Call("power", [np.array(n), x], x**n) for n in (0, 1, 9)]
    calls += [Call(name, [np.array(7)], np.array(name == "odd")) for name in ("even", "odd")]
    return Case(module, calls)


@case("closure", versions="newest")
def closure(rng: np.random.Generator) -> Case:
    """Closures made explicitly, passed to a function, and called there; one is a result."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def scaled_sum(
        x: R.Tensor((2, 3), "float32"), scale: R.Tensor((), "float32"), env: R.Tensor((2, 3), "float32")
    ) -> R.Tensor((2, 3), "float32"):
        y: R.Tensor((2, 3), "float32") = R.add(R.multiply(x, scale), env)
        return y

    @R.function
    def main(x: R.Tensor((2, 3), "float32"), y: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        three: R.Tensor((), "float32") = R.const(3.0, "float32")
        bound = R.make_closure(Module.scaled_sum, (y,))
        once: R.Tensor((2, 3), "float32") = R.invoke_pure_closure(
            bound, (x, three), TYPES=(R.Tensor((2, 3), "float32"),)
        )
        twice: R.Tensor((2, 3), "float32") = R.invoke_pure_closure(
            bound, (once, three), TYPES=(R.Tensor((2, 3), "float32"),)
        )
        return twice
""")
    x, y = normal(rng, 2, 3), normal(rng, 2, 3)
    return Case(module, [Call("main", [x, y], (x * 3 + y) * 3 + y)])


@case("functions", versions="newest")
def functions(rng: np.random.Generator) -> Case:
    """Functions as values: passed by name, written inside another, and kept in a tuple."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def apply(
        f: R.Callable((R.Tensor((2, 3), "float32"),), R.Tensor((2, 3), "float32")), x: R.Tensor((2, 3), "float32")
    ) -> R.Tensor((2, 3), "float32"):
        y: R.Tensor((2, 3), "float32") = f(x)
        return y

    @R.function
    def double(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        y: R.Tensor((2, 3), "float32") = R.add(x, x)
        return y

    @R.function
    def main(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        y: R.Tensor((2, 3), "float32") = Module.apply(Module.double, x)
        return y

    @R.function
    def outer(x: R.Tensor((2, 3), "float32"), y: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        @R.function
        def inner(z: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
            s: R.Tensor((2, 3), "float32") = R.multiply(z, y)
            return s
        once: R.Tensor((2, 3), "float32") = inner(x)
        twice: R.Tensor((2, 3), "float32") = inner(once)
        return twice
""")
    x, y = normal(rng, 2, 3), normal(rng, 2, 3)
    return Case(relax.transform.LambdaLift()(module), [Call("main", [x], x + x), Call("outer", [x, y], x * y * y)])


@case("nested")
def nested(rng: np.random.Generator) -> Case:
    """Several functions; tuples in tuples as results and as arguments."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor((2, 3), "float32"), y: R.Tensor((4,), "int32")):
        a = R.add(x, x)
        b = R.exp(x)
        c = R.add(y, y)
        s = R.shape([7, 8])
        return (a, (b, (c,), s), (), x)

    @R.function
    def swap(pair: R.Tuple(R.Tensor((2,), "float32"), R.Tuple(R.Tensor((3,), "float32"), R.Tensor((), "int64")))):
        first = pair[0]
        second = pair[1]
        inner = second[0]
        number = second[1]
        e = R.negative(first)
        return (second, e, (number, inner))

    @R.function
    def same(x: R.Tensor((2, 3), "float32")):
        return (x, x)

    @R.function
    def helper(x: R.Tensor((2, 3), "float32")) -> R.Tuple(R.Tensor((2, 3), "float32"), R.Tensor((2, 3), "float32")):
        a = R.add(x, x)
        b = R.multiply(x, x)
        return (a, b)

    @R.function
    def caller(x: R.Tensor((2, 3), "float32")):
        t = Module.helper(x)
        a = t[0]
        u = Module.helper(a)
        b = u[1]
        return (t, b)
""")
    x, y, z, w = normal(rng, 2, 3), np.arange(4, dtype="int32"), normal(rng, 2), normal(rng, 3)
    n = np.array(5)
    calls = [
        Call("main", [x, y], [x + x, [np.exp(x), [y + y], Shape((7, 8))], [], x]),
        Call("swap", [[z, [w, n]]], [[w, n], -z, [n, w]]),
        Call("same", [x], [x, x]),
        Call("caller", [x], [[x + x, x * x], (x + x) ** 2]),
    ]
    return Case(module, calls)


@case("callback")
def callback(rng: np.random.Generator) -> Case:
    """Calls of functions that the program registers: with tensors, shapes, numbers, strings, tuples; in place too."""
    module = script(
        """
@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        y = R.call_pure_packed("gotvm.test.add_one", x, TYPES=R.Tensor((2, 3), "float32"))
        z: R.Tensor((2, 3), "float32") = R.add(y, x)
        return z

    @R.function(pure=False)
    def mixed(x: R.Tensor(("n", 3), "float32")):
        n = T.int64()
        y = R.call_packed(
            "gotvm.test.describe", x, R.shape([n, 3, 5]), R.prim_value(7), R.str("text"), R.dtype("float16"),
            (x, (x,)), R.prim_value(2.5), TYPES=R.Tensor((2,), "int64"),
        )
        return y

    @R.function
    def dps(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        y = R.call_dps_packed("gotvm.test.add_one_into", (x,), OUT=R.Tensor((2, 3), "float32"))
        return y

    @R.function(pure=False)
    def fails(x: R.Tensor((2, 3), "float32")) -> R.Tensor((2, 3), "float32"):
        y = R.call_packed("gotvm.test.fail", x, TYPES=R.Tensor((2, 3), "float32"))
        return y
""".replace("OUT", "out_ty" if TYPES == "ty_args" else "out_sinfo")
    )
    x = normal(rng, 2, 3)
    calls = [
        Call("main", [x], x + 1 + x),
        Call("mixed", [normal(rng, 4, 3)], np.array([4, 3])),
        Call("dps", [x], x + 1),
    ]
    return Case(
        module, calls, needs=["gotvm.test.add_one", "gotvm.test.add_one_into", "gotvm.test.describe", "gotvm.test.fail"]
    )


def run_onnx(name: str, *inputs: np.ndarray, outputs: int = 1, opset: int = 18, **attributes: Any) -> Any:
    """What onnxruntime computes for one ONNX operator."""
    names = [f"in{index}" for index in range(len(inputs))]
    results = [f"out{index}" for index in range(outputs)]
    node = onnx.helper.make_node(
        name, [n if x.size else "" for n, x in zip(names, inputs, strict=True)], results, **attributes
    )
    types = [onnx.helper.np_dtype_to_tensor_dtype(x.dtype) for x in inputs]
    given = [
        onnx.helper.make_tensor_value_info(n, t, x.shape)
        for n, t, x in zip(names, types, inputs, strict=True)
        if x.size
    ]
    graph = onnx.helper.make_graph([node], name, given, [onnx.helper.make_empty_tensor_value_info(n) for n in results])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", opset)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, {n: x for n, x in zip(names, inputs, strict=True) if x.size})
    return values[0] if outputs == 1 else values


@case("cnn", versions="newest")
def cnn(rng: np.random.Generator) -> Case:
    """Convolutions with normalisation and a residual connection, pooling, a dense layer; four functions in one."""
    x = normal(rng, 1, 3, 12, 12)
    first, second = normal(rng, 8, 3, 3, 3, scale=0.3), normal(rng, 8, 8, 3, 3, scale=0.2)
    gamma, beta, mean = (normal(rng, 8, scale=0.5) for _ in range(3))
    variance, dense = abs(normal(rng, 8)) + 0.5, normal(rng, 8, 5)
    builder, data = relax.BlockBuilder(), variable("image", x)

    def body(emit: Callable[[Any], Any]) -> Any:
        y = emit(op.nn.conv2d(data, relax.const(first), padding=1))
        constants = [relax.const(a) for a in (gamma, beta, mean, variance)]
        y = emit(relax.TupleGetItem(emit(op.nn.batch_norm(y, *constants, axis=1, training=False)), 0))
        y = emit(op.nn.max_pool2d(emit(op.nn.relu(y)), (2, 2), (2, 2)))
        z = emit(op.nn.conv2d(y, relax.const(second), padding=1))
        y = emit(op.nn.relu(emit(op.add(y, z))))
        y = emit(op.reshape(emit(op.nn.adaptive_avg_pool2d(y, (1, 1))), (1, 8)))
        return emit(op.nn.softmax(emit(op.matmul(y, relax.const(dense)))))

    function(builder, "main", [data], body)
    y = run_onnx("BatchNormalization", run_onnx("Conv", x, first, pads=[1] * 4), gamma, beta, mean, variance)
    y = run_onnx("MaxPool", np.maximum(y, 0), kernel_shape=[2, 2], strides=[2, 2])
    y = np.maximum(y + run_onnx("Conv", y, second, pads=[1] * 4), 0).mean((2, 3)) @ dense
    return Case(builder.get(), [Call("main", [x], softmax(y))], pipeline="fused")


def block_weights(rng: np.random.Generator, width: int) -> dict[str, np.ndarray]:
    """The weights of a transformer block."""
    weights = {name: normal(rng, width, width, scale=0.3) for name in ("query", "key", "value", "out", "up", "down")}
    for index in (1, 2):
        weights[f"gamma{index}"], weights[f"beta{index}"] = normal(rng, width) + 1, normal(rng, width)
    return weights


def block(emit: Callable[[Any], Any], x: Any, weights: Mapping[str, np.ndarray], batch: Any, length: Any) -> Any:
    """A transformer block with two heads."""
    w = {name: relax.const(array) for name, array in weights.items()}
    width = weights["out"].shape[0]
    size = width // 2

    def heads(y: Any) -> Any:
        return emit(op.permute_dims(emit(op.reshape(y, (batch, length, 2, size))), (0, 2, 1, 3)))

    y = emit(op.nn.layer_norm(x, w["gamma1"], w["beta1"], axes=[-1]))
    query, key, value = (heads(emit(op.matmul(y, w[name]))) for name in ("query", "key", "value"))
    scores = emit(op.matmul(query, emit(op.permute_dims(key, (0, 1, 3, 2)))))
    scores = emit(op.nn.softmax(emit(op.multiply(scores, relax.const(np.float32(size**-0.5))))))
    y = emit(op.permute_dims(emit(op.matmul(scores, value)), (0, 2, 1, 3)))
    y = emit(op.matmul(emit(op.reshape(y, (batch, length, width))), w["out"]))
    x = emit(op.add(x, y))
    y = emit(op.nn.layer_norm(x, w["gamma2"], w["beta2"], axes=[-1]))
    y = emit(op.matmul(emit(op.nn.gelu(emit(op.matmul(y, w["up"])))), w["down"]))
    return emit(op.add(x, y))


def block_numpy(x: np.ndarray, w: Mapping[str, np.ndarray]) -> np.ndarray:
    """The same in numpy."""

    def norm(y: np.ndarray, index: int) -> np.ndarray:
        scaled = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
        return scaled * w[f"gamma{index}"] + w[f"beta{index}"]

    def heads(y: np.ndarray) -> np.ndarray:
        return y.reshape(*y.shape[:2], 2, -1).transpose(0, 2, 1, 3)

    y = norm(x, 1)
    query, key, value = (heads(y @ w[name]) for name in ("query", "key", "value"))
    y = softmax(query @ key.transpose(0, 1, 3, 2) * query.shape[-1] ** -0.5) @ value
    x = x + y.transpose(0, 2, 1, 3).reshape(x.shape) @ w["out"]
    return x + run_onnx("Gelu", norm(x, 2) @ w["up"], opset=20) @ w["down"]


@case("transformer", versions="newest")
def transformer(rng: np.random.Generator) -> Case:
    """One block for one sequence of six."""
    weights, x, builder = block_weights(rng, 8), normal(rng, 1, 6, 8), relax.BlockBuilder()
    data = variable("x", x)
    function(builder, "main", [data], lambda emit: block(emit, data, weights, 1, 6))
    return Case(builder.get(), [Call("main", [x], block_numpy(x, weights))], pipeline="fused")


@case("transformer_dynamic")
def transformer_dynamic(rng: np.random.Generator) -> Case:
    """The same for any batch and any length."""
    weights, builder = block_weights(rng, 8), relax.BlockBuilder()
    arrays = [normal(rng, batch, length, 8) for batch, length in ((1, 6), (3, 2), (2, 11), (1, 1))]
    batch, length = symbol("batch"), symbol("length")
    data = variable("x", arrays[0], (batch, length, 8))
    function(builder, "main", [data], lambda emit: block(emit, data, weights, batch, length))
    return Case(builder.get(), [Call("main", [x], block_numpy(x, weights)) for x in arrays], pipeline="fused")


def lifted_module() -> Any:
    """A dense layer whose parameters are arguments, with work on them that needs doing once."""
    return script("""
@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor((2, 4), "float32"), weight: R.Tensor((3, 4), "float32"), bias: R.Tensor((3,), "float32")):
        R.func_attr({"num_input": 1})
        with R.dataflow():
            turned = R.permute_dims(weight, (1, 0))
            doubled = R.add(bias, bias)
            y = R.matmul(x, turned)
            z = R.add(y, doubled)
            R.output(z)
        return z
""")


@case("lifted", versions="newest")
def lifted(rng: np.random.Generator) -> Case:
    """What can be computed from the parameters alone in a function of its own, which takes them as a tuple."""
    x, weight, bias = normal(rng, 2, 4), normal(rng, 3, 4), normal(rng, 3)
    calls = [
        Call("main_transform_params", [["@weight", "@bias"]], [weight.T, bias + bias]),
        Call("main", [x, np.ascontiguousarray(weight.T), bias + bias], x @ weight.T + bias + bias),
    ]
    return Case(relax.transform.LiftTransformParams()(lifted_module()), calls, {"weight": weight, "bias": bias})


@case("consumed", versions="newest")
def consumed(rng: np.random.Generator) -> Case:
    """The same, and each parameter is dropped from the tuple after its use."""
    weight, bias = normal(rng, 3, 4), normal(rng, 3)
    with tvm.transform.PassContext(config={"relax.lift_transform_params.consume_params": True}):
        module = relax.transform.LiftTransformParams()(lifted_module())
    call = Call("main_transform_params", [["@weight", "@bias"]], [weight.T, bias + bias])
    return Case(module, [call], {"weight": weight, "bias": bias})


@case("scheduled", versions="newest")
def scheduled(rng: np.random.Generator) -> Case:
    """Kernels that run in parallel and have their weights packed, for any batch."""
    weight, bias, builder = normal(rng, 64, 48, scale=0.2), normal(rng, 48), relax.BlockBuilder()
    arrays = [normal(rng, batch, 64) for batch in (32, 1, 50)]
    data = variable("x", arrays[0], (symbol("batch"), 64))

    def body(emit: Callable[[Any], Any]) -> Any:
        product = emit(op.add(emit(op.matmul(data, relax.const(weight))), relax.const(bias)))
        return emit(op.nn.softmax(emit(op.tanh(product))))

    function(builder, "main", [data], body)
    calls = [Call("main", [x], softmax(np.tanh(x @ weight + bias))) for x in arrays]
    return Case(builder.get(), calls, pipeline="compile")
