"""Passes of Relax that make a model fast on a CPU, around the schedules of relax_schedule.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, te, tirx, topi

from compile_messages import last_line
from relax_schedule import ScheduleForCPU, registers

# The layouts in which the last axis of a convolution's result, its channels, is contiguous in the weights too.
LAYOUTS = {"relax.nn.conv2d": ["NHWC", "HWIO"]}
# Rows that a product computes together when it does not know how many there are.
ROWS = 4


def operator(call: Any) -> str:
    """The name of the operator that a call applies, or an empty string."""
    return str(getattr(call.op, "name", ""))


def is_constant(expression: Any) -> bool:
    """Whether an expression is a tensor known when compiling."""
    return isinstance(expression, tvm.ir.GenericConst)


def constant(array: np.ndarray) -> Any:
    """A tensor known when compiling."""
    return relax.const(np.ascontiguousarray(array), array.dtype.name)


def rewrite(mutator: type) -> Any:
    """A pass that applies a mutator to every Relax function."""

    @tvm.transform.module_pass(opt_level=0, name=mutator.__name__)
    def run(module: Any, _context: Any) -> Any:
        work = mutator(module)
        for var, function in module.functions_items():
            if isinstance(function, relax.Function):
                work.builder_.update_func(var, work.visit_expr(function))
        return work.builder_.get()

    return run


@relax.expr_functor.mutator
class ReplaceClip(relax.expr_functor.PyExprMutator):
    """Makes bounds into minimum and maximum: ConvertLayout knows these, and transposes around anything else."""

    def visit_call_(self, call: Any) -> Any:
        """Called by TVM."""
        call = self.visit_expr_post_order(call)
        if operator(call) != "relax.clip" or not all(isinstance(x, tirx.FloatImm | tirx.IntImm) for x in call.args[1:]):
            return call
        result, *bounds = call.args
        for apply, bound in zip((relax.op.maximum, relax.op.minimum), bounds, strict=True):
            if np.isfinite(float(bound.value)):
                result = self.builder_.emit(apply(result, relax.const(bound.value, str(result.ty.dtype))))
        return result


@relax.expr_functor.mutator
class TransposeConstants(relax.expr_functor.PyExprMutator):
    """Transposes constants at once; TVM's FoldConstant compiles a kernel for each."""

    def visit_call_(self, call: Any) -> Any:
        """Called by TVM."""
        call = self.visit_expr_post_order(call)
        if operator(call) != "relax.permute_dims" or not is_constant(call.args[0]):
            return call
        array = call.args[0].value.numpy()
        axes = [int(axis) for axis in call.attrs.axes] if call.attrs.axes else None
        return constant(np.transpose(array, axes))


def pad_columns(x: Any, columns: Any) -> Any:
    """A tensor expression with zeros after the last axis."""
    *shape, known = x.shape
    zero = tirx.const(0, x.dtype)
    return te.compute((*shape, columns), lambda *i: tirx.if_then_else(i[-1] < known, x(*i), zero))


def product(left: Any, right: Any, rows: Any) -> Any:
    """The product of matrices, with rows added that repeat the last one."""
    *batch, known, depth = left.shape
    k = te.reduce_axis((0, depth), name="k")

    def element(*index: Any) -> Any:
        *outer, row, column = index
        fitting = outer if len(right.shape) > 2 else ()
        return te.sum(left(*outer, tirx.min(row, known - 1), k) * right(*fitting, k, column), axis=k)

    return te.compute((*batch, rows, right.shape[-1]), element, name="matmul")


def aligned(size: Any, to: int) -> Any:
    """A length rounded up."""
    return tirx.floordiv(size + (to - 1), to) * to


@relax.expr_functor.mutator
class AlignProducts(relax.expr_functor.PyExprMutator):
    """Gives products longer rows, or more rows, where the sizes do not suit the registers; what is too much is cut off.

    The alternative are comparisons in the innermost loops.
    """

    def visit_call_(self, call: Any) -> Any:
        """Called by TVM."""
        call = self.visit_expr_post_order(call)
        if str(getattr(call.ty, "dtype", "")) != "float32":
            return call
        if operator(call) == "relax.nn.conv2d":
            return self.align_convolution(call)
        return self.align_product(call) if operator(call) == "relax.matmul" else call

    def align_convolution(self, call: Any) -> Any:
        """A convolution with as many channels as suit the registers."""
        attrs, (data, weights) = call.attrs, call.args
        layouts = [attrs.data_layout, attrs.kernel_layout, attrs.out_layout]
        if layouts != ["NHWC", "HWIO", "NHWC"] or attrs.groups != 1 or not is_constant(weights):
            return call
        channels = weights.ty.shape[-1]
        if not self.odd(channels):
            return call
        weights = self.pad(weights, aligned(channels, 2 * self.lanes()))
        sizes = {name: [int(n) for n in getattr(attrs, name)] for name in ("strides", "padding", "dilation")}
        result = relax.op.nn.conv2d(data, weights, **sizes, data_layout="NHWC", kernel_layout="HWIO")
        return relax.op.strided_slice(self.builder_.emit(result), [3], [0], [channels], assume_inbound=True)

    @staticmethod
    def lanes() -> int:
        """Numbers in a vector register."""
        return registers(tvm.target.Target.current(allow_none=False)).lanes

    def odd(self, columns: Any) -> bool:
        """Whether that many columns do not fill vectors."""
        if not isinstance(columns, tirx.IntImm):
            return True
        return int(columns) % self.lanes() != 0 and int(columns) > 2 * self.lanes()

    def align_product(self, call: Any) -> Any:
        """A product with as many rows and columns as suit the registers."""
        left, right = call.args
        if min(left.ty.ndim, right.ty.ndim) < 2 or left.ty.shape is None or right.ty.shape is None:
            return call
        rows, columns = left.ty.shape[-2], right.ty.shape[-1]
        axes, sizes = [], []
        if self.odd(columns):
            right = self.pad(right, aligned(columns, 2 * self.lanes()))
            axes, sizes = [call.ty.ndim - 1], [columns]
        if not isinstance(rows, tirx.IntImm) and self.same_batch(left.ty.shape, right.ty.shape):
            result = self.builder_.emit_te(product, left, right, aligned(rows, ROWS))
            axes, sizes = [call.ty.ndim - 2, *axes], [rows, *sizes]
        elif axes:
            result = self.builder_.emit(relax.op.matmul(left, right))
        else:
            return call
        return relax.op.strided_slice(result, axes, [0] * len(axes), sizes, assume_inbound=True)

    def pad(self, right: Any, columns: Any) -> Any:
        """The right side with zeros after its columns."""
        if not is_constant(right):
            return self.builder_.emit_te(pad_columns, right, columns)
        array = right.value.numpy()
        missing = int(columns) - array.shape[-1]
        return constant(np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]))

    @staticmethod
    def same_batch(left: Any, right: Any) -> bool:
        """Whether `product` knows what the axes before the matrices mean."""
        ours, theirs = list(left)[:-2], list(right)[:-2]
        return not theirs or (len(ours) == len(theirs) and all(map(tvm_ffi.structural_equal, ours, theirs)))


