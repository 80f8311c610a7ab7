"""A step of a fully connected net in plain arithmetic: what ``sal.compiled`` compiles.

A net is a plan: one row of integers a layer, with the columns below; arrays are given by address,
0 if there is none. Buffers are given by address, too, and are row by row without gaps.

Equation numbers are those of the paper (arXiv 2601.21561).
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from sal.areas import NORMS
from sal.config import ACTIVATIONS, RESIDUALS
from sal.simd import BYTES, add_product, dots

BLOCK = 32768
"""Bytes of weights worked on at a time: they stay in the first-level cache."""

# Columns of a plan.
INPUTS, OUTPUTS, AREAS, FEATURES, ACTIVATION, RESIDUAL, SLOTS = range(7)
WEIGHT, BIAS, FEEDBACK, ROUTER, ROUTER_BIAS, PROTOTYPES, BACKWARD = range(7, 14)
# Columns of a layer's places in the scratch memory.
X, F_OF_A, SORTED_X, SORTED_DELTA, R = range(5)
RELU, TANH = ACTIVATIONS.index("relu"), ACTIVATIONS.index("tanh")
AFTER, INSIDE = RESIDUALS.index("after"), RESIDUALS.index("inside")
SHARE, BATCH = NORMS.index("share"), NORMS.index("batch")


@intrinsic
def _pointer(_, address, like):
    def code(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), code


@njit
def _flat(address, length, like):
    """The numbers at an address as an array."""
    return carray(_pointer(address, like), (length,))


@njit
def _error(z, rows, columns, y_N, index, like):
    """softmax(z) - one_hot(y), in place."""
    for s in range(rows):
        z_s = _flat(z + s * columns * like.itemsize, columns, like)
        z_s[:] = np.exp(z_s - z_s.max())
        z_s /= z_s.sum()
        z_s[y_N[index[s]]] -= 1


@njit
def _target(delta, rows, H, feedback, y_N, index, like):
    """-one_hot(y) through the feedback: a row of it, negative; without one, -one_hot(y) itself."""
    for s in range(rows):
        d_s, label = _flat(delta + s * H * like.itemsize, H, like), y_N[index[s]]
        if feedback == 0:
            d_s[:] = 0
            d_s[label] = -1
        else:
            d_s[:] = _flat(feedback + label * H * like.itemsize, H, like)
            for h in range(H):
                d_s[h] = -d_s[h]


@njit
def _activate(f, length, kind, like):
    a = _flat(f, length, like)
    if kind == RELU:
        for i in range(length):
            a[i] = a[i] if a[i] > 0 or a[i] != a[i] else 0
    elif kind == TANH and like.itemsize == 4:
        _tanh_float32(a)
    elif kind == TANH:
        for i in range(length):
            a[i] = np.tanh(a[i])


_LIMIT = np.float32(7.90531110763549805)  # beyond it float32's tanh is 1
_TINY = np.float32(0.0004)  # below it tanh(x) is x
_ODD = tuple(
    np.float32(c)
    for c in (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    )
)
_EVEN = tuple(
    np.float32(c)
    for c in (
        1.19825839466702e-06,
        1.18534705686654e-04,
        2.26843463243900e-03,
        4.89352518554385e-03,
    )
)


@njit(fastmath={"contract"})
def _tanh_float32(a):
    """tanh in place, within 5 units of the last place: Eigen's rational function of x."""
    for i in range(a.size):
        x = np.float32(a[i])
        x = _LIMIT if x > _LIMIT else -_LIMIT if x < -_LIMIT else x
        y = x * x
        p = _ODD[0]
        p = p * y + _ODD[1]
        p = p * y + _ODD[2]
        p = p * y + _ODD[3]
        p = p * y + _ODD[4]
        p = p * y + _ODD[5]
        p = p * y + _ODD[6]
        q = _EVEN[0]
        q = q * y + _EVEN[1]
        q = q * y + _EVEN[2]
        q = q * y + _EVEN[3]
        a[i] = x if abs(x) < _TINY else x * p / q


@njit
def _times_derivative(delta, f, length, kind, like):
    d, f = _flat(delta, length, like), _flat(f, length, like)
    if kind == RELU:
        for i in range(length):
            d[i] = d[i] if f[i] > 0 else 0 * d[i]
    elif kind == TANH:
        for i in range(length):
            d[i] *= 1 - f[i] * f[i]


@njit
def _limit(delta, most):
    """Bounds elements as torch.clamp does: what is not a number stays so."""
    for i in range(delta.size):
        delta[i] = most if delta[i] > most else -most if delta[i] < -most else delta[i]


