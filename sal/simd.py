"""Matrix products of the compiled engine: register tiles, written in LLVM's vector code.

Numba vectorises plain loops but keeps no tile of sums in registers, which costs it a factor of two
to three here; LLVM's vector types do, on every processor that LLVM knows, without a C compiler.

Every sum is one chain of fused multiply-adds in ascending order of its index, whatever the tile:
how a product is cut into tiles, and whether it is done alone or after another, changes no bit.
(``dots`` sums in lanes first, in an order that its length alone fixes.)

Addresses are integers, sizes and strides count elements, C-contiguous float32 or float64.
"""

from __future__ import annotations

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core import cgutils
from numba.core.types import void
from numba.extending import intrinsic

BYTES = 64
"""Width of a vector: one AVX-512 register, two of AVX2, four of NEON. The same on all, since the
order of ``dots`` depends on it."""

HALF_A_CACHE = 16384
"""Half of the bytes of a first-level cache."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class _Vectors:
    """Emits vector code for one element type; lanes from ``width`` on are left alone, if given."""

    def __init__(self, context, builder, element, width=None):
        self.builder, self.scalar = builder, context.get_value_type(element)
        self.size = element.bitwidth // 8
        self.lanes = BYTES // self.size
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.name = f"v{self.lanes}f{element.bitwidth}"
        self.mask = None
        if width is not None:
            index = ir.Constant(ir.VectorType(_I64, self.lanes), list(range(self.lanes)))
            self.mask = builder.icmp_signed("<", index, self._spread(width))

    def at(self, base, *steps):
        """Address of an element: steps are (index, stride) pairs of integers or IR values."""
        for index, stride in steps:
            index, stride = (_I64(v) if isinstance(v, int) else v for v in (index, stride))
            offset = self.builder.mul(self.builder.mul(index, stride), _I64(self.size))
            base = self.builder.add(base, offset)
        return base

    def load(self, address):
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        if self.mask is None:
            return self.builder.load(pointer, align=self.size)
        arguments = [pointer, _I32(self.size), self.mask, ir.Constant(self.type, None)]
        return self._call("llvm.masked.load.{}.p0", self.type, arguments)

    def store(self, value, address):
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        if self.mask is None:
            self.builder.store(value, pointer, align=self.size)
        else:
            arguments = [value, pointer, _I32(self.size), self.mask]
            self._call("llvm.masked.store.{}.p0", ir.VoidType(), arguments)

    def spread(self, address):
        """One element in every lane."""
        pointer = self.builder.inttoptr(address, self.scalar.as_pointer())
        return self._spread(self.builder.load(pointer, align=self.size))

    def fma(self, a, b, c):
        return self._call("llvm.fma.{}", self.type, [a, b, c])

    def total(self, value):
        """Sum of the lanes, by halves."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            turned = [(i + lanes) % self.lanes for i in range(self.lanes)]
            mask = ir.Constant(ir.VectorType(_I32, self.lanes), turned)
            other = self.builder.shuffle_vector(value, value, mask)
            value = self.builder.fadd(value, other)
        return self.builder.extract_element(value, _I32(0))

    def _spread(self, scalar):
        kind = ir.VectorType(scalar.type, self.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def _call(self, name, result, arguments):
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name.format(self.name))
        return self.builder.call(function, arguments)