def sigmoid(x: Any) -> Any:
    """The logistic function."""
    one = tirx.const(1, x.dtype)
    power = topi.fast_exp(topi.negative(x))
    return te.compute(x.shape, lambda *i: one / (one + power(*i)))


def silu(x: Any) -> Any:
    """x times its logistic function."""
    return topi.multiply(x, sigmoid(x))


def gelu(x: Any) -> Any:
    """The exact GELU, by a fast error function."""
    scaled = te.compute(x.shape, lambda *i: x(*i) * tirx.const(0.5**0.5, x.dtype))
    error = topi.fast_erf(scaled)
    return te.compute(x.shape, lambda *i: x(*i) * (error(*i) * tirx.const(0.5, x.dtype) + tirx.const(0.5, x.dtype)))


def fast(compute: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A legalisation for float32 by vectorisable arithmetic; for other types it is TVM's own."""

    def legalize(builder: Any, call: Any) -> Any:
        if str(call.args[0].ty.dtype) != "float32":
            return call.op.get_attr("FLegalize")(builder, call)
        arguments = [call.attrs.axis] if operator(call) == "relax.nn.softmax" else []
        return builder.call_te(compute, call.args[0], *arguments)

    return legalize


# Polynomials, exact to a few units in the last place or better, where TVM would call libm for every number.
FAST = {
    "relax.exp": fast(topi.fast_exp),
    "relax.tanh": fast(topi.fast_tanh),
    "relax.erf": fast(topi.fast_erf),
    "relax.sigmoid": fast(sigmoid),
    "relax.nn.silu": fast(silu),
    "relax.nn.gelu": fast(gelu),
    "relax.nn.softmax": fast(topi.nn.fast_softmax),
}


def simplifying_passes() -> list[Any]:
    """What leaves only operators that ConvertLayout knows, as far as that goes."""
    transform = relax.transform
    return [transform.DecomposeOpsForInference(), transform.CanonicalizeBindings(), rewrite(ReplaceClip)]


def product_passes() -> list[Any]:
    """What suits the constants and the shapes of products to the schedules."""
    transform = relax.transform
    return [
        rewrite(TransposeConstants),
        transform.CanonicalizeBindings(),
        rewrite(AlignProducts),
        transform.CanonicalizeBindings(),
        transform.EliminateCommonSubexpr(),
        transform.DeadCodeElimination(),
    ]


def kernel_passes() -> list[Any]:
    """What makes operators into fused kernels."""
    transform = relax.transform
    return [
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        transform.LegalizeOps(FAST),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(),
    ]


def back_passes() -> list[Any]:
    """What makes calls of kernels into instructions of the VM; as in TVM's own pipeline for CPUs."""
    transform = relax.transform
    return [
        transform.RewriteDataflowReshape(),
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.StaticPlanBlockMemory(),
        transform.LowerAllocTensor(),
        transform.KillAfterLastUse(),
        transform.LowerRuntimeBuiltin(),
        transform.ComputePrimValue(),
        transform.VMShapeLower(),
        transform.AttachGlobalSymbol(),
    ]


def run(passes: list[Any], module: Any) -> Any:
    """Apply passes, under the current target."""
    with tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(passes)(module)


def has_convolutions(module: Any) -> bool:
    """Whether a model applies an operator of LAYOUTS."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, tvm.ir.Call) and operator(node) in LAYOUTS:
            found.append(node)

    for _, function in module.functions_items():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return bool(found)


def convert_layouts(module: Any) -> Any:
    """A model with its convolutions in LAYOUTS, if TVM's pass can follow all operators around them."""
    if not has_convolutions(module):
        return module
    try:
        return run([relax.transform.ConvertLayout(LAYOUTS), relax.transform.Normalize()], module)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:  # whatever the operator makes it trip over
        print(f"compile: warning: convolutions stay in their layouts, which is slower: {last_line(error)}", flush=True)
        return module


def fused_kernels(module: Any) -> Any:
    """A model as fused kernels without schedules."""
    converted = convert_layouts(run(simplifying_passes(), module))
    return run([*product_passes(), *kernel_passes()], converted)


def lower(module: Any) -> Any:
    """Fused kernels, as relax.build takes them without a pipeline of its own."""
    return run([ScheduleForCPU(), *back_passes()], module)