@njit
def _copy_rows(target, source, rows, columns, order, scatter, like):
    """Row s of the target is row order[s] of the source; with ``scatter`` the other way round."""
    size = columns * like.itemsize
    for s in range(rows):
        t, q = _flat(target, 0, like), _flat(source, 0, like)
        if scatter:
            t = _flat(target + order[s] * size, columns, like)
            q = _flat(source + s * size, columns, like)
        else:
            t = _flat(target + s * size, columns, like)
            q = _flat(source + order[s] * size, columns, like)
        t[:] = q


@njit
def _choose(x, rows, row, r, scores, area, like):
    """Routing features and each sample's area (eq. 1 to 3)."""
    D, K, F, size = row[INPUTS], row[AREAS], row[FEATURES], like.itemsize
    for s in range(rows):
        r_s = _flat(r + s * F * size, F, like)
        if row[ROUTER_BIAS] != 0:
            r_s[:] = _flat(row[ROUTER_BIAS], F, like)
        else:
            r_s[:] = 0
    add_product(r, F, x, D, 1, row[ROUTER], F, rows, D, F, like)
    dots(scores, K, r, F, row[PROTOTYPES], F, rows, F, K, like)
    for s in range(rows):
        score = _flat(scores + s * K * size, K, like)
        best = 0
        for k in range(1, K):
            # Like torch.argmax: the first of equals, and a NaN beats numbers.
            if score[k] > score[best] or (score[k] != score[k] and score[best] == score[best]):
                best = k
        area[s] = best


@njit
def _group(area, rows, K, order, start):
    """A stable sort by area: order[start[k]:start[k + 1]] are the samples of area k."""
    start[: K + 1] = 0
    for s in range(rows):
        start[area[s] + 1] += 1
    for k in range(K):
        start[k + 1] += start[k]
    for s in range(rows):
        order[start[area[s]]] = s
        start[area[s]] += 1
    for k in range(K, 0, -1):
        start[k] = start[k - 1]
    start[0] = 0


