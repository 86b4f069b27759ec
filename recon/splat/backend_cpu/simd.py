"""A vector of floats for Numba kernels, lowered to LLVM's own vectors: one or two AVX registers, several NEON or
SSE ones.

Numba vectorises loops only when it likes; the rasterizer is written on this type instead. `+ - * /` work between
vectors and between a vector and a float32. Nothing here allows reassociation, so that the forward and the backward
pass take bit-identical decisions about the same pixel.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable


def _host_lanes() -> int:
    """16 where registers hold that many (AVX-512), 8 elsewhere; 8 too where Numba is told to compile for another
    processor than this one."""
    if os.environ.get("NUMBA_CPU_NAME") or os.environ.get("NUMBA_CPU_FEATURES"):
        return 8
    return 16 if llvm.get_host_cpu_features().get("avx512f", False) else 8


HOST_LANES = _host_lanes()
LANES = int(os.environ.get("TURNABOUT_SIMD_LANES", HOST_LANES))
"""Floats in a vector: 1, 4, 8 or 16. One turns the kernels into plain scalar code, which is how compilers and unusual
processors are checked."""
if LANES not in (1, 4, 8, 16):
    raise ImportError(f"TURNABOUT_SIMD_LANES must be 1, 4, 8 or 16, found {LANES}")

FLOAT = ir.FloatType()
INT = ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT, LANES)


class Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Vector{LANES}")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, VECTOR)


def constant(value: float) -> ir.Constant:
    return ir.Constant(VECTOR, [value] * LANES)


def _integers(value: int) -> ir.Constant:
    return ir.Constant(INTS, [value] * LANES)


def _splat(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, undefined, _integers(0))


def _call(builder: Any, name: str, *args: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * len(args)), f"llvm.{name}.v{LANES}f32"
    )
    return builder.call(function, args)


def _choose(builder: Any, test: str, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered(test, a, b), then, otherwise)


def _horner(builder: Any, coefficients: tuple[float, ...], x: Any) -> Any:
    """The polynomial with these coefficients, constant first."""
    value = constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = _call(builder, "fmuladd", value, x, constant(coefficient))
    return value


def address(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, index: Any, index_type: Any) -> Any:
    offset = context.cast(builder, index, index_type, types.intp)
    return builder.bitcast(builder.gep(address(context, builder, array_type, array), [offset]), VECTOR.as_pointer())


def _define_operator(symbol: Callable[..., Any], instruction: str) -> None:
    @type_callable(symbol)
    def _(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            pair = {left, right}
            return vector if vector in pair and pair <= {vector, types.float32} else None

        return typer

    def vectors(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = (value if kind == vector else _splat(builder, value) for value, kind in zip(args, signature.args))
        return getattr(builder, instruction)(left, right)

    lower_builtin(symbol, Vector, Vector)(vectors)
    lower_builtin(symbol, Vector, types.float32)(vectors)
    lower_builtin(symbol, types.float32, Vector)(vectors)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, _instruction)


@intrinsic
def splat(typing_context, scalar):
    """The vector whose lanes all hold a float32."""

    def build(context, builder, signature, args):
        return _splat(builder, args[0])

    return vector(types.float32), build


@intrinsic
def lane_numbers(typing_context):
    """0, 1, 2, ... as floats."""

    def build(context, builder, signature, args):
        return ir.Constant(VECTOR, [float(lane) for lane in range(LANES)])

    return vector(), build


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once where the machine has the instruction and twice elsewhere."""

    def build(context, builder, signature, args):
        return _call(builder, "fmuladd", *args)

    return vector(vector, vector, vector), build


@intrinsic
def less_product(typing_context, c, a, b):
    """c - a * b, rounded like `fma`."""

    def build(context, builder, signature, args):
        return _call(builder, "fmuladd", builder.fneg(args[1]), args[2], args[0])

    return vector(vector, vector, vector), build


@intrinsic
def load(typing_context, array, index):
    """The lanes of a contiguous float32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        return builder.load(pointer, align=4)

    return vector(array, index), build


@intrinsic
def store(typing_context, array, index, value):
    """Writes the lanes into a contiguous float32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector), build


