"""More models of gotvm/testdata/relax: values and control flow that ordinary networks do not have."""

from __future__ import annotations

import numpy as np
from tvm import ir, relax

from relax_cases import TYPES, Call, Case, Shape, case, function, op, script, variable
from testdata_numpy import normal


@case("scalars", versions="newest")
def scalars(rng: np.random.Generator) -> Case:
    """Tensors without dimensions, numbers, strings, element types: in, out and between functions."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(a: R.Tensor((), "float32"), n: R.Tensor((), "int64"), x: R.Tensor((2, 3), "float32")):
        total = R.sum(x)
        b = R.add(a, total)
        row = R.reshape(b, (1,))
        back = R.reshape(row, ())
        m = R.multiply(n, n)
        return (b, row, back, m, R.shape([]))

    @R.function
    def numbers(i: R.Prim("int64"), f: R.Prim("float64"), b: R.Prim("bool"), x: R.Tensor((2,), "float32")):
        y = R.add(x, x)
        return (f, b, i, y)

    @R.function
    def constants(x: R.Tensor((2,), "float32")):
        y = R.negative(x)
        return (R.prim_value(7), R.prim_value(2.5), R.str("a string longer than seven"), R.str("short"), y)

    @R.function
    def anything(x: R.Object, y: R.Object):
        return ((y, x), x)

    @R.function
    def outer(n: R.Prim("int64"), x: R.Tensor((2,), "float32")):
        once = Module.numbers(n, R.prim_value(0.5), R.prim_value(True), x)
        z = once[3]
        twice = Module.numbers(R.prim_value(3), R.prim_value(1.5), R.prim_value(False), z)
        return (once, twice)
""")
    x, pair = normal(rng, 2, 3), normal(rng, 2)
    a, n = np.array(0.5, "float32"), np.array(-3)
    b = np.array(a + x.sum())
    calls = [
        Call("main", [a, n, x], [b, b.reshape(1), b, np.array(9), Shape(())]),
        Call("numbers", [-9, 2.5, True, pair], [2.5, True, -9, pair + pair]),
        Call("constants", [pair], [7, 2.5, "a string longer than seven", "short", -pair]),
        Call("anything", [[pair, 5], "text"], [["text", [pair, 5]], [pair, 5]]),
        Call("outer", [4, pair], [[0.5, True, 4, pair * 2], [1.5, False, 3, pair * 4]]),
    ]
    return Case(module, calls)


@case("strings", versions="newest")
def strings(rng: np.random.Generator) -> Case:
    """A parameter that is a string."""
    x, builder = normal(rng, 2), relax.BlockBuilder()
    text, data = relax.Var("text", ir.StringType()), variable("x", x)
    function(builder, "main", [text, data], lambda emit: relax.Tuple([text, emit(op.negative(data))]))
    return Case(builder.get(), [Call("main", [value, x], [value, -x]) for value in ("short", "longer than seven")])


@case("empty", versions="newest")
def empty(rng: np.random.Generator) -> Case:
    """Dimensions of size zero, fixed and not. (Sums over none of them: TVM's kernels then write nothing.)"""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def fixed(x: R.Tensor((0, 3), "float32"), y: R.Tensor((2, 3), "float32")):
        a = R.add(x, x)
        b = R.concat((x, y), axis=0)
        c = R.permute_dims(x, (1, 0))
        return (a, b, c)

    @R.function
    def main(x: R.Tensor(("n", 3), "float32"), y: R.Tensor((3, 2), "float32")):
        n = T.int64()
        a = R.matmul(x, y)
        b = R.nn.relu(a)
        c = R.reshape(b, (n * 2,))
        d = R.concat((c, c), axis=0)
        return (a, d, R.shape_of(d))