def _product_tile(rows: int, vectors: int | None):
    """C[i, :] += sum over t of A[i, t] B[t, :], for ``rows`` rows and that many vectors of columns.

    None: one vector, of which the first ``width`` columns count.
    """
    masked, columns = vectors is None, vectors or 1

    @intrinsic
    def emit(_, c, ldc, a, a_row, a_t, b, ldb, n, width, like):
        def code(context, builder, signature, values):
            c, ldc, a, a_row, a_t, b, ldb, n, width, _ = values
            v = _Vectors(context, builder, signature.args[-1].dtype, width if masked else None)
            tile = [(i, j) for i in range(rows) for j in range(columns)]
            target = {(i, j): v.at(c, (i, ldc), (j, v.lanes)) for i, j in tile}
            sums = {ij: cgutils.alloca_once(builder, v.type) for ij in tile}
            for ij in tile:
                builder.store(v.load(target[ij]), sums[ij])
            with cgutils.for_range(builder, n) as loop:
                b_t = v.at(b, (loop.index, ldb))
                right = [v.load(v.at(b_t, (j, v.lanes))) for j in range(columns)]
                for i in range(rows):
                    left = v.spread(v.at(a, (loop.index, a_t), (i, a_row)))
                    for j in range(columns):
                        total = v.fma(left, right[j], builder.load(sums[i, j]))
                        builder.store(total, sums[i, j])
            for ij in tile:
                v.store(builder.load(sums[ij]), target[ij])
            return context.get_dummy_value()

        return void(*[types.int64] * 9, like), code

    @njit
    def tile(c, ldc, a, a_row, a_t, b, ldb, n, width, like):
        emit(c, ldc, a, a_row, a_t, b, ldb, n, width, like)

    return tile


def _dots_tile(rows: int, columns: int):
    """C[i, j] = sum over t of A[i, t] B[j, t], for ``rows`` times ``columns`` of them."""

    @intrinsic
    def emit(_, c, ldc, a, lda, b, ldb, n, like):
        def code(context, builder, signature, values):
            c, ldc, a, lda, b, ldb, n, _ = values
            whole = _Vectors(context, builder, signature.args[-1].dtype)
            count = builder.sdiv(n, _I64(whole.lanes))
            done = builder.mul(count, _I64(whole.lanes))
            rest = _Vectors(context, builder, signature.args[-1].dtype, builder.sub(n, done))
            tile = [(i, j) for i in range(rows) for j in range(columns)]
            sums = {ij: cgutils.alloca_once(builder, whole.type) for ij in tile}

            def add(v, t):
                left = [v.load(v.at(a, (i, lda), (t, 1))) for i in range(rows)]
                right = [v.load(v.at(b, (j, ldb), (t, 1))) for j in range(columns)]
                for i, j in tile:
                    total = v.fma(left[i], right[j], builder.load(sums[i, j]))
                    builder.store(total, sums[i, j])

            for ij in tile:
                builder.store(ir.Constant(whole.type, None), sums[ij])
            with cgutils.for_range(builder, count) as loop:
                add(whole, builder.mul(loop.index, _I64(whole.lanes)))
            with builder.if_then(builder.icmp_signed("<", done, n)):
                add(rest, done)
            for i, j in tile:
                target = builder.inttoptr(whole.at(c, (i, ldc), (j, 1)), whole.scalar.as_pointer())
                builder.store(whole.total(builder.load(sums[i, j])), target)
            return context.get_dummy_value()

        return void(*[types.int64] * 7, like), code

    @njit
    def tile(c, ldc, a, lda, b, ldb, n, like):
        emit(c, ldc, a, lda, b, ldb, n, like)

    return tile


# Shapes of tiles, rows by vectors, and of ``dots`` rows by columns: as many sums as there are
# registers for, beside their factors.
WITH_AVX512 = ((8, 2), (4, 4), (1, 8), (4, 4))  # 32 registers, a vector each
WITHOUT = ((4, 1), (2, 2), (1, 4), (3, 2))  # AVX2: 16, two a vector; NEON: 32, four a vector
_WIDE = get_host_cpu_features().get("avx512f", False)
_TALL, _MIDDLE, _FLAT, _DOTS = WITH_AVX512 if _WIDE else WITHOUT
(_TALL_ROWS, _TALL_WIDTH), (_MIDDLE_ROWS, _MIDDLE_WIDTH), (_, _FLAT_WIDTH) = _TALL, _MIDDLE, _FLAT
_DOTS_ROWS, _DOTS_COLUMNS = _DOTS
_tall, _tall_end = _product_tile(*_TALL), _product_tile(_TALL_ROWS, None)
_middle, _middle_end = _product_tile(*_MIDDLE), _product_tile(_MIDDLE_ROWS, None)
_flat, _flat_end = _product_tile(*_FLAT), _product_tile(1, None)
_dots, _dot = _dots_tile(*_DOTS), _dots_tile(1, 1)


