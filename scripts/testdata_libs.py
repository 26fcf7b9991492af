"""The single libraries of gotvm/testdata/lib, for tests that call library functions directly.

myadd.so        myadd(a, b, out): float32 vectors of any length
callpacked.so   call_ints(out), call_tensor(a), call_parallel(a): call "test.ints", "test.tensor", "test.item"
target_c.so     TVM's target `c`: vadd(a, b, out), call_tensor(a); no slots, direct imports of the runtime
barrier.so      shift(a, out): out = 2 * a, rotated and reversed, in three stages of one launch with barriers
allocs.so       alloc_fixed(out), alloc_sized(work, out): workspaces of 1 MiB in parallel, or as long as `work`
three_args.so   testlibs/three_args.c, in the manner of TVM v0.5
fp16_old.so     by TVM 0.9: tvmgen_default_fused_add_sqrt(x, out) on float16[8], out = sqrt(x + x); imports its
                conversions from the process
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tvm
from tvm import relay, te, tir

from tvm_artifacts import check_symbols, compile_relay, link_library
from tvm_targets import LINK_OPTIONS, Resolved

SOURCES = Path(__file__).parent / "testlibs"
ITEMS = 16
WORKSPACE_FLOATS = 1 << 18
BARRIER_FLOATS = 1024


def vector_add(name: str) -> Any:
    """name(a, b, out): out = a + b, of symbolic length."""
    length = te.var("n")
    a = te.placeholder((length,), name="A")
    b = te.placeholder((length,), name="B")
    out = te.compute((length,), lambda i: a[i] + b[i], name="C")
    return te.create_prim_func([a, b, out]).with_attr("global_symbol", name)


def named(name: str, parameters: dict[Any, Any], body: Any) -> Any:
    """A TIR function whose parameters are the handles of buffers."""
    function = tir.PrimFunc(list(parameters), body, buffer_map=parameters)
    return function.with_attr({"global_symbol": name, "tir.noalias": True})


def handle(name: str) -> Any:
    """A parameter that takes a tensor."""
    return tir.Var(name, "handle")


def call_ints() -> Any:
    """out[0] = test.ints(1, 2.5, "text")."""
    out = tir.decl_buffer((1,), "int64", name="out")
    call = tir.call_packed("test.ints", tir.IntImm("int32", 1), tir.FloatImm("float64", 2.5), tir.StringImm("text"))
    return named("call_ints", {handle("p"): out}, tir.BufferStore(out, tir.Cast("int64", call), [0]))


def call_tensor() -> Any:
    """test.tensor(a)."""
    a = tir.decl_buffer((4,), "float32", name="A")
    return named("call_tensor", {handle("p"): a}, tir.Evaluate(tir.call_packed("test.tensor", a)))


def call_parallel() -> Any:
    """test.item(i) for all i, from the tasks of a parallel launch."""
    a = tir.decl_buffer((4,), "float32", name="A")
    i = tir.Var("i", "int32")
    loop = tir.For(i, 0, ITEMS, tir.ForKind.PARALLEL, tir.Evaluate(tir.call_packed("test.item", i)))
    return named("call_parallel", {handle("p"): a}, loop)


def alloc_fixed() -> Any:
    """out[i] = sum of 1 MiB of floats i, i + 1, …, in a workspace of each iteration of a parallel loop."""
    builder = tir.ir_builder.create()
    out = tir.decl_buffer((ITEMS,), "float32", name="out")
    target = builder.buffer_ptr(out)
    with builder.for_range(0, ITEMS, kind="parallel") as i:
        work = builder.allocate("float32", (WORKSPACE_FLOATS,), name="work", scope="global")
        fill_and_sum(builder, work, target, i, WORKSPACE_FLOATS)
    return named("alloc_fixed", {handle("p"): out}, builder.get())


def alloc_sized() -> Any:
    """out[0] = sum of the floats 0, 1, … in a workspace as long as the vector `like`."""
    builder = tir.ir_builder.create()
    length = tir.Var("n", "int32")
    like = tir.decl_buffer((length,), "float32", name="like")
    out = tir.decl_buffer((1,), "float32", name="out")
    target = builder.buffer_ptr(out)
    work = builder.allocate("float32", (length,), name="work", scope="global")
    fill_and_sum(builder, work, target, tir.IntImm("int32", 0), length)
    return named("alloc_sized", {handle("p"): like, handle("q"): out}, builder.get())


def fill_and_sum(builder: Any, work: Any, target: Any, i: Any, length: Any) -> None:
    """work[j] = (i + j) % 64 for all j, and target[i] = their sum."""
    with builder.for_range(0, length) as j:
        work[j] = tir.Cast("float32", tir.truncmod(i + j, 64))
    target[i] = tir.FloatImm("float32", 0)
    with builder.for_range(0, length) as j:
        target[i] = target[i] + work[j]


def shift() -> Any:
    """Three stages of one parallel launch: double a, move it by one place, reverse it.

    The second and third stage read what other tasks wrote before the barrier.
    """
    builder = tir.ir_builder.create()
    source, out = (tir.decl_buffer((BARRIER_FLOATS,), "float32", name=name) for name in ("A", "out"))
    a, target = builder.buffer_ptr(source), builder.buffer_ptr(out)
    doubled, moved = (
        builder.allocate("float32", (BARRIER_FLOATS,), name=name, scope="global") for name in ("doubled", "moved")
    )
    builder.scope_attr(tir.StringImm("launch"), "pragma_parallel_launch_point", 1)
    with stage(builder) as i:
        doubled[i] = a[i] * 2.0
    with stage(builder) as i:
        moved[i] = doubled[tir.truncmod(i + 1, BARRIER_FLOATS)]
    with stage(builder) as i:
        target[i] = moved[BARRIER_FLOATS - 1 - i]
    return named("shift", {handle("p"): source, handle("q"): out}, builder.get())


@contextmanager
def stage(builder: Any) -> Iterator[Any]:
    """A parallel loop that ends with a barrier, inside a launch."""
    with builder.new_scope():
        builder.scope_attr(tir.StringImm("stage"), "pragma_parallel_barrier_when_finish", 1)
        with builder.for_range(0, BARRIER_FLOATS, kind="parallel") as i:
            yield i


def write_functions(path: Path, resolved: Resolved, *functions: Any) -> None:
    """A library of TIR functions."""
    module = tvm.IRModule({function.attrs["global_symbol"]: function for function in functions})
    link_library(tvm.build(module, target=resolved.target), path, resolved.linker, resolved.link_options)


def write_target_c(path: Path, resolved: Resolved) -> None:
    """A library by TVM's target `c`, whose functions get the module from a variable."""
    options = ("-include", str(SOURCES / "module_ctx.h"), *resolved.link_options)
    write_functions(path, resolved._replace(target="c", link_options=options), vector_add("vadd"), call_tensor())
    check_symbols(path, ("TVMBackendGetFuncFromEnv", "TVMFuncCall"))


