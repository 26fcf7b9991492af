"""Schedules for the kernels of a Relax module on a CPU.

TVM's own pipeline for CPUs leaves the loops as they are written. These rules make them fast enough without tuning:
products and convolutions keep a tile of their result in registers, everything is vectorised along the last axis where
memory is contiguous, and large kernels run in parallel.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

LOG = logging.getLogger(__name__)
# Fewer operations than this are not worth waking threads.
PARALLEL_WORK = 1 << 16
# How many rows of a product share a panel of weights before the next panel is read.
PANEL_ROWS = 96
# A product with fewer operations for each column reads its weights as they are.
PACKED_WORK = 1 << 10
# The size of an expression that may be computed more than once.
CHEAP = 40
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
        raise UnsuitableError("loops that are not the block's own")
    kinds = [var.iter_type == tirx.IterVar.CommReduce for var in variables]
    extents = [sch.get(handle).extent for handle in handles]
    sizes = [int(extent) if isinstance(extent, tirx.IntImm) else None for extent in extents]
    return [Loop(*fields) for fields in zip(handles, sizes, kinds, strict=True)]


def work(loops: Sequence[Loop]) -> int:
    """How often a block runs; unknown lengths count for much."""
    return math.prod(loop.extent or 1024 for loop in loops)


class UnsuitableError(Exception):
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


def size(body: Any) -> int:
    """How much a statement computes, roughly."""
    count = 0

    def visit(_node: Any) -> None:
        nonlocal count
        count += 1

    tvm_ffi.structural_walk(body, (tvm.ir.Expr, visit))
    return count


def inline_cheap(sch: Any, blocks: Sequence[Any]) -> list[Any]:
    """Inline every block without a reduction that others read; what remains is returned, in order."""
    kept = []
    for block in blocks:
        consumers = sch.get_consumers(block)
        padding = calls(sch.get(block).body, ("if_then_else",)) and any(is_reduction(sch, other) for other in consumers)
        repeated = len(consumers) > 1 or any(is_reduction(sch, other) for other in consumers)
        costly = repeated and size(sch.get(block).body) > CHEAP
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


class Tile(NamedTuple):
    """The part of a product's result that stays in registers: rows, vectors in a row, numbers in a vector."""

    height: int
    vectors: int
    lanes: int

    @property
    def width(self) -> int:
        """The numbers in a row."""
        return self.vectors * self.lanes

    def cost(self) -> float:
        """Cycles for each multiplication of vectors, with two of these and two loads a cycle, and four cycles delay."""
        products = self.height * self.vectors
        return max(products / 2, (self.height + self.vectors) / 2, 4) / products


def choose_tile(columns: int | None, rows: int | None, regs: Registers) -> Tile:
    """The best tile for a product of that size; None is an unknown size."""
    lanes = regs.lanes
    while columns and columns % lanes and lanes > 4 and columns < 4 * regs.lanes:
        lanes //= 2
    if columns and columns % lanes and columns < 4 * regs.lanes:
        return Tile(divisor(rows or 1, 4), 1, divisor(columns, regs.lanes))
    strips = columns // lanes if columns and columns % lanes == 0 else 2
    ragged = [4] if not rows or rows > 16 else []
    heights = [n for n in range(1, regs.count) if rows and rows % n == 0] + ragged
    tiles = [Tile(height, vectors, lanes) for height in heights for vectors in range(1, 9) if strips % vectors == 0]
    fitting = [x for x in tiles if x.height * x.vectors + x.vectors < regs.count and x.height * x.width <= MAX_TILE]
    return min(fitting, key=lambda x: (x.cost() * (1.2 if not rows or rows % x.height else 1), -x.width))


