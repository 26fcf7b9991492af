"""Compares the functions that the runtime supplies to models with TVM's own and with numpy.

    make bench-contrib                                                         # times, as ratios
    make lib && build/venv-0.19/bin/python scripts/bench_contrib.py --check    # results, on random arguments

TVM, numpy and gotvm each run in a process of their own, one at a time and by turns. TVM's binary has no BLAS: products
are compared with direct calls of cblas_sgemm.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
INDEX_TYPES = ("int32", "int64", "float32", "float64")
DTYPES = ("float16", "float32", "float64", "int32", "int64")
TOPK_DTYPES = (*DTYPES, "int8", "uint8")
SHAPES = ((1, 1000), (1, 100000), (256, 1000), (1000, 100))


class DLTensor(ctypes.Structure):
    """DLPack's tensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Value(ctypes.Union):
    """TVM's argument value."""

    _fields_ = [("v_int", ctypes.c_int64), ("v_handle", ctypes.c_void_p), ("v_str", ctypes.c_char_p)]


def tensor_of(array: np.ndarray) -> DLTensor:
    """A view of a contiguous array."""
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    code = "iuf".index(array.dtype.kind)
    return DLTensor(array.ctypes.data, 1, 0, array.ndim, code, array.dtype.itemsize * 8, 1, shape, None, 0)


def gotvm_functions(path: str) -> Callable[..., Callable[[], None]]:
    """A maker of calls of gotvm's functions."""
    library = ctypes.CDLL(path)
    library.TVMGetLastError.restype = ctypes.c_char_p

    def prepare(name: str, *args: Any) -> Callable[[], None]:
        function = ctypes.c_void_p()
        assert library.TVMFuncGetGlobal(name.encode(), ctypes.byref(function)) == 0 and function.value, name
        values, codes, keep = (Value * len(args))(), (ctypes.c_int * len(args))(), []
        for i, arg in enumerate(args):
            if isinstance(arg, np.ndarray):
                keep.append(tensor_of(arg))
                values[i].v_handle, codes[i] = ctypes.addressof(keep[-1]), 7
            elif isinstance(arg, str):
                keep.append(arg.encode())
                values[i].v_str, codes[i] = keep[-1], 11
            else:
                values[i].v_int, codes[i] = arg, 0
        result, code = Value(), ctypes.c_int()

        def call(_keep: Sequence[Any] = keep) -> None:
            status = library.TVMFuncCall(function, values, codes, len(args), ctypes.byref(result), ctypes.byref(code))
            if status:
                raise RuntimeError(library.TVMGetLastError().decode())

        return call

    return prepare


def tvm_functions() -> Callable[..., Callable[[], None]]:
    """A maker of calls of TVM's functions, which write into the arrays as well."""
    import tvm

    def prepare(name: str, *args: Any) -> Callable[[], None]:
        function = tvm.get_global_func(name)
        tensors = [tvm.nd.array(a) if isinstance(a, np.ndarray) else a for a in args]

        def call(copy_back: bool = False) -> None:
            function(*tensors)
            for array, tensor in zip(args, tensors, strict=True):
                if copy_back and isinstance(array, np.ndarray):
                    array[...] = tensor.numpy()

        return call

    return prepare


def numpy_functions() -> Callable[..., Callable[[], None]]:
    """A maker of the calls of numpy that do the same, for float32 and the last axis."""

    def prepare(name: str, data: np.ndarray, *args: Any) -> Callable[[], None]:
        if name.endswith("topk"):
            k = args[-4]
            return lambda: np.argsort(-data, axis=-1, kind="stable")[..., :k]
        if name.endswith("argsort"):
            return lambda: np.argsort(data, axis=-1, kind="stable")
        return lambda: np.sort(data, axis=-1, kind="stable")

    return prepare


