"""The register tiles against NumPy, and the order of their sums."""

import itertools

import numpy as np
import pytest
from numba import njit

from sal import simd
from sal.simd import add_product, add_update, dots

TOLERANCE = {np.float32: 2e-6, np.float64: 4e-15}
types = pytest.mark.parametrize("dtype", TOLERANCE)


@njit
def product(c, a, a_row, a_t, b):
    """C += A B, on C's rows as they lie in memory."""
    add_product(
        c.ctypes.data, c.shape[1], a.ctypes.data, a_row, a_t, b.ctypes.data, b.shape[1],
        c.shape[0], b.shape[0], c.shape[1], c,
    )  # fmt: skip


def updating(kernel):
    """C += A^T B, as weights are updated."""

    @njit
    def update(c, a, b):
        kernel(
            c.ctypes.data, c.shape[1], a.ctypes.data, 1, a.shape[1], b.ctypes.data, b.shape[1],
            c.shape[0], b.shape[0], c.shape[1], c,
        )  # fmt: skip

    return update


update, update_by_rows = updating(add_update), updating(simd._row_by_row)


@njit
def transposed(c, a, b):
    dots(
        c.ctypes.data, c.shape[1], a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1],
        c.shape[0], a.shape[1], c.shape[1], c,
    )  # fmt: skip


def draw(dtype, *shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


@types
def test_products_are_numpys(dtype):
    rows, inner, columns = (
        (1, 3, 4, 5, 8, 13, 16),
        (1, 2, 16, 33),
        (1, 10, 16, 17, 33, 64, 128, 200),
    )
    for m, n, h in itertools.product(rows, inner, columns):
        a, b, c = draw(dtype, m, n), draw(dtype, n, h), draw(dtype, m, h, seed=1)
        exact = c.astype(np.longdouble) + a.astype(np.longdouble) @ b.astype(np.longdouble)
        scale = TOLERANCE[dtype] * n**0.5 * 4
        by_row, by_column = c.copy(), c.copy()
        product(by_row, a, n, 1, b)
        product(by_column, np.ascontiguousarray(a.T), 1, m, b)
        np.testing.assert_allclose(by_row, exact.astype(dtype), rtol=scale, atol=scale)
        assert by_row.tobytes() == by_column.tobytes()
        out = np.full((m, h), np.nan, dtype)
        transposed(out, a, np.ascontiguousarray(b.T))
        np.testing.assert_allclose(out, (exact - c).astype(dtype), rtol=scale, atol=scale)


@types
@pytest.mark.parametrize("shapes", [simd.WITH_AVX512, simd.WITHOUT])
def test_the_tiles_of_every_processor_give_the_same_bits(dtype, shapes):
    lanes, n = simd.BYTES // np.dtype(dtype).itemsize, 19
    *of_products, of_dots = shapes
    for rows, vectors in of_products:
        h = vectors * lanes
        a, b, c = draw(dtype, rows, n), draw(dtype, n, h), draw(dtype, rows, h, seed=1)
        ours, expected = c.copy(), c.copy()
        arrays = (ours.ctypes.data, h, a.ctypes.data, n, 1, b.ctypes.data, h, n, h, ours)
        simd._product_tile(rows, vectors)(*arrays)
        product(expected, a, n, 1, b)
        assert ours.tobytes() == expected.tobytes()
    rows, columns = of_dots
    a, b = draw(dtype, rows, n), draw(dtype, columns, n)
    ours, expected = np.empty((rows, columns), dtype), np.empty((rows, columns), dtype)
    arrays = (ours.ctypes.data, columns, a.ctypes.data, n, b.ctypes.data, n, n, ours)
    simd._dots_tile(rows, columns)(*arrays)
    transposed(expected, a, b)
    assert ours.tobytes() == expected.tobytes()


@types
def test_an_update_is_the_product_bit_for_bit(dtype):
    for m, n, h in itertools.product((1, 5, 32), (1, 2, 16, 33), (10, 64, 100, 256)):
        a, b, c = draw(dtype, n, m), draw(dtype, n, h), draw(dtype, m, h, seed=1)
        ours, expected = c.copy(), c.copy()
        by_rows = c.copy()
        update(ours, a, b)
        update_by_rows(by_rows, a, b)  # on every processor
        product(expected, a, 1, m, b)
        assert ours.tobytes() == by_rows.tobytes() == expected.tobytes() != c.tobytes()


@types
def test_nothing_beside_the_columns_is_touched(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    for rows, columns in itertools.product((1, 4, 8), (1, lanes - 1, lanes + 1, 8 * lanes + 3)):
        memory = draw(dtype, rows * columns + 2 * lanes)
        before, c = memory.copy(), memory[lanes:-lanes].reshape(rows, columns)
        product(c, draw(dtype, rows, 3), 3, 1, draw(dtype, 3, columns))
        assert memory[:lanes].tobytes() == before[:lanes].tobytes()
        assert memory[-lanes:].tobytes() == before[-lanes:].tobytes()
        assert not np.array_equal(memory, before)


@types
def test_how_a_product_is_cut_changes_no_bit(dtype):
    """Every sum is one chain in ascending order, whatever the tile it is made in."""
    m, n, h = 23, 41, 203
    a, b, c = draw(dtype, m, n), draw(dtype, n, h), draw(dtype, m, h, seed=1)
    whole = c.copy()
    product(whole, a, n, 1, b)
    for cuts in ((1,) * m, (8, 8, 7), (4, 16, 3), (5, 11, 7)):
        parts, first = c.copy(), 0
        for rows in cuts:
            for t in (0, 7, 30):  # and the inner sum in three goes
                stop = {0: 7, 7: 30, 30: n}[t]
                left = np.ascontiguousarray(a[first : first + rows, t:stop])
                product(parts[first : first + rows], left, stop - t, 1, b[t:stop])
            first += rows
        assert parts.tobytes() == whole.tobytes()
