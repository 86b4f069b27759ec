"""A vector of 8 floats for Numba kernels, lowered to LLVM's own vectors (one AVX register, two NEON or SSE ones).

Numba vectorises loops only when it likes; the rasterizer's inner loops are written on this type instead. `+ - * /`
work between vectors and between a vector and a float32. Nothing here allows reassociation, so that the forward and
the backward pass take bit-identical decisions about the same pixel.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 8

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)


class Float8(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Float8")


float8 = Float8()


@register_model(Float8)
class _Float8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _VECTOR)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * LANES)


def _splat(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


def _call(builder: Any, name: str, *args: Any) -> Any:
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * len(args)), name)
    return builder.call(function, args)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, index_type: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    offset = context.cast(builder, index, index_type, types.intp)
    return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())


def _define_operator(symbol: Callable[..., Any], instruction: str) -> None:
    @type_callable(symbol)
    def _(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            pair = {left, right}
            return float8 if float8 in pair and pair <= {float8, types.float32} else None

        return typer

    def vectors(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = (
            value if kind is float8 or kind == float8 else _splat(builder, value)
            for value, kind in zip(args, signature.args)
        )
        return getattr(builder, instruction)(left, right)

    lower_builtin(symbol, Float8, Float8)(vectors)
    lower_builtin(symbol, Float8, types.float32)(vectors)
    lower_builtin(symbol, types.float32, Float8)(vectors)


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

    return float8(types.float32), build


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once where the machine has the instruction and twice elsewhere."""

    def build(context, builder, signature, args):
        return _call(builder, f"llvm.fmuladd.v{LANES}f32", *args)

    return float8(float8, float8, float8), build


@intrinsic
def load(typing_context, array, index):
    """Eight floats of a contiguous float32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        return builder.load(pointer, align=4)

    return float8(array, index), build


@intrinsic
def store(typing_context, array, index, vector):
    """Writes eight floats into a contiguous float32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        builder.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, float8), build


def _comparing(test: str, doc: str) -> Any:
    def choose(typing_context, a, b, then, otherwise):
        def build(context, builder, signature, args):
            return builder.select(builder.fcmp_ordered(test, args[0], args[1]), args[2], args[3])

        return float8(float8, float8, float8, float8), build

    choose.__doc__ = doc
    return intrinsic(choose)


where_greater = _comparing(">", "a > b ? then : otherwise, lane by lane.")
where_less = _comparing("<", "a < b ? then : otherwise, lane by lane.")


@intrinsic
def any_positive(typing_context, vector):
    """Whether some lane is > 0."""

    def build(context, builder, signature, args):
        mask = builder.fcmp_ordered(">", args[0], _constant(0.0))
        bits = builder.bitcast(mask, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(float8), build


EXP_RANGE = 0.71
# Minimax in relative error for exp(-t) on [0, EXP_RANGE] (Lawson's iteration), 7e-7 after three squarings.
_EXP_COEFFICIENTS = (
    0.9999999403953552,
    -0.9999920129776001,
    0.4998760223388672,
    -0.16594579815864563,
    0.03972341865301132,
    -0.005816866643726826,
)


@intrinsic
def exp_minus_8(typing_context, vector):
    """exp(-8 t) to 3e-6, relative, for t in [0, EXP_RANGE]; t is clamped to that range."""

    def build(context, builder, signature, args):
        (t,) = args
        t = builder.select(builder.fcmp_ordered("<", t, _constant(EXP_RANGE)), t, _constant(EXP_RANGE))
        t = builder.select(builder.fcmp_ordered(">", t, _constant(0.0)), t, _constant(0.0))
        value = _constant(_EXP_COEFFICIENTS[-1])
        for coefficient in _EXP_COEFFICIENTS[-2::-1]:
            value = _call(builder, f"llvm.fmuladd.v{LANES}f32", value, t, _constant(coefficient))
        for _ in range(3):
            value = builder.fmul(value, value)
        return value

    return float8(float8), build


@intrinsic
def transposed_sums(typing_context, vectors):
    """Eight vectors (a tuple) to the vector whose lane i is the sum of the lanes of vector i."""

    def build(context, builder, signature, args):
        parts = [builder.extract_value(args[0], i) for i in range(LANES)]
        half = LANES // 2
        while half:
            # Blocks of 2·half lanes hold partial sums of one input each: fold two inputs into one vector.
            low, high = [], []
            for block in range(0, LANES, 2 * half):
                low += [block + j for j in range(half)] + [LANES + block + j for j in range(half)]
                high += [block + half + j for j in range(half)] + [LANES + block + half + j for j in range(half)]
            kind = ir.VectorType(_INT, LANES)
            count = len(parts) // 2
            parts = [
                builder.fadd(
                    builder.shuffle_vector(parts[i], parts[i + count], ir.Constant(kind, low)),
                    builder.shuffle_vector(parts[i], parts[i + count], ir.Constant(kind, high)),
                )
                for i in range(count)
            ]
            half //= 2
        return parts[0]

    return float8(types.UniTuple(float8, LANES)), build