def blas_functions() -> Callable[..., Callable[[], None]]:
    """A maker of direct calls of BLAS; it uses the threads that its environment allows."""
    library = ctypes.CDLL(os.environ.get("GOTVM_BLAS", "libopenblas.so.0"))

    def prepare(_name: str, a: np.ndarray, b: np.ndarray, c: np.ndarray, ta: int, tb: int) -> Callable[[], None]:
        (m, n), k = c.shape, a.shape[0 if ta else 1]
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, c)]
        trans = [112 if flag else 111 for flag in (ta, tb)]

        def call() -> None:
            library.cblas_sgemm(
                101, *trans, m, n, k, one, pointers[0], a.shape[1], pointers[1], b.shape[1], zero, pointers[2], n
            )

        return call

    return prepare


def measure(call: Callable[[], None], seconds: float = 0.15) -> float:
    """The median time of a call."""
    call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def serve(side: str, library: str) -> None:
    """Answer requests from standard input: arguments to measure, or to call once and return."""
    makers = {
        "gotvm": lambda: gotvm_functions(library),
        "tvm": tvm_functions,
        "numpy": numpy_functions,
        "blas": blas_functions,
    }
    answers, prepare = os.fdopen(os.dup(1), "wb"), makers[side]()
    os.dup2(2, 1)
    while True:
        try:
            timed, name, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        call = prepare(name, *args)
        if timed:
            answer: Any = measure(call)
        elif side == "tvm":
            call(copy_back=True)  # type: ignore[call-arg]
            answer = args
        else:
            call()
            answer = args
        pickle.dump(answer, answers)
        answers.flush()


class Side:
    """A process that answers requests."""

    def __init__(self, side: str, library: Path, threads: int) -> None:
        environment = {**os.environ, "TVM_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", side, "--library", str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def ask(self, timed: bool, name: str, args: Sequence[Any]) -> Any:
        """The time of a call, or its arguments after it."""
        pickle.dump((timed, name, args), self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)


def sort_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, list[Any]]]:
    """What is timed: a title, a function, its arguments."""
    for shape in SHAPES:
        data = rng.standard_normal(shape).astype("float32")
        size = f"{shape[0]}x{shape[1]}"
        indices = np.zeros(shape, "int32")
        yield f"argsort {size}", "tvm.contrib.sort.argsort", [data, indices, -1, 0]
        yield f"sort {size}", "tvm.contrib.sort.sort", [data, np.zeros_like(data), -1, 1]
        for k in (1, 10, 100):
            outs = [np.zeros((shape[0], k), "float32"), np.zeros((shape[0], k), "int32")]
            yield f"topk {k} of {size}", "tvm.contrib.sort.topk", [data, *outs, k, -1, "both", 0]


def gemm_cases(rng: np.random.Generator) -> Iterator[tuple[str, str, list[Any]]]:
    """The same for products."""
    for m, n, k in ((512, 512, 512), (1, 1000, 512), (64, 256, 256), (1024, 1024, 1024)):
        a, b = (rng.standard_normal(s).astype("float32") for s in ((m, k), (n, k)))
        yield f"matmul {m}x{n}x{k}", "tvm.contrib.cblas.matmul", [a, b, np.zeros((m, n), "float32"), 0, 1]


def compare_times(
    library: Path, cases: Sequence[tuple[str, str, list[Any]]], others: Sequence[str], threads: int, rounds: int
) -> None:
    """Print the times, and gotvm's as a part of each other's."""
    sides = {name: Side(name, library, threads) for name in ("gotvm", *others)}
    print(f"\n{threads} threads, us{'':16}" + "".join(f"{name:>12}" for name in sides) + "   gotvm / other", flush=True)
    for title, name, args in cases:
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, process in sides.items():
                times[side].append(process.ask(True, name, args))
        pairs = [zip(times["gotvm"], times[other], strict=True) for other in others]
        ratios = [statistics.median(ours / theirs for ours, theirs in pair) for pair in pairs]
        row = "".join(f"{statistics.median(t) * 1e6:12.1f}" for t in times.values())
        print(f"{title:29}{row}   " + " ".join(f"{ratio:6.2f}" for ratio in ratios), flush=True)


