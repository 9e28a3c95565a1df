"""Runs of 16 or 32 numbers in vector registers, where LLVM unrolls a short loop before it could be vectorised.

Vectors of LLVM's are of no machine: where registers are narrower they become several, or single numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from floatemu._core.kernels import JIT_DISABLED


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, lanes: int) -> tuple[Any, Any]:
    """A pointer to ``lanes`` numbers of an array from an index on, and their type."""
    from numba.np.arrayobj import make_array  # here: importing it costs as much as all of floatemu

    array_of: Any = make_array
    data = array_of(array_type)(context, builder, array).data
    vector = ir.VectorType(data.type.pointee, lanes)
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer()), vector


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector of one value."""
    nothing = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _greatest(lanes: int) -> Any:
    @intrinsic
    def greatest(typing_context: Any, bits: Any, start: Any, magnitude: Any, limit: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array, index, mask, bound = arguments
            place, vector = _pointer(context, builder, signature.args[0], array, index, lanes)
            run = builder.load(place)
            run.align = vector.element.width // 8
            run = builder.and_(run, _splat(builder, mask, vector))
            below = builder.icmp_unsigned("<", run, _splat(builder, bound, vector))
            run = builder.select(below, run, ir.Constant(vector, None))
            name = f"llvm.vector.reduce.umax.v{lanes}i{vector.element.width}"
            kind = ir.FunctionType(vector.element, [vector])
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            return builder.call(function, [run])

        return bits.dtype(bits, types.intp, bits.dtype, bits.dtype), generate

    return greatest


def _store(lanes: int) -> Any:
    @intrinsic
    def store(typing_context: Any, array: Any, start: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place, vector = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], lanes)
            builder.store(_splat(builder, arguments[2], vector), place).align = signature.args[2].bitwidth // 8
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), generate

    return store


_greatest16, _greatest32, _store16 = _greatest(16), _greatest(32), _store(16)


def largest(w: Any, bits: Any, start: Any, stop: Any, magnitude: Any, limit: Any) -> Any:
    """The largest of ``bits & magnitude`` in a run that is below ``limit``; 0 where none is."""
    found = w(0)
    for i in range(start, stop):
        mag = w(bits[i] & magnitude)
        found = max(found, mag if mag < limit else w(0))
    return found


def fill(run: Any, start: Any, stop: Any, value: Any) -> None:
    """Write one value to all places from ``start`` up to ``stop``."""
    for i in range(start, stop):
        run[i] = value


if not JIT_DISABLED:

    @overload(largest)
    def _largest(w: Any, bits: Any, start: Any, stop: Any, magnitude: Any, limit: Any) -> Any:
        def implementation(w: Any, bits: Any, start: Any, stop: Any, magnitude: Any, limit: Any) -> Any:
            found = w(0)
            i = start
            while i + 32 <= stop:
                found = max(found, _greatest32(bits, i, magnitude, limit))
                i += 32
            if i + 16 <= stop:
                found = max(found, _greatest16(bits, i, magnitude, limit))
                i += 16
            while i < stop:
                mag = w(bits[i] & magnitude)
                found = max(found, mag if mag < limit else w(0))
                i += 1
            return found

        return implementation

    @overload(fill)
    def _fill(run: Any, start: Any, stop: Any, value: Any) -> Any:
        def implementation(run: Any, start: Any, stop: Any, value: Any) -> None:
            i = start
            while i + 16 <= stop:
                _store16(run, i, value)
                i += 16
            while i < stop:
                run[i] = value
                i += 1

        return implementation