@njit
def add_product(c, ldc, a, a_row, a_t, b, ldb, rows, n, columns, like):
    """C += A B: C [rows, columns] at stride ldc, A[i, t] at i a_row + t a_t, B [n, columns] at ldb.

    ``like`` is any array of the element type.
    """
    size = like.itemsize
    lanes = BYTES // size
    i = 0
    while i < rows:
        a_i = a + i * a_row * size
        if rows - i >= _TALL_ROWS:
            taken, wide = _TALL_ROWS, _TALL_WIDTH * lanes
        elif rows - i >= _MIDDLE_ROWS:
            taken, wide = _MIDDLE_ROWS, _MIDDLE_WIDTH * lanes
        else:
            taken, wide = 1, _FLAT_WIDTH * lanes
        j = 0
        while j < columns:
            c_ij, b_j, width = c + (i * ldc + j) * size, b + j * size, columns - j
            if width >= wide:
                if taken == _TALL_ROWS:
                    _tall(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                elif taken == _MIDDLE_ROWS:
                    _middle(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                else:
                    _flat(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                j += wide
            else:
                if taken == _TALL_ROWS:
                    _tall_end(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                elif taken == _MIDDLE_ROWS:
                    _middle_end(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                else:
                    _flat_end(c_ij, ldc, a_i, a_row, a_t, b_j, ldb, n, width, like)
                j += lanes
        i += taken


@njit
def add_update(c, ldc, a, a_row, a_t, b, ldb, rows, n, columns, like):
    """``add_product`` for a C that is not in the first-level cache: the same bits.

    Without AVX-512 row by row, so that C is read and written in its order and the processor fetches
    ahead; tiles of several rows wait for memory at each of them. But only while B stays in that
    cache, since each row of C needs all of it.
    """
    narrow = columns < _FLAT_WIDTH * (BYTES // like.itemsize)
    if _WIDE or narrow or n * columns * like.itemsize > HALF_A_CACHE:
        add_product(c, ldc, a, a_row, a_t, b, ldb, rows, n, columns, like)
    else:
        _row_by_row(c, ldc, a, a_row, a_t, b, ldb, rows, n, columns, like)


@njit
def _row_by_row(c, ldc, a, a_row, a_t, b, ldb, rows, n, columns, like):
    for i in range(rows):
        c_i, a_i = c + i * ldc * like.itemsize, a + i * a_row * like.itemsize
        add_product(c_i, ldc, a_i, a_row, a_t, b, ldb, 1, n, columns, like)


@njit
def dots(c, ldc, a, lda, b, ldb, rows, n, columns, like):
    """C = A B^T: C [rows, columns], A [rows, n], B [columns, n], rows at strides ldc, lda, ldb."""
    size = like.itemsize
    for i in range(0, rows, _DOTS_ROWS):
        for j in range(0, columns, _DOTS_COLUMNS):
            if rows - i >= _DOTS_ROWS and columns - j >= _DOTS_COLUMNS:
                c_ij, a_i, b_j = c + (i * ldc + j) * size, a + i * lda * size, b + j * ldb * size
                _dots(c_ij, ldc, a_i, lda, b_j, ldb, n, like)
                continue
            for p in range(i, min(i + _DOTS_ROWS, rows)):
                for q in range(j, min(j + _DOTS_COLUMNS, columns)):
                    c_pq = c + (p * ldc + q) * size
                    _dot(c_pq, ldc, a + p * lda * size, lda, b + q * ldb * size, ldb, n, like)