def random_data(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Values with many ties, zeros of both signs and infinities; or with few."""
    if dtype.startswith("float"):
        data = rng.standard_normal(shape) * (2 if rng.random() < 0.5 else 1000)
        data = np.round(data) if rng.random() < 0.5 else data
        special = rng.random(shape)
        data = np.where(special < 0.05, np.copysign(0, data), np.where(special > 0.97, np.copysign(np.inf, data), data))
    else:
        info = np.iinfo(dtype)
        bounds = (-3, 4) if rng.random() < 0.5 and info.min else (info.min, int(info.max) + 1)
        data = rng.integers(bounds[0], bounds[1], shape, dtype=dtype)
    return np.ascontiguousarray(data.astype(dtype))


def random_call(rng: np.random.Generator) -> tuple[str, list[Any]]:
    """A function and arguments."""
    name = str(rng.choice(["argsort", "sort", "topk", "argsort_nms"]))
    ndim = int(rng.integers(1, 5))
    longest = int(rng.choice([3, 12, 40, 200])) if ndim < 3 else 8
    shape = [int(rng.integers(1, longest + 1)) for _ in range(ndim)]
    if rng.random() < 0.03:
        shape = [1, 20000]
    ndim, axis = len(shape), int(rng.integers(-len(shape), len(shape)))
    dtypes = {"topk": TOPK_DTYPES, "argsort_nms": ("float32",)}.get(name, DTYPES)
    data = random_data(rng, shape, str(rng.choice(dtypes)))
    indices = np.zeros(shape, str(rng.choice(INDEX_TYPES)))
    ascending, size = int(rng.integers(0, 2)), shape[axis]
    if name == "argsort":
        args = [data, indices, axis, ascending]
    elif name == "sort":
        args = [data, np.zeros_like(data), axis, ascending]
    elif name == "argsort_nms":
        rows = [n for i, n in enumerate(shape) if i != axis % ndim]
        counts = rng.integers(0, size + 1, rows).astype("int32")
        args = [data, counts if rows else counts.reshape(1), np.zeros(shape, "int32"), axis, ascending]
    else:
        k, kind = int(rng.integers(0, size + 1)), str(rng.choice(["both", "values", "indices"]))
        shape[axis] = k or size
        outs = [np.zeros(shape, data.dtype), np.zeros(shape, indices.dtype)]
        outs = {"both": outs, "values": outs[:1], "indices": outs[1:]}[kind]
        args = [data, *outs, k, axis, kind, ascending]
    return f"tvm.contrib.sort.{name}", args


def check(library: Path, count: int, seed: int) -> None:
    """Compare results bit by bit."""
    rng = np.random.default_rng(seed)
    ours, theirs = Side("gotvm", library, 2), Side("tvm", library, 2)
    for i in range(count):
        name, args = random_call(rng)
        got, want = ours.ask(False, name, args), theirs.ask(False, name, args)
        for a, b in zip(got, want, strict=True):
            same = not isinstance(a, np.ndarray) or a.tobytes() == b.tobytes()
            assert same, f"call {i} with seed {seed}: {name}{args}\ngotvm\n{a}\nTVM\n{b}"
    print(f"{count} calls give the same bits")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, default=ROOT / "build" / "libtvm_runtime.so")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side for each row")
    parser.add_argument("--check", type=int, nargs="?", const=2000, help="compare the results of so many calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, str(options.library))
        return
    if options.check:
        check(options.library, options.check, options.seed)
        return
    rng = np.random.default_rng(options.seed)
    for threads in (1, 2):
        compare_times(options.library, list(sort_cases(rng)), ("tvm", "numpy"), threads, options.rounds)
    for threads in (1, 2):
        compare_times(options.library, list(gemm_cases(rng)), ("blas",), threads, options.rounds)


if __name__ == "__main__":
    main()