@njit
def _visit(w, D, H, x_old, delta_old, n_old, x_new, out, n_new, like):
    """Adds the waiting update of an area to its weights and takes new samples through them."""
    size = like.itemsize
    block = max(BLOCK // (H * size) // 8 * 8, 8)
    for d in range(0, D, block):
        n, w_d = min(block, D - d), w + d * H * size
        if n_old > 0:
            add_product(w_d, H, x_old + d * size, 1, D, delta_old, H, n, n_old, H, like)
        if n_new > 0:
            add_product(out, H, x_new + d * size, D, 1, w_d, H, n_new, n, H, like)


@njit
def _apply(row, place, k, waiting, batch, like):
    """Adds area k's waiting update, if there is one."""
    slot, first, count = waiting[k]
    if count > 0:
        D, H, size = row[INPUTS], row[OUTPUTS], like.itemsize
        at = slot * batch + first
        x, delta = place[SORTED_X] + at * D * size, place[SORTED_DELTA] + at * H * size
        _visit(row[WEIGHT] + k * D * H * size, D, H, x, delta, count, 0, 0, 0, like)
        waiting[k, 2] = 0


@njit
def _forward(row, place, out, o, rows, batch, step, area, order, start, waiting, scores, like):
    """One layer (eq. 1 to 5): from its x to its f(a), and to the next layer's x at ``out``."""
    D, H, K, size = row[INPUTS], row[OUTPUTS], row[AREAS], like.itemsize
    x, f = place[X], place[F_OF_A]
    if K > 1:
        _choose(x, rows, row, place[R], scores, area, like)
        _group(area, rows, K, order, start)
    else:
        start[0], start[1] = 0, rows
    slot = 0
    if row[SLOTS] > 0:
        slot = step % row[SLOTS]
        for k in range(K):
            if waiting[k, 0] == slot:
                _apply(row, place, k, waiting, batch, like)
    x_sorted, o_sorted = x, f
    if place[SORTED_X] != x:
        x_sorted = place[SORTED_X] + slot * batch * D * size
        _copy_rows(x_sorted, x, rows, D, order, False, like)
    if K > 1:
        o_sorted = o
    for k in range(K):
        first, count = start[k], start[k + 1] - start[k]
        if count == 0:
            continue
        o_k = o_sorted + first * H * size
        for s in range(count):
            o_s = _flat(o_k + s * H * size, H, like)
            if row[BIAS] != 0:
                o_s[:] = _flat(row[BIAS] + k * H * size, H, like)
            else:
                o_s[:] = 0
        old = (waiting[k, 0] * batch + waiting[k, 1]) * size
        x_old, delta_old = place[SORTED_X] + old * D, place[SORTED_DELTA] + old * H
        x_k, w_k = x_sorted + first * D * size, row[WEIGHT] + k * D * H * size
        _visit(w_k, D, H, x_old, delta_old, waiting[k, 2], x_k, o_k, count, like)
    if K > 1:
        _copy_rows(f, o, rows, H, order, True, like)
    a, x_s = _flat(f, rows * H, like), _flat(x, rows * H, like)  # x_s is read where D = H only
    if row[RESIDUAL] == INSIDE:
        for i in range(rows * H):
            a[i] += x_s[i]
    _activate(f, rows * H, row[ACTIVATION], like)
    if row[RESIDUAL] == AFTER:
        h = _flat(out, rows * H, like)
        for i in range(rows * H):
            h[i] = a[i] + x_s[i]


@njit
def _descend(row, place, delta, rows, batch, step, norm, lr, order, start, waiting, like):
    """Scales the layer's error to its step and adds the update, or lets it wait (eq. 7 and 8)."""
    D, H, K, size = row[INPUTS], row[OUTPUTS], row[AREAS], like.itemsize
    slot = step % row[SLOTS] if row[SLOTS] > 0 else 0
    target = place[SORTED_DELTA] + slot * batch * H * size
    x = place[SORTED_X]
    if x != place[X]:
        x += slot * batch * D * size
    for k in range(K):
        first, count = start[k], start[k + 1] - start[k]
        if count == 0:
            continue
        share = K / rows if norm == SHARE else 1 / rows if norm == BATCH else 1 / count
        rate = like.dtype.type(-lr * share)
        bias = _flat(row[BIAS] + k * H * size, H if row[BIAS] != 0 else 0, like)
        for s in range(first, first + count):
            d_s = _flat(target + s * H * size, H, like)
            d_s[:] = _flat(delta + (order[s] if K > 1 else s) * H * size, H, like)
            for h in range(H):
                d_s[h] *= rate
            for h in range(bias.size):
                bias[h] += d_s[h]
        if row[SLOTS] > 0:
            waiting[k, 0], waiting[k, 1], waiting[k, 2] = slot, first, count
        else:
            x_k, delta_k = x + first * D * size, target + first * H * size
            w_k = row[WEIGHT] + k * D * H * size
            _visit(w_k, D, H, x_k, delta_k, count, 0, 0, 0, like)


@njit
def _descend_router(row, place, q, rows, rate, y_N, index, like):
    """The router descends the cross-entropy of its features (eq. 9)."""
    D, F, size = row[INPUTS], row[FEATURES], like.itemsize
    _flat(q, rows * F, like)[:] = _flat(place[R], rows * F, like)
    _error(q, rows, F, y_N, index, like)
    _flat(q, rows * F, like)[:] *= like.dtype.type(rate)
    add_product(row[ROUTER], F, place[X], 1, D, q, F, D, rows, F, like)
    c = _flat(row[ROUTER_BIAS], F if row[ROUTER_BIAS] != 0 else 0, like)
    for s in range(rows if c.size > 0 else 0):
        c += _flat(q + s * F * size, F, like)


@njit
def _whole_vectors(length, size):
    """The least number of elements >= ``length`` that fills vectors."""
    return (length * size + BYTES - 1) // BYTES * BYTES // size


@njit
def _reserve(plan, batch, size):
    """Places of every layer's arrays in the scratch memory, of shared ones, and its length."""
    layers = len(plan)
    places, shared = np.zeros((layers + 1, 5), np.int64), np.zeros(4, np.int64)
    end, widest = 0, 1
    for n in range(layers):
        row = plan[n]
        D, H, K = row[INPUTS], row[OUTPUTS], row[AREAS]
        widest = max(widest, H, K, row[FEATURES])
        places[n, X] = end
        end += _whole_vectors(batch * D, size)
        places[n, R] = end
        end += _whole_vectors(batch * row[FEATURES], size)
        if K > 1 or row[SLOTS] > 0:
            places[n, SORTED_X] = end
            end += _whole_vectors(max(row[SLOTS], 1) * batch * D, size)
        else:
            places[n, SORTED_X] = places[n, X]
        if row[SLOTS] > 0:
            places[n, SORTED_DELTA] = end
            end += _whole_vectors(row[SLOTS] * batch * H, size)
    places[layers, X] = end
    end += _whole_vectors(batch * plan[layers - 1, OUTPUTS], size)
    for i in range(len(shared)):
        shared[i] = end
        end += _whole_vectors(batch * widest, size)
    for n in range(layers):
        if plan[n, SLOTS] == 0:
            places[n, SORTED_DELTA] = shared[3]
        places[n, F_OF_A] = places[n + 1, X]
        if plan[n, RESIDUAL] == AFTER:
            places[n, F_OF_A] = end
            end += _whole_vectors(batch * plan[n, OUTPUTS], size)
    return places, shared, end + BYTES // size


@njit(nogil=True)
def steps(plan, numbers, rates, x_ND, scale, offset, y_N, order_M, like):
    """All steps of one replica: inputs x_ND * scale + offset, in the order given.

    ``numbers`` are whether errors are chained, whether they are multiplied by f'(a), the position
    of the update's divisor in ``NORMS``, the batch size, and whether hidden layers get the target
    for an error; ``rates`` the step size, the router's multiple of it, the bound of the errors'
    elements, and each layer's multiple of the step size; ``like`` is any array of the net's type.
    """
    chained, derivative, norm, batch = numbers[0] != 0, numbers[1] != 0, numbers[2], numbers[3]
    target = numbers[4] != 0
    lr, router_rate, limit = rates[0], rates[1], rates[2]
    layers, size = len(plan), like.itemsize
    lowest = 0  # layer that learns
    while lowest < layers and rates[3 + lowest] == 0:
        lowest += 1
    batch = min(batch, len(order_M))
    places, shared, length = _reserve(plan, batch, size)
    scratch = np.empty(length, like.dtype)
    base = (scratch.ctypes.data + BYTES - 1) // BYTES * BYTES
    places, shared = base + places * size, base + shared * size
    o, delta, grad = shared[0], shared[1], shared[2]
    D, C = plan[0, INPUTS], plan[-1, OUTPUTS]
    areas = plan[:, AREAS].max()
    area = np.zeros((layers, batch), np.int64)
    order = np.zeros((layers, batch), np.int64)
    for n in range(layers):
        order[n] = np.arange(batch)
    start = np.zeros((layers, areas + 1), np.int64)
    waiting = np.zeros((layers, areas, 3), np.int64)
    a, b = np.float32(scale), np.float32(offset)
    step = 0
    for begin in range(0, len(order_M), batch):
        index = order_M[begin : begin + batch]
        rows = len(index)
        for s in range(rows):
            x_s, values = _flat(places[0, X] + s * D * size, D, like), x_ND[index[s]]
            for d in range(D):
                x_s[d] = values[d] * a + b
        for n in range(layers):
            out = places[n + 1, X]
            _forward(
                plan[n], places[n], out, o, rows, batch, step,
                area[n], order[n], start[n], waiting[n], shared[3], like,
            )  # fmt: skip
        z = places[layers, X]
        _error(z, rows, C, y_N, index, like)
        for n in range(layers - 1, lowest - 1, -1):
            row, place, H = plan[n], places[n], plan[n, OUTPUTS]
            d = _flat(delta, rows * H, like)
            if target and n < layers - 1:
                _target(delta, rows, H, row[FEEDBACK], y_N, index, like)
            elif n == layers - 1 or (not chained and row[FEEDBACK] == 0):
                d[:] = _flat(z, rows * H, like)
            elif chained:
                d[:] = _flat(grad, rows * H, like)
            else:
                d[:] = 0
                add_product(delta, H, z, C, 1, row[FEEDBACK], H, rows, C, H, like)
            if derivative:
                _times_derivative(delta, place[F_OF_A], rows * H, row[ACTIVATION], like)
            if limit < np.inf:
                _limit(d, like.dtype.type(limit))
            if chained and n > lowest:
                g = _flat(grad, rows * row[INPUTS], like)
                if row[RESIDUAL] == AFTER:  # the error passes beside the layer, too
                    g_old = g.copy()
                back = row[BACKWARD] if row[BACKWARD] != 0 else row[WEIGHT]
                dots(grad, row[INPUTS], delta, H, back, H, rows, H, row[INPUTS], like)
                if row[RESIDUAL] == INSIDE:
                    g += d
                elif row[RESIDUAL] == AFTER:
                    g += g_old
            if row[FEATURES] > 0:
                rate = -lr * router_rate / rows
                _descend_router(row, place, o, rows, rate, y_N, index, like)
            if rates[3 + n] != 0:
                _descend(
                    row, place, delta, rows, batch, step, norm, lr * rates[3 + n],
                    order[n], start[n], waiting[n], like,
                )  # fmt: skip
        step += 1
    for n in range(layers):
        for k in range(plan[n, AREAS]):
            _apply(plan[n], places[n], k, waiting[n], batch, like)
    return scratch.size  # keeps the memory alive to the end