""")
    y, w = normal(rng, 2, 3), normal(rng, 3, 2)
    none = np.zeros((0, 3), "float32")
    calls = [Call("fixed", [none, y], [none, y, none.reshape(3, 0)])]
    for x in (none, normal(rng, 2, 3), none):
        a = x @ w
        c = np.maximum(a, 0).ravel()
        calls.append(Call("main", [x, w], [a, np.concatenate([c, c]), Shape((2 * c.size,))]))
    return Case(module, calls)


@case("branches", versions="newest")
def branches(rng: np.random.Generator) -> Case:
    """`If` that gives tuples, calls functions, and drives recursion over a state."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def both(flag: R.Tensor((), "bool"), x: R.Tensor((2,), "float32"), y: R.Tensor((3,), "int32")):
        if flag:
            a = R.add(x, x)
            r = (a, (y, x))
        else:
            b = R.add(y, y)
            r = (x, (b, x))
        first = r[0]
        rest = r[1]
        second = rest[0]
        c = R.exp(first)
        return (rest, c, second)

    @R.function
    def on_number(flag: R.Prim("bool"), x: R.Tensor((2,), "float32")):
        if flag:
            y = R.negative(x)
        else:
            y = R.exp(x)
        return y

    @R.function
    def loop(
        i: R.Tensor((), "int32"), state: R.Tuple(R.Tensor((2,), "float32"), R.Tuple(R.Tensor((), "int64")))
    ) -> R.Tuple(R.Tensor((2,), "float32"), R.Tuple(R.Tensor((), "int64"))):
        done: R.Tensor((), "bool") = R.less_equal(i, R.const(0, "int32"))
        if done:
            result: R.Tuple(R.Tensor((2,), "float32"), R.Tuple(R.Tensor((), "int64"))) = state
        else:
            x = state[0]
            inner = state[1]
            n = inner[0]
            x2 = R.multiply(x, R.const(0.5, "float32"))
            n2 = R.add(n, R.const(3, "int64"))
            fewer = R.subtract(i, R.const(1, "int32"))
            result: R.Tuple(R.Tensor((2,), "float32"), R.Tuple(R.Tensor((), "int64"))) = Module.loop(fewer, (x2, (n2,)))
        return result

    @R.function
    def main(i: R.Tensor((), "int32"), x: R.Tensor((2,), "float32")):
        once = Module.loop(i, (x, (R.const(0, "int64"),)))
        again = Module.loop(i, once)
        y = once[0]
        z = again[0]
        s = R.add(y, z)
        return (once, s, again)
""")
    x, y = normal(rng, 2), np.arange(3, dtype="int32")
    true, false = np.array(True), np.array(False)
    calls = [
        Call("both", [true, x, y], [[y, x], np.exp(x + x), y]),
        Call("both", [false, x, y], [[y + y, x], np.exp(x), y + y]),
        Call("on_number", [True, x], -x),
        Call("on_number", [False, x], np.exp(x)),
    ]
    for count in (0, 5, 200):
        half, number = x * np.float32(0.5**count), np.array(3 * count)
        quarter = half * np.float32(0.5**count)
        expected = [[half, [number]], half + quarter, [quarter, [np.array(6 * count)]]]
        calls.append(Call("main", [np.array(count, "int32"), x], expected))
    return Case(module, calls)


@case("same_memory", versions="newest")
def same_memory(rng: np.random.Generator) -> Case:
    """Results that are arguments, constants, or each other; kernels that write over their arguments."""
    module = script(
        """
@I.ir_module
class Module:
    @T.prim_func
    def scale(x: T.Buffer((2, 3), "float32")):
        for i, j in T.grid(2, 3):
            x[i, j] = x[i, j] * T.float32(2)

    @T.prim_func
    def two(x: T.Buffer((2, 3), "float32"), y: T.Buffer((2, 3), "float32"), z: T.Buffer((2,), "float32")):
        for i in range(2):
            z[i] = x[i, 0]
            for j in range(3):
                y[i, j] = x[i, j] + T.float32(1)

    @R.function
    def main(x: R.Tensor((2, 3), "float32")):
        c = R.const([1.0, 2.0], "float32")
        y = R.add(x, x)
        return (x, c, c, y, y, x)

    @R.function
    def over(x: R.Tensor((2, 3), "float32")):
        cls = Module
        y = R.add(x, x)
        z = R.call_tir_inplace(cls.scale, (y,), [0], OUT=R.Tensor((2, 3), "float32"))
        return z

    @R.function
    def pair(x: R.Tensor((2, 3), "float32")):
        cls = Module
        r = R.call_tir(cls.two, (x,), OUT=[R.Tensor((2, 3), "float32"), R.Tensor((2,), "float32")])
        return r