def write_three_args(path: Path, resolved: Resolved) -> None:
    """The library in C."""
    source = str(SOURCES / "three_args.c")
    options = (*LINK_OPTIONS, *resolved.link_options)
    subprocess.run([resolved.linker, "-shared", "-fPIC", "-o", str(path), source, *options], check=True)


def write_fp16_old(path: Path, resolved: Resolved) -> None:
    """A float16 operator as a Relay library."""
    x = relay.var("x", shape=(8,), dtype="float16")
    module = tvm.IRModule.from_expr(relay.Function([x], relay.sqrt(x + x)))
    library = compile_relay(module, resolved.target, {}).library
    link_library(library, path, resolved.linker, resolved.link_options)
    if resolved.native:
        check_symbols(path, ("__gnu_h2f_ieee", "__gnu_f2h_ieee"))


def write_libraries(gen: str, resolved: Resolved, out: Path) -> None:
    """Write the libraries that this generation of the compiler makes."""
    out.mkdir(parents=True, exist_ok=True)
    if gen == "tvm0.9":
        write_fp16_old(out / "fp16_old.so", resolved)
        return
    write_functions(out / "myadd.so", resolved, vector_add("myadd"))
    write_functions(out / "callpacked.so", resolved, call_ints(), call_tensor(), call_parallel())
    write_functions(out / "allocs.so", resolved, alloc_fixed(), alloc_sized())
    write_functions(out / "barrier.so", resolved, shift())
    check_symbols(out / "barrier.so", ("__TVMBackendParallelBarrier",))
    write_target_c(out / "target_c.so", resolved)
    write_three_args(out / "three_args.so", resolved)
