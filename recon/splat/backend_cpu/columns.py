"""Rows of tables to vectors of their columns and back: row i of a table, some floats long, belongs to lane i."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import INT, INTS, LANES, VECTOR, address, constant, pointer_to, vector

_GROUP = 16
"""Columns of the tables that are as wide as a cache line."""


def _shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """Lanes of a, and of b from LANES on."""
    return builder.shuffle_vector(a, b, ir.Constant(INTS, lanes))


def _strided(builder: Any, parts: list[Any], column: int) -> Any:
    """Every len(parts)-th lane of some vectors in a row, from `column` on."""
    wanted = [lane * len(parts) + column for lane in range(LANES)]
    result = _shuffle(builder, parts[0], parts[0], [place % LANES for place in wanted])
    for number in range(1, len(parts)):
        lanes = [LANES + place % LANES if place // LANES == number else i for i, place in enumerate(wanted)]
        result = _shuffle(builder, result, parts[number], lanes)
    return result


def _interleaved(builder: Any, columns: list[Any], number: int) -> Any:
    """The `number`-th of the vectors in a row that hold a table of these columns."""
    wanted = [divmod(number * LANES + lane, len(columns)) for lane in range(LANES)]
    result = _shuffle(builder, columns[0], columns[0], [row for row, _ in wanted])
    for column in range(1, len(columns)):
        lanes = [LANES + row if place == column else i for i, (row, place) in enumerate(wanted)]
        result = _shuffle(builder, result, columns[column], lanes)
    return result


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """LANES vectors as the rows of a square to its columns."""
    rows, half = list(rows), LANES // 2
    while half:
        for i in (i for i in range(LANES) if not i & half):
            low = [LANES + lane - half if lane & half else lane for lane in range(LANES)]
            high = [LANES + lane if lane & half else lane + half for lane in range(LANES)]
            a, b = rows[i], rows[i + half]
            rows[i], rows[i + half] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
        half //= 2
    return rows


def _columns_of(stride: int) -> Any:
    @intrinsic
    def columns(typing_context, array, index):
        def build(context, builder, signature, args):
            start = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
            parts = [builder.load(builder.gep(start, [ir.Constant(INT, i)]), align=4) for i in range(stride)]
            values = [_strided(builder, parts, column) for column in range(stride)]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(vector, stride)(array, index), build

    return columns


columns_3, columns_4 = _columns_of(3), _columns_of(4)
"""The columns, a tuple of vectors, of LANES rows that begin at an index of a contiguous float32 array."""


def _add_columns(stride: int) -> Any:
    @intrinsic
    def add(typing_context, array, index, valid, values):
        def build(context, builder, signature, args):
            start = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
            values = [_valid(builder, args[2], builder.extract_value(args[3], i)) for i in range(stride)]
            for i in range(stride):
                pointer = builder.gep(start, [ir.Constant(INT, i)])
                total = builder.fadd(builder.load(pointer, align=4), _interleaved(builder, values, i))
                builder.store(total, pointer, align=4)
            return context.get_dummy_value()

        return types.void(array, index, vector, types.UniTuple(vector, stride)), build

    return add


def _valid(builder: Any, valid: Any, value: Any) -> Any:
    """`value` where `valid` > 0, else 0."""
    return builder.select(builder.fcmp_ordered(">", valid, constant(0.0)), value, constant(0.0))


add_columns_3, add_columns_4 = _add_columns(3), _add_columns(4)
"""Add columns, a tuple of vectors, to those of LANES rows from an index on, in the lanes in which `valid` > 0."""


@intrinsic
def add_valid(typing_context, array, index, valid, value):
    """Adds the lanes in which `valid` > 0 to the entries of a contiguous float32 array from `index` on."""

    def build(context, builder, signature, args):
        pointer = pointer_to(context, builder, signature.args[0], args[0], args[1], signature.args[1])
        total = builder.fadd(builder.load(pointer, align=4), _valid(builder, args[2], args[3]))
        builder.store(total, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, vector, vector), build


def _pieces(context: Any, builder: Any, signature: Any, args: Any) -> list[list[Any]]:
    """Pointers to the vectors of 16 columns of LANES rows: of each group of LANES columns, one a row."""
    array, index, stride = args[:3]
    index, stride = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 2))
    data = address(context, builder, signature.args[0], array)
    groups = []
    for group in range(0, _GROUP, LANES):
        position = builder.add(index, ir.Constant(index.type, group))
        pointers = []
        for _ in range(LANES):
            pointers.append(builder.bitcast(builder.gep(data, [position]), VECTOR.as_pointer()))
            position = builder.add(position, stride)
        groups.append(pointers)
    return groups


@intrinsic
def columns_16(typing_context, array, index, stride):
    """Sixteen columns, a tuple of vectors, of LANES rows that begin at an index, `stride` floats apart."""

    def build(context, builder, signature, args):
        values = []
        for pointers in _pieces(context, builder, signature, args):
            values += _transposed(builder, [builder.load(pointer, align=4) for pointer in pointers])
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(vector, _GROUP)(array, index, stride), build


@intrinsic
def set_columns_16(typing_context, array, index, stride, values):
    """Writes sixteen columns, a tuple of vectors, of such rows."""

    def build(context, builder, signature, args):
        columns = [builder.extract_value(args[3], i) for i in range(_GROUP)]
        for group, pointers in enumerate(_pieces(context, builder, signature, args)):
            rows = _transposed(builder, columns[group * LANES : (group + 1) * LANES])
            for row, pointer in zip(rows, pointers, strict=True):
                builder.store(row, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, index, stride, types.UniTuple(vector, _GROUP)), build


@intrinsic
def gather(typing_context, array, rows, stride, column):
    """Lane i is array[rows[i] * stride + column], for a contiguous float32 array and LANES int64 rows."""

    def build(context, builder, signature, args):
        data = address(context, builder, signature.args[0], args[0])
        index = address(context, builder, signature.args[1], args[1])
        stride, column = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (2, 3))
        result = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(LANES):
            row = builder.load(builder.gep(index, [ir.Constant(ir.IntType(64), lane)]))
            position = builder.add(builder.mul(row, stride), column)
            result = builder.insert_element(result, builder.load(builder.gep(data, [position])), ir.Constant(INT, lane))
        return result

    return vector(array, rows, stride, column), build


@intrinsic
def add_rows(typing_context, array, first, stride, column, value):
    """Adds lane i to array[(first + i) * stride + column] of a contiguous float32 array."""

    def build(context, builder, signature, args):
        data = address(context, builder, signature.args[0], args[0])
        first, stride, column = (context.cast(builder, args[i], signature.args[i], types.intp) for i in (1, 2, 3))
        position = builder.add(builder.mul(first, stride), column)
        for lane in range(LANES):
            pointer = builder.gep(data, [position])
            lane_value = builder.extract_element(args[4], ir.Constant(INT, lane))
            builder.store(builder.fadd(builder.load(pointer), lane_value), pointer)
            position = builder.add(position, stride)
        return context.get_dummy_value()

    return types.void(array, first, stride, column, vector), build


@kernel
def number_rows(first, last, rows):
    """Writes the numbers of LANES rows from `first` on, with the last one instead of those behind it."""
    for lane in range(LANES):
        rows[lane] = min(first + lane, last)


@kernel
def _copy_tail(table, first, stride, room):
    """The rows from `first` on into a room of LANES rows, the last one again instead of those behind it."""
    last = table.shape[0] // stride - 1
    for lane in range(LANES):
        for column in range(stride):
            room[lane * stride + column] = table[min(first + lane, last) * stride + column]


@kernel
def read_3(table, first, room):
    """The columns of rows first..first + LANES of a table of three columns, with the last row instead of those behind
    it; `room` holds LANES rows."""
    if (first + LANES) * 3 <= table.shape[0]:
        return columns_3(table, first * 3)
    _copy_tail(table, first, np.int64(3), room)
    return columns_3(room, np.int64(0))


@kernel
def read_4(table, first, room):
    """The same of four columns."""
    if (first + LANES) * 4 <= table.shape[0]:
        return columns_4(table, first * 4)
    _copy_tail(table, first, np.int64(4), room)
    return columns_4(room, np.int64(0))
