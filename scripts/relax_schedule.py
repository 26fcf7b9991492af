"""Schedules for the kernels of a Relax module on a CPU.

TVM's own pipeline for CPUs leaves the loops as they are written. These rules make them fast enough without tuning:
products and convolutions keep a tile of their result in registers, everything is vectorised along the last axis where
memory is contiguous, and large kernels run in parallel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

# Fewer operations than this are not worth waking threads.
PARALLEL_WORK = 1 << 16
# How many rows of a product share a panel of weights before the next panel is read.
PANEL_ROWS = 96
# A product with fewer operations for each column reads its weights as they are.
PACKED_WORK = 1 << 10
# Floats in a tile: TVM keeps an array of up to a KB on the stack, where LLVM can make registers of it.
MAX_TILE = 256


class Registers(NamedTuple):
    """The vector registers of a CPU: how many floats one holds, and how many there are."""

    lanes: int
    count: int


def registers(target: Any) -> Registers:
    """The vector registers of a target."""
    if str(target.attrs.get("mtriple", "")).startswith(("aarch64", "arm")):
        return Registers(4, 32)
    has = tvm.get_global_func("target.target_has_feature")
    if has("avx512f", target):
        return Registers(16, 32)
    return Registers(8, 16) if has("avx2", target) else Registers(4, 16)


def divisor(number: int, limit: int) -> int:
    """The largest divisor up to a limit."""
    return max(n for n in range(1, max(1, min(number, limit)) + 1) if number % n == 0)


class Loop(NamedTuple):
    """A loop of a block: its handle, its length (None: unknown), and whether it reduces."""

    handle: Any
    extent: int | None
    reduced: bool


def loops_of(sch: Any, block: Any) -> list[Loop]:
    """The loops around a block that nothing has been done to."""
    handles, variables = sch.get_loops(block), sch.get(block).iter_vars
    if len(handles) != len(variables):
        raise Unsuitable("loops that are not the block's own")
    kinds = [var.iter_type == tirx.IterVar.CommReduce for var in variables]
    extents = [sch.get(handle).extent for handle in handles]
    sizes = [int(extent) if isinstance(extent, tirx.IntImm) else None for extent in extents]
    return [Loop(*fields) for fields in zip(handles, sizes, kinds)]


def work(loops: Sequence[Loop]) -> int:
    """How often a block runs; unknown lengths count for much."""
    return math.prod(loop.extent or 1024 for loop in loops)


class Unsuitable(Exception):
    """A kernel that a rule does not know how to schedule."""


def is_reduction(sch: Any, block: Any) -> bool:
    """Whether a block reduces."""
    return any(var.iter_type == tirx.IterVar.CommReduce for var in sch.get(block).iter_vars)


def calls(body: Any, names: Sequence[str]) -> bool:
    """Whether a statement calls one of the functions."""
    found = []

    def visit(node: Any) -> None:
        if str(getattr(node.op, "name", "")).split(".")[-1] in names:
            found.append(node)

    tvm_ffi.structural_walk(body, (tvm.ir.Call, visit))
    return bool(found)


EXPENSIVE = ("exp", "tanh", "erf", "sqrt", "rsqrt", "pow", "log", "sigmoid")


def inline_cheap(sch: Any, blocks: Sequence[Any]) -> list[Any]:
    """Inline every block without a reduction that others read; what remains is returned, in order."""
    kept = []
    for block in blocks:
        consumers = sch.get_consumers(block)
        padding = calls(sch.get(block).body, ("if_then_else",)) and any(is_reduction(sch, other) for other in consumers)
        repeated = len(consumers) > 1 or any(is_reduction(sch, other) for other in consumers)
        costly = repeated and calls(sch.get(block).body, EXPENSIVE)
        if not consumers or is_reduction(sch, block) or padding or costly:
            kept.append(block)
            continue
        try:
            sch.compute_inline(block)
        except s_tir.schedule.ScheduleError:
            kept.append(block)
    return kept


def spread(sch: Any, block: Any, lanes: int) -> None:
    """Run a block without reductions in parallel and vectorised."""
    loops = loops_of(sch, block)
    if not loops:
        return
    *outer, last = loops
    handles = [loop.handle for loop in outer]
    if last.extent and last.extent % lanes == 0:
        chunk, vector = sch.split(last.handle, [None, lanes])
        sch.vectorize(vector)
        handles.append(chunk)
    if handles and work(loops) >= PARALLEL_WORK:
        sch.parallel(sch.fuse(*handles))


def tile_sizes(columns: int, rows: int, regs: Registers) -> tuple[int, int]:
    """How many rows and columns of a product to keep in registers; columns are the vectorised side."""
    lanes = regs.lanes
    while columns % lanes and lanes > 4:
        lanes //= 2
    if columns % lanes:
        return divisor(rows, 4), divisor(columns, 2 * regs.lanes)
    vectors = divisor(columns // lanes, 2)
    height = divisor(rows, min((regs.count - vectors - 1) // vectors, MAX_TILE // (vectors * lanes)))
    if height < 3:  # few rows: more columns instead
        vectors = divisor(columns // lanes, min(12 // height, MAX_TILE // lanes))
    return height, vectors * lanes


def split_rows(sch: Any, loops: Sequence[Loop], height: int, index: int) -> tuple[Any, Any, Any]:
    """Split loops over rows into panels, tiles in a panel, and the rows of a tile, which are of loop `index`."""
    tiles, row = sch.split(loops[index].handle, [None, height])
    sequence = [loop.handle for loop in loops]
    sequence[index] = tiles
    sch.reorder(*sequence, row)
    count = math.prod(loop.extent or 1 for loop in loops) // height
    known = all(loop.extent for loop in loops)
    panel, tile = sch.split(sch.fuse(*sequence), [None, divisor(count, max(1, PANEL_ROWS // height)) if known else 1])
    return panel, tile, row


class Kernel(NamedTuple):
    """What the rules need to know about a kernel."""

    function: Any
    regs: Registers
    constants: frozenset[int]  # which of its parameters are weights at every call
    packed: dict[int, int]  # filled in: the parameters whose last axis is to be cut into strips, and how wide these are


def pack_weights(sch: Any, block: Any, kernel: Kernel, columns: int, width: int) -> None:
    """Lay the weights of a product out as it reads them: strip after strip of its columns."""
    variable = sch.get(block).iter_vars[columns].var
    for position, region in enumerate(sch.get(block).reads):
        indices = [i for i, param in enumerate(kernel.function.params) if region.source.same_as(param)]
        last = region.region[-1].min
        if len(indices) == 1 and indices[0] in kernel.constants and last.same_as(variable) and len(region.region) > 1:
            sch.transform_layout(block, ("read", position), lambda *i: (i[-1] // width, *i[:-1], i[-1] % width))
            kernel.packed[indices[0]] = width


def schedule_product(sch: Any, blocks: Sequence[Any], kernel: Kernel) -> None:
    """One reduction whose result has a last axis to vectorise: products, convolutions, pooling."""
    blocks = inline_cheap(sch, blocks)
    anchors = [block for block in blocks if is_reduction(sch, block)]
    if len(anchors) != 1:
        raise Unsuitable("more than one reduction")
    anchor = anchors[0]
    before, after = blocks[: blocks.index(anchor)], blocks[blocks.index(anchor) + 1 :]
    if len(after) > 1:
        raise Unsuitable("more than one block after the reduction")
    loops = loops_of(sch, anchor)
    *rows, columns = [loop for loop in loops if not loop.reduced] or [None]
    reduction = [loop.handle for loop in loops if loop.reduced]
    if not columns or not columns.extent or columns.extent < 2 or not is_vector_axis(sch, anchor, len(rows)):
        raise Unsuitable("no last axis to vectorise")
    epilogue = after[0] if after else sch.cache_write(anchor, 0, "global")

    # The rows of a tile come from the last axis that is longer than one.
    index = max((i for i, loop in enumerate(rows) if loop.extent != 1), default=len(rows) - 1)
    height, width = tile_sizes(columns.extent, (rows[index].extent or 1) if rows else 1, kernel.regs)
    if columns.extent > width and work(loops) >= PACKED_WORK * columns.extent:
        pack_weights(sch, anchor, kernel, len(rows), width)
    strip, column = sch.split(columns.handle, [None, width])
    if rows:
        panel, tile, row = split_rows(sch, rows, height, index)
        sch.reorder(panel, strip, tile, *reduction, row, column)
        sch.reverse_compute_at(epilogue, tile)
        outer = [panel, strip]
    else:
        sch.reorder(strip, *reduction, column)
        sch.reverse_compute_at(epilogue, strip)
        outer = [strip]
    for block in (anchor, epilogue):
        finish(sch, block, width, height)
    if work(loops) >= PARALLEL_WORK:
        sch.parallel(sch.fuse(*outer))
    finish(sch, sch.decompose_reduction(anchor, reduction[0]), width, height)
    for block in before:
        spread(sch, block, kernel.regs.lanes)


def finish(sch: Any, block: Any, width: int, height: int) -> None:
    """Vectorise the last loop of a tile and unroll the one before it."""
    loops = sch.get_loops(block)
    lengths = [sch.get(loop).extent for loop in loops]
    if isinstance(lengths[-1], tirx.IntImm) and int(lengths[-1]) == width:
        sch.vectorize(loops[-1])
    if height > 1 and isinstance(lengths[-2], tirx.IntImm) and int(lengths[-2]) == height:
        sch.unroll(loops[-2])


def is_vector_axis(sch: Any, block: Any, index: int) -> bool:
    """Whether every buffer that a block reads either lacks an axis of the block or has it last."""
    body = sch.get(block)
    variable = body.iter_vars[index].var

    return not any(contains(part.min, variable) for region in body.reads for part in region.region[:-1])


def contains(expression: Any, variable: Any) -> bool:
    """Whether an expression uses a variable."""
    found = []
    tvm_ffi.structural_walk(expression, (tirx.Var, lambda node: found.append(1) if node.same_as(variable) else None))
    return bool(found)


def schedule_blocks(sch: Any, blocks: Sequence[Any], kernel: Kernel) -> None:
    """Every block for itself."""
    regs = kernel.regs
    for block in inline_cheap(sch, blocks):
        if not is_reduction(sch, block):
            spread(sch, block, regs.lanes)
            continue
        loops = loops_of(sch, block)
        spatial, reduction = [x for x in loops if not x.reduced], [x for x in loops if x.reduced]
        last = reduction[-1]
        if spatial and spatial[-1].extent and spatial[-1].extent % regs.lanes == 0 and is_vector_axis(sch, block, len(spatial) - 1):
            chunk, vector = sch.split(spatial[-1].handle, [None, regs.lanes])
            sch.reorder(*(x.handle for x in spatial[:-1]), chunk, *(x.handle for x in reduction), vector)
            sch.vectorize(vector)
            outer = [*(x.handle for x in spatial[:-1]), chunk]
        else:
            outer = [x.handle for x in spatial]
            if last.extent and last.extent % regs.lanes == 0 and last.extent > regs.lanes:
                _, vector = sch.split(last.handle, [None, regs.lanes])
                partial = sch.rfactor(vector, 0)
                spread_partial(sch, partial)
        if outer and work(loops) >= PARALLEL_WORK:
            sch.parallel(sch.fuse(*outer))


def spread_partial(sch: Any, block: Any) -> None:
    """Vectorise the partial results of a reduction."""
    loops = loops_of(sch, block)
    first, *others = [x for x in loops if not x.reduced]
    del first, others


RULES = (schedule_product, schedule_blocks)


def schedule(function: Any, target: Any, constants: frozenset[int] = frozenset()) -> tuple[Any, dict[int, int]]:
    """A kernel with a schedule, and its packed parameters; as it was if no rule suits it."""
    for rule in RULES:
        sch = s_tir.Schedule(function)
        kernel = Kernel(function, registers(target), constants, {})
        try:
            rule(sch, sch.get_child_blocks(sch.get_sblock("root")), kernel)
        except (Unsuitable, s_tir.schedule.ScheduleError) as error:
            if VERBOSE:
                print("no", rule.__name__, str(error)[:200], str(error)[-900:])
            continue
        if VERBOSE:
            print("rule", rule.__name__)
        return sch.mod["main"], kernel.packed
    return function, {}


VERBOSE = False


def kernel_calls(module: Any) -> dict[str, list[Any]]:
    """The calls of every kernel."""
    found: dict[str, list[Any]] = {}

    def visit(node: Any) -> None:
        if is_kernel_call(node):
            found.setdefault(node.args[0].name_hint, []).append(node)

    for _, function in module.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return found


def is_kernel_call(node: Any) -> bool:
    """Whether an expression calls a kernel."""
    return isinstance(node, tvm.ir.Call) and getattr(node.op, "name", "") == "relax.call_tir"


def constant_arguments(sites: Sequence[Any]) -> frozenset[int]:
    """The arguments that are constants at every call."""
    each = [{i for i, x in enumerate(call.args[1]) if isinstance(x, tvm.ir.GenericConst)} for call in sites]
    return frozenset(set.intersection(*each)) if each else frozenset()


@relax.expr_functor.mutator
class PackConstants(relax.expr_functor.PyExprMutator):
    """Lays the constants of calls out as the kernels want them."""

    def __init__(self, module: Any, packed: dict[str, tuple[Any, dict[int, int]]]) -> None:
        super().__init__(module)
        self.packed = packed

    def visit_call_(self, call: Any) -> Any:
        """Called by TVM."""
        call = self.visit_expr_post_order(call)
        if not is_kernel_call(call) or call.args[0].name_hint not in self.packed:
            return call
        var, widths = self.packed[call.args[0].name_hint]
        arguments = [pack(x, widths[i]) if i in widths else x for i, x in enumerate(call.args[1])]
        return relax.call_tir(var, relax.Tuple(arguments), call.ty)


def pack(constant: Any, width: int) -> Any:
    """A constant with its last axis cut into strips, strip after strip."""
    array = constant.value.numpy()
    strips = array.reshape(*array.shape[:-1], array.shape[-1] // width, width)
    return relax.const(np.ascontiguousarray(np.moveaxis(strips, -2, 0)), array.dtype.name)


@tvm.transform.module_pass(opt_level=0, name="ScheduleForCPU")
class ScheduleForCPU:
    """Schedules every kernel of a module, and packs weights for them."""

    def transform_module(self, module: Any, _context: Any) -> Any:
        """Called by TVM."""
        target, sites = tvm.target.Target.current(allow_none=False), kernel_calls(module)
        packed = {}
        for var, function in list(module.functions_items()):
            if not isinstance(function, tirx.PrimFunc) or function.attrs.get("tirx.is_scheduled", 0):
                continue
            done, widths = schedule(function, target, constant_arguments(sites.get(var.name_hint, [])))
            done = done.with_attr("tirx.is_scheduled", True)
            if widths:  # its type is another, so it needs another variable
                packed[var.name_hint] = tvm.ir.GlobalVar(f"{var.name_hint}_packed"), widths
                var = packed[var.name_hint][0]
                relax.expr._update_type(var, done.ty)
            module[var] = done
        for var, function in list(module.functions_items()):
            if isinstance(function, relax.Function):
                module[var] = PackConstants(module, packed).visit_expr(function)
        return relax.transform.DeadCodeElimination()(module)