""".replace("OUT", "out_ty" if TYPES == "ty_args" else "out_sinfo")
    )
    x = normal(rng, 2, 3)
    c = np.array([1, 2], "float32")
    calls = [
        Call("main", [x], [x, c, c, x + x, x + x, x]),
        Call("over", [x], x * 4),
        Call("pair", [x], [x + 1, x[:, 0].copy()]),
    ]
    return Case(module, calls)


@case("reshaped", versions="newest")
def reshaped(rng: np.random.Generator) -> Case:
    """Shapes that are computed in the model and used by several functions."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def to(x: R.Tensor(("n", "m"), "float32"), wanted: R.Shape(["a", "b", "c"])):
        n = T.int64()
        m = T.int64()
        a = T.int64()
        b = T.int64()
        c = T.int64()
        y = R.reshape(x, R.shape([a, b, c]))
        z = R.permute_dims(y, (2, 0, 1))
        return R.reshape(z, R.shape([c, a * b]))

    @R.function(private=True)
    def rows(x: R.Tensor(("n", "m"), "float32")) -> R.Tensor(("n * m",), "float32"):
        n = T.int64()
        m = T.int64()
        y: R.Tensor((n * m,), "float32") = R.reshape(x, R.shape([n * m]))
        return y

    @R.function
    def main(x: R.Tensor(("n", "m"), "float32"), y: R.Tensor(("m", "n"), "float32")):
        n = T.int64()
        m = T.int64()
        a = Module.rows(x)
        b = Module.rows(y)
        c = R.add(a, b)
        d = Module.rows(R.matmul(x, y))
        e = R.broadcast_to(R.reshape(c, R.shape([1, n * m])), R.shape([n, n * m]))
        return (c, d, e, R.shape([n // 2, (m + 3) % 4]))

    @R.function
    def checked(x: R.Tensor(ndim=2, dtype="float32")):
        n = T.int64()
        y = R.match_cast(x, R.Tensor((n, n), "float32"))
        z = R.matmul(y, y)
        return z
""")
    x, y, square = normal(rng, 2, 6), normal(rng, 6, 2), normal(rng, 3, 3)
    c = x.ravel() + y.ravel()
    calls = [
        Call("to", [x, Shape((3, 2, 2))], x.reshape(3, 2, 2).transpose(2, 0, 1).reshape(2, 6)),
        Call("to", [square, Shape((1, 9, 1))], square.reshape(1, 9)),
        Call("main", [x, y], [c, (x @ y).ravel(), np.broadcast_to(c, (2, 12)).copy(), Shape((1, 1))]),
        Call("checked", [square], square @ square),
    ]
    return Case(module, calls)


@case("tuples_called", versions="newest")
def tuples_called(rng: np.random.Generator) -> Case:
    """Registered functions that take and give tuples, and call back into nothing."""
    module = script("""
@I.ir_module
class Module:
    @R.function(pure=False)
    def main(x: R.Tensor((2, 3), "float32"), y: R.Tensor((4,), "int64")):
        t = R.call_packed(
            "gotvm.test.turn", (x, (y, R.prim_value(3))),
            TYPES=R.Tuple(R.Tuple(R.Tensor((4,), "int64"), R.Prim("int64")), R.Tensor((2, 3), "float32")),
        )
        inner = t[0]
        z = inner[0]
        w = t[1]
        a = R.add(z, z)
        b = R.add(w, w)
        return (t, a, b)
""")
    x, y = normal(rng, 2, 3), np.arange(4)
    call = Call("main", [x, y], [[[y, 3], x], y + y, x + x])
    return Case(module, [call], needs=["gotvm.test.turn"])


@case("closure_values", versions="newest")
def closure_values(rng: np.random.Generator) -> Case:
    """Closures as results and as arguments."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def scaled_sum(
        x: R.Tensor((2, 3), "float32"), scale: R.Tensor((), "float32"), y: R.Tensor((2, 3), "float32")
    ) -> R.Tensor((2, 3), "float32"):
        z: R.Tensor((2, 3), "float32") = R.add(R.multiply(x, scale), y)
        return z

    @R.function
    def make(scale: R.Tensor((), "float32"), y: R.Tensor((2, 3), "float32")) -> R.Object:
        f = R.make_closure(Module.scaled_sum, (scale, y))
        return f

    @R.function
    def use(f: R.Object, x: R.Tensor((2, 3), "float32")):
        z: R.Tensor((2, 3), "float32") = R.invoke_pure_closure(f, (x,), TYPES=(R.Tensor((2, 3), "float32"),))
        return (z, f)

    @R.function
    def main(x: R.Tensor((2, 3), "float32"), scale: R.Tensor((), "float32")):
        f = Module.make(scale, x)
        t = Module.use(f, x)
        z = t[0]
        u = Module.use(f, z)
        w = u[0]
        return (z, w)
""")
    x, scale = normal(rng, 2, 3), np.array(2, "float32")
    z = x * scale + x
    return Case(module, [Call("main", [x, scale], [z, z * scale + x])])


@case("mixed_types", versions="newest")
def mixed_types(rng: np.random.Generator) -> Case:
    """Arguments of many element types, some with a dimension that is not fixed."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(
        h: R.Tensor(("n", 3), "float16"), u: R.Tensor(("n",), "uint8"), b: R.Tensor((3,), "bool"),
        i: R.Tensor((), "int64"), d: R.Tensor((2,), "float64"),
    ):
        n = T.int64()
        a = R.multiply(h, R.const(1.5, "float16"))
        v = R.add(u, u)
        w = R.logical_not(b)
        j = R.add(i, i)
        k = R.where(b, R.astype(a, "float32"), R.astype(h, "float32"))
        e = R.exp(d)
        return (a, v, w, j, k, e, R.astype(u, "bool"), R.astype(b, "uint8"))
""")
    calls = []
    for n in (3, 1, 5):
        h, u = rng.standard_normal((n, 3)).astype("float16"), rng.integers(0, 255, n).astype("uint8")
        b, i, d = rng.random(3) < 0.5, np.array(1 << 40), rng.standard_normal(2)
        a = h * np.float16(1.5)
        k = np.where(b, a.astype("float32"), h.astype("float32"))
        expected = [a, u + u, ~b, np.array(1 << 41), k, np.exp(d), u.astype("bool"), b.astype("uint8")]
        calls.append(Call("main", [h, u, b, i, d], expected))
    return Case(module, calls, rtol=2e-3, atol=2e-3)


@case("bounded", versions="newest")
def bounded(rng: np.random.Generator) -> Case:
    """Memory that is planned for the largest size that was promised."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor(("n", 4), "float32")):
        R.func_attr({"tir_var_upper_bound": {"n": 16}})
        n = T.int64()
        y = R.exp(x)
        z = R.reshape(y, (n * 4,))
        w = R.add(z, z)
        u = R.reshape(w, (4, n))
        v = R.nn.relu(R.permute_dims(u, (1, 0)))
        return v
""")
    arrays = [normal(rng, n, 4) for n in (3, 16, 1, 0, 15)]
    calls = [Call("main", [x], (np.exp(x) * 2).reshape(4, -1 if x.size else 0).T.copy()) for x in arrays]
    return Case(module, calls, pipeline="fused")


@case("by_values", versions="newest")
def by_values(rng: np.random.Generator) -> Case:
    """A result whose shape depends on the values of an argument."""
    module = script("""
@I.ir_module
class Module:
    @R.function
    def main(x: R.Tensor((6,), "float32"), wanted: R.Tensor((2,), "int64")):
        shape: R.Shape(ndim=2) = R.tensor_to_shape(wanted)
        n = T.int64()
        m = T.int64()
        known = R.match_cast(shape, R.Shape([n, m]))
        y = R.reshape(x, (n, m))
        z = R.add(y, y)
        return (z, x)
""")
    x = normal(rng, 6)
    shapes = ((3, 2), (2, 3), (2, 3), (6, 1))
    return Case(module, [Call("main", [x, np.array(shape)], [(x + x).reshape(shape), x]) for shape in shapes])


def add_one_module(name: str, result: str) -> ir.IRModule:
    """Calls the program's function, names what it gives, and returns result."""
    return script(f"""
@I.ir_module
class Module:
    @R.function(pure=False)
    def main(x: R.Tensor((2, 3), "float32")):
        {name} = R.call_packed("gotvm.test.add_one", x, TYPES=R.Tensor((2, 3), "float32"))
        return {result}
""")


@case("handed", versions="newest")
def handed(rng: np.random.Generator) -> Case:
    """The result is what the program's function gave, whatever that is."""
    x = normal(rng, 2, 3)
    return Case(add_one_module("y", "y"), [Call("main", [x], x + 1)], needs=["gotvm.test.add_one"])


@case("silent", versions="newest")
def silent(rng: np.random.Generator) -> Case:
    """A function that calls the program's and gives nothing."""
    module = add_one_module("_", "R.tuple()")
    return Case(module, [Call("main", [normal(rng, 2, 3)], [])], needs=["gotvm.test.add_one"])