@intrinsic
def store_truncated(typing_context, array, index, value):
    """Writes the lanes, rounded towards zero, into a contiguous int32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        builder.store(builder.fptosi(args[2], INTS), builder.bitcast(pointer, INTS.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector), build


@intrinsic
def truncated(typing_context, value):
    """The lanes rounded towards zero."""

    def build(context, builder, signature, args):
        return builder.sitofp(builder.fptosi(args[0], INTS), VECTOR)

    return vector(vector), build


@intrinsic
def prefetch(typing_context, array, index):
    """Asks for the cache line of array[index]; nothing happens where it cannot be had."""

    def build(context, builder, signature, args):
        offset = context.cast(builder, args[1], signature.args[1], types.intp)
        pointer = builder.gep(address(context, builder, signature.args[0], args[0]), [offset])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT, INT, INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(pointer, byte), *(ir.Constant(INT, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), build


def _comparing(test: str, doc: str) -> Any:
    def choose(typing_context, a, b, then, otherwise):
        def build(context, builder, signature, args):
            return _choose(builder, test, *args)

        return vector(vector, vector, vector, vector), build

    choose.__doc__ = doc
    return intrinsic(choose)


where_greater = _comparing(">", "a > b ? then : otherwise, lane by lane.")
where_less = _comparing("<", "a < b ? then : otherwise, lane by lane.")


@intrinsic
def maximum(typing_context, a, b):
    """The larger, lane by lane; `b` where `a` is NaN."""

    def build(context, builder, signature, args):
        return _choose(builder, ">", *args, *args)

    return vector(vector, vector), build


@intrinsic
def minimum(typing_context, a, b):
    """The smaller, lane by lane; `b` where `a` is NaN."""

    def build(context, builder, signature, args):
        return _choose(builder, "<", *args, *args)

    return vector(vector, vector), build


@intrinsic
def minus_magnitude(typing_context, a):
    """-|a|."""

    def build(context, builder, signature, args):
        bits = builder.or_(builder.bitcast(args[0], INTS), _integers(-(1 << 31)))
        return builder.bitcast(bits, VECTOR)

    return vector(vector), build


@intrinsic
def square_root(typing_context, a):
    def build(context, builder, signature, args):
        return _call(builder, "sqrt", *args)

    return vector(vector), build


@intrinsic
def any_positive(typing_context, a):
    """Whether some lane is > 0."""

    def build(context, builder, signature, args):
        mask = builder.fcmp_ordered(">", args[0], constant(0.0))
        bits = builder.bitcast(mask, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(vector), build


# Minimax in relative error for 2**t on [-1/2, 1/2] (Lawson's iteration): 3e-6 with five coefficients, 2e-7 with six.
_EXP2_FAST = (0.9999992847442627, 0.6931217908859253, 0.240247443318367, 0.05591786280274391, 0.009570102207362652)
_EXP2 = (
    1.0000001192092896,
    0.6931469440460205,
    0.24022120237350464,
    0.05550713092088699,
    0.009675541892647743,
    0.0013276472454890609,
)
# log2(m) = s P(s²) with s = (m - 1) / (m + 1), m within [sqrt(1/2), sqrt(2)]; 2e-7.
_LOG2 = (2.885390520095825, 0.9615874290466309, 0.5958216786384583)
_ROUNDING = 12582912.0  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits


def _exp2(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    shifted = builder.fadd(x, constant(_ROUNDING))
    fraction = builder.fsub(x, builder.fsub(shifted, constant(_ROUNDING)))
    power = builder.shl(builder.bitcast(shifted, INTS), _integers(23))
    value = builder.bitcast(_horner(builder, coefficients, fraction), INTS)
    return builder.bitcast(builder.add(value, power), VECTOR)


@intrinsic
def exp2(typing_context, x):
    """2**x to 2e-7, relative; x is clamped to [-126, 127]. NaN of NaN."""

    def build(context, builder, signature, args):
        x = _choose(builder, ">", args[0], constant(-126.0), args[0], constant(-126.0))
        value = _exp2(builder, _choose(builder, "<", x, constant(127.0), x, constant(127.0)), _EXP2)
        return builder.select(builder.fcmp_unordered("uno", args[0], args[0]), args[0], value)

    return vector(vector), build


@intrinsic
def fast_exp2(typing_context, x):
    """2**x to 3e-6, relative, for x within [-126, 127]; beyond that lanes hold rubbish, which is to be masked."""

    def build(context, builder, signature, args):
        return _exp2(builder, args[0], _EXP2_FAST)

    return vector(vector), build


@intrinsic
def log2(typing_context, x):
    """Base-2 logarithm of positive, normal numbers, to 2e-7."""

    def build(context, builder, signature, args):
        bits = builder.bitcast(args[0], INTS)
        # The exponent is split off so that the mantissa lies around 1, not in [1, 2).
        offset = builder.sub(bits, _integers(0x3F3504F3))  # the bits of sqrt(1/2)
        exponent = builder.ashr(offset, _integers(23))
        mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, _integers(23))), VECTOR)
        one = constant(1.0)
        s = builder.fdiv(builder.fsub(mantissa, one), builder.fadd(mantissa, one))
        series = builder.fmul(s, _horner(builder, _LOG2, builder.fmul(s, s)))
        return builder.fadd(builder.sitofp(exponent, VECTOR), series)

    return vector(vector), build


def _transposed_sums(builder: Any, parts: list[Any]) -> Any:
    """LANES vectors to the one whose lane i is the sum over the lanes of vector i."""
    half = LANES // 2
    while half:
        # Blocks of 2·half lanes hold partial sums of one input each: fold two inputs into one vector.
        low, high = [], []
        for block in range(0, LANES, 2 * half):
            low += [block + j for j in range(half)] + [LANES + block + j for j in range(half)]
            high += [block + half + j for j in range(half)] + [LANES + block + half + j for j in range(half)]
        count = len(parts) // 2
        parts = [
            builder.fadd(
                builder.shuffle_vector(parts[i], parts[i + count], ir.Constant(INTS, low)),
                builder.shuffle_vector(parts[i], parts[i + count], ir.Constant(INTS, high)),
            )
            for i in range(count)
        ]
        half //= 2
    return parts[0]


@intrinsic
def store_sums(typing_context, array, index, vectors):
    """Sums the lanes of each of 16 vectors (a tuple) and writes the sums from array[index] on."""

    def build(context, builder, signature, args):
        parts = [builder.extract_value(args[2], i) for i in range(16)]
        for group in range(0, 16, LANES):
            sums = _transposed_sums(builder, parts[group : group + LANES])
            start = context.cast(builder, args[1], signature.args[1], types.intp)
            start = builder.add(start, ir.Constant(start.type, group))
            pointer = builder.gep(address(context, builder, signature.args[0], args[0]), [start])
            builder.store(sums, builder.bitcast(pointer, VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, index, types.UniTuple(vector, 16)), build


@intrinsic
def sum_lanes(typing_context, a):
    """The sum of the lanes, as a double."""

    def build(context, builder, signature, args):
        double = ir.DoubleType()
        total = ir.Constant(double, 0.0)
        for lane in range(LANES):
            total = builder.fadd(total, builder.fpext(builder.extract_element(args[0], ir.Constant(INT, lane)), double))
        return total

    return types.float64(vector), build