def order_loops(sch: Any, rows: Sequence[Loop], strip: Any, inner: Sequence[Any], height: int) -> tuple[list[Any], Any]:
    """Order the loops of a product around strips of columns.

    `inner` are the reducing loops and the columns of a strip. The rows of a tile come from the last axis that is
    longer than one. The result is the outermost loops, which may be fused and run in parallel, and the loop of tiles.
    """
    *reduction, column = inner
    if not rows:
        sch.reorder(strip, *reduction, column)
        return [strip], strip
    index = max((i for i, loop in enumerate(rows) if loop.extent != 1), default=len(rows) - 1)
    tiles, row = sch.split(rows[index].handle, [None, height])
    outer = [tiles if i == index else loop.handle for i, loop in enumerate(rows)]
    if not all(loop.extent for loop in rows):  # unknown lengths do not fuse well
        sch.reorder(strip, *outer, *reduction, row, column)
        return [strip], outer[-1]
    sch.reorder(*outer, row)
    count = math.prod(loop.extent or 1 for loop in rows) // height
    panel, tile = sch.split(sch.fuse(*outer), [None, divisor(count, max(1, PANEL_ROWS // height))])
    sch.reorder(panel, strip, tile, *reduction, row, column)
    return [panel, strip], tile


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
        raise UnsuitableError("more than one reduction")
    anchor = anchors[0]
    before, after = blocks[: blocks.index(anchor)], blocks[blocks.index(anchor) + 1 :]
    if len(after) > 1:
        raise UnsuitableError("more than one block after the reduction")
    loops = loops_of(sch, anchor)
    *rows, columns = [loop for loop in loops if not loop.reduced] or [None]
    reduction = [loop.handle for loop in loops if loop.reduced]
    if not columns or columns.extent == 1 or not is_vector_axis(sch, anchor, len(rows)):
        raise UnsuitableError("no last axis to vectorise")
    tail = []
    if after and same_length(sch.get(sch.get_loops(after[0])[-1]), sch.get(columns.handle)):
        epilogue = after[0]
    else:
        epilogue, tail = sch.cache_write(anchor, 0, "global"), after

    tile = choose_tile(columns.extent, longest(rows), kernel.regs)
    much = work(loops) >= PACKED_WORK * (columns.extent or 1)
    if much and columns.extent and columns.extent > tile.width and columns.extent % tile.width == 0:
        pack_weights(sch, anchor, kernel, len(rows), tile.width)
    strip, column = sch.split(columns.handle, [None, tile.width])
    outer, place = order_loops(sch, rows, strip, [*reduction, column], tile.height)
    sch.reverse_compute_at(epilogue, place)
    for block in (anchor, epilogue):
        finish(sch, block, tile)
    if work(loops) >= PARALLEL_WORK:
        sch.parallel(sch.fuse(*outer))
    finish(sch, sch.decompose_reduction(anchor, reduction[0]), tile)
    for block in (*before, *tail):
        spread(sch, block, kernel.regs.lanes)


def longest(rows: Sequence[Loop]) -> int | None:
    """The length of the axis from which the rows of a tile come; None if it is unknown."""
    return next((loop.extent for loop in reversed(rows) if loop.extent != 1), 1)


def same_length(one: Any, other: Any) -> bool:
    """Whether two loops are equally long."""
    return tvm_ffi.structural_equal(one.extent, other.extent)


def finish(sch: Any, block: Any, tile: Tile) -> None:
    """Vectorise the last loop of a tile and unroll what is around it."""
    *others, last = sch.get_loops(block)
    lengths = [sch.get(loop).extent for loop in (*others, last)]
    if not isinstance(lengths[-1], tirx.IntImm) or int(lengths[-1]) != tile.width:
        return
    if tile.vectors > 1:
        group, last = sch.split(last, [tile.vectors, tile.lanes])
        sch.unroll(group)
    sch.vectorize(last)
    if tile.height > 1 and isinstance(lengths[-2], tirx.IntImm) and int(lengths[-2]) == tile.height:
        sch.unroll(others[-1])


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
    for block in inline_cheap(sch, blocks):
        if is_reduction(sch, block):
            schedule_reduction(sch, block, kernel.regs.lanes)
        else:
            spread(sch, block, kernel.regs.lanes)


def schedule_reduction(sch: Any, block: Any, lanes: int) -> None:
    """Vectorise a reduction along the last axis of its result, or along the reduced one by partial results."""
    loops = loops_of(sch, block)
    spatial, reduction = [x for x in loops if not x.reduced], [x for x in loops if x.reduced]
    outer, inner, last = [x.handle for x in spatial], [x.handle for x in reduction], reduction[-1]
    parallel = work(loops) >= PARALLEL_WORK
    if spatial and (spatial[-1].extent or 1) % lanes == 0 and is_vector_axis(sch, block, len(spatial) - 1):
        chunk, vector = sch.split(outer.pop(), [None, lanes])
        sch.reorder(*outer, chunk, *inner, vector)
        outer.append(chunk)
    elif last.extent and last.extent > 4 * lanes and divisor(last.extent, 2 * lanes) >= 4:
        chunk, vector = sch.split(inner.pop(), [None, divisor(last.extent, 2 * lanes)])
        inner.append(chunk)
        result, block = block, sch.rfactor(vector, -1)
        if parallel and outer:
            sch.parallel(sch.fuse(*sch.get_loops(result)[: len(outer)]))
        outer, inner = sch.get_loops(block)[: len(outer)], sch.get_loops(block)[len(outer) : -1]
        vector = sch.get_loops(block)[-1]
    else:
        vector = None
    if vector is not None:
        sch.vectorize(vector)
    if parallel and outer:
        sch.parallel(sch.fuse(*outer))
    if vector is not None:
        sch.vectorize(sch.get_loops(sch.decompose_reduction(block, inner[0]))[-1])


RULES = (schedule_product, schedule_blocks)


def schedule(function: Any, target: Any, constants: frozenset[int] = frozenset()) -> tuple[Any, dict[int, int]]:
    """A kernel with a schedule, and its packed parameters; as it was if no rule suits it."""
    for rule in RULES:
        sch = s_tir.Schedule(function)
        kernel = Kernel(function, registers(target), constants, {})
        try:
            rule(sch, sch.get_child_blocks(sch.get_sblock("root")), kernel)
        except (UnsuitableError, s_tir.schedule.ScheduleError) as error:
            LOG.debug("%s: not %s: %s", function.attrs.get("global_symbol"), rule.__name__, error)
            continue
        LOG.debug("%s: %s", function.attrs.get("global_symbol"), rule.__name__)
        return sch.mod["main"], kernel.packed
    return function, {}


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
            place = var
            if widths:  # its type is another, so it needs another variable
                place = tvm.ir.GlobalVar(f"{var.name_hint}_packed")
                packed[var.name_hint] = place, widths
                relax.expr._update_type(place, done.ty)
            module[place] = done
        for var, function in list(module.functions_items()):
            if isinstance(function, relax.Function):
                module[var] = PackConstants(module, packed).visit_expr(function)
        return relax.transform.DeadCodeElimination()(module)
