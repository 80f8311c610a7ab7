"""A step of a fully connected net in plain arithmetic: what ``sal.compiled`` compiles.

A net is a plan: one row of integers a layer, with the columns below; arrays are given by address,
0 if there is none. Buffers are given by address, too, and are row by row without gaps.

Equation numbers are those of the paper (arXiv 2601.21561).
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from sal import hashing
from sal.config import ACTIVATIONS, NORMS, RESIDUALS
from sal.mixture import BALANCES
from sal.simd import BYTES, add_product, add_update, dots

BLOCK = 32768
"""Bytes of weights worked on at a time: they stay in the first-level cache."""
ALIAS = 4096
"""Bytes apart at which numbers share places in the first-level cache."""

# Columns of a plan.
INPUTS, OUTPUTS, AREAS, FEATURES, ACTIVATION, RESIDUAL, SLOTS, EXPERTS, FRESH = range(9)
WEIGHT, BIAS, FEEDBACK, ROUTER, ROUTER_BIAS, PROTOTYPES, BACKWARD, SALT = range(9, 17)
# Columns of a layer's places in the scratch memory.
X, F_OF_A, SORTED_X, SORTED_DELTA, R, GATES = range(6)
RELU, TANH = ACTIVATIONS.index("relu"), ACTIVATIONS.index("tanh")
AFTER, INSIDE = RESIDUALS.index("after"), RESIDUALS.index("inside")
SHARE, BATCH = NORMS.index("share"), NORMS.index("batch")
IMPORTANCE = BALANCES.index("importance")
_mix, _upper = njit(hashing.mix), njit(hashing.upper)


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
    if row[PROTOTYPES] != 0:
        dots(scores, K, r, F, row[PROTOTYPES], F, rows, F, K, like)
    else:
        scores = r
    for s in range(rows):
        score = _flat(scores + s * K * size, K, like)
        best = 0
        for k in range(1, K):
            # Like torch.argmax: the first of equals, and a NaN beats numbers.
            if score[k] > score[best] or (score[k] != score[k] and score[best] == score[best]):
                best = k
        area[s] = best


@njit
def _hash(x, rows, D, row, area, like):
    """Each sample's area by a hash of the net's input: ``hashing.areas_by_hash``."""
    salt, whole = _flat(row[SALT], D, np.empty(0, np.int64)), np.int64(0)
    x_s = np.empty(D, np.float32)
    bits = x_s.view(np.int32)
    for s in range(rows):
        x_s[:] = _flat(x + s * D * like.itemsize, D, like)
        for d in range(D):
            if x_s[d] == 0:
                x_s[d] = 0  # and not -0.0
        z = np.int64(0)
        for d in range(D):
            z += np.int64(bits[d]) * salt[d]
        area[s] = z
        whole += z
    for s in range(rows):
        z = area[s] ^ _mix(whole) if row[FRESH] != 0 else area[s]
        area[s] = _upper(_mix(z)) % row[AREAS]


@njit
def _mix_areas(row, place, f, out, rows, area, like):
    """Gates, the softmax of the scores, and each sample's output times its area's."""
    H, K, size = row[OUTPUTS], row[AREAS], like.itemsize
    for s in range(rows):
        p = _flat(place[GATES] + s * K * size, K, like)
        r = _flat(place[R] + s * K * size, K, like)
        p[:] = np.exp(r - r.max())
        p /= p.sum()
        f_s, out_s = _flat(f + s * H * size, H, like), _flat(out + s * H * size, H, like)
        for h in range(H):
            out_s[h] = p[area[s]] * f_s[h]


@njit
def _unmix(row, place, delta, q, rows, area, balance, weight, like):
    """From the gradient in a mixture's output, in place, that in f(a), and in the scores at q.

    Both of the summed loss: of ``rows`` times the imbalance (``mixture.imbalance``).
    """
    H, K, size = row[OUTPUTS], row[AREAS], like.itemsize
    sums = np.zeros(K, like.dtype)  # of the gates, or of the samples, that an area has
    for s in range(rows):
        p = _flat(place[GATES] + s * K * size, K, like)
        sums[area[s]] += p[area[s]] if balance == IMPORTANCE else 1
    total, squares = sums.sum(), (sums * sums).sum()
    for s in range(rows):
        k, p = area[s], _flat(place[GATES] + s * K * size, K, like)
        d_s, f_s = (
            _flat(delta + s * H * size, H, like),
            _flat(place[F_OF_A] + s * H * size, H, like),
        )
        in_gate = like.dtype.type(0)
        for h in range(H):
            in_gate += d_s[h] * f_s[h]
            d_s[h] *= p[k]
        if balance == IMPORTANCE:
            slope = 2 * K * (sums[k] * total - squares) / (total * total * total)
            in_gate += like.dtype.type(weight * rows * slope)
        q_s = _flat(q + s * K * size, K, like)
        for j in range(K):
            q_s[j] = -in_gate * p[k] * p[j]
        q_s[k] += in_gate * p[k]
        if balance != IMPORTANCE:
            mean = (p * sums).sum()
            for j in range(K):
                q_s[j] += like.dtype.type(weight * K / rows) * p[j] * (sums[j] - mean)


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
def _turn(target, source, rows, columns, stride, like):
    """The transpose of a matrix: row s of the source lies s strides on."""
    for s in range(rows):
        row = _flat(source + s * stride * like.itemsize, columns, like)
        for i in range(columns):
            target[i * rows + s] = row[i]


@njit
def _visit(w, D, H, x_old, delta_old, n_old, x_new, out, n_new, like):
    """Adds the waiting update of an area to its weights and takes new samples through them."""
    size = like.itemsize
    block = max(BLOCK // (H * size) // 8 * 8, 8)
    turned = np.empty(block * n_old if D * size % ALIAS == 0 else 0, like.dtype)
    for d in range(0, D, block):
        n, w_d = min(block, D - d), w + d * H * size
        x, to_next_row, to_next_sample = x_old + d * size, 1, D
        if turned.size > 0:  # asked in each round, so that its memory lives as long as the loop
            _turn(turned, x, n_old, n, D, like)
            x, to_next_row, to_next_sample = turned.ctypes.data, n_old, 1
        if n_old > 0:
            add_update(w_d, H, x, to_next_row, to_next_sample, delta_old, H, n, n_old, H, like)
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
        if row[SALT] == 0:
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
    h = _flat(out, rows * H, like)  # f(a) itself unless it has a place of its own
    if row[EXPERTS] > 0:
        _mix_areas(row, place, f, out, rows, area, like)
    if row[RESIDUAL] == AFTER:
        for i in range(rows * H):
            h[i] = (h[i] if row[EXPERTS] > 0 else a[i]) + x_s[i]


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
def _send_back(row, delta, grad, sorted_delta, sorted_grad, rows, order, start, like):
    """The layer's error in its input: each sample's through its own area's weights.

    Or through the matrix that stands in for them.
    """
    D, H, K, size = row[INPUTS], row[OUTPUTS], row[AREAS], like.itemsize
    if K == 1:
        back = row[BACKWARD] if row[BACKWARD] != 0 else row[WEIGHT]
        dots(grad, D, delta, H, back, H, rows, H, D, like)
        return
    _copy_rows(sorted_delta, delta, rows, H, order, False, like)
    for k in range(K):
        first, count = start[k], start[k + 1] - start[k]
        if count > 0:
            to, what = sorted_grad + first * D * size, sorted_delta + first * H * size
            dots(to, D, what, H, row[WEIGHT] + k * D * H * size, H, count, H, D, like)
    _copy_rows(grad, sorted_grad, rows, D, order, True, like)


@njit
def _router_error(row, place, q, rows, y_N, index, like):
    """Gradient of the cross-entropy of the router's features in them (eq. 9)."""
    F = row[FEATURES]
    _flat(q, rows * F, like)[:] = _flat(place[R], rows * F, like)
    _error(q, rows, F, y_N, index, like)


@njit
def _descend_router(row, place, q, rows, rate, like):
    """The router descends by q, the error of its features."""
    D, F, size = row[INPUTS], row[FEATURES], like.itemsize
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
    places, shared = np.zeros((layers + 1, 6), np.int64), np.zeros(5, np.int64)
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
        if plan[n, RESIDUAL] == AFTER or plan[n, EXPERTS] > 0:
            places[n, F_OF_A] = end
            end += _whole_vectors(batch * plan[n, OUTPUTS], size)
        places[n, GATES] = end
        end += _whole_vectors(batch * plan[n, AREAS] if plan[n, EXPERTS] > 0 else 0, size)
    return places, shared, end + BYTES // size


@njit(nogil=True)
def steps(plan, numbers, rates, x_ND, scale, offset, y_N, order_M, like):
    """All steps of one replica: inputs x_ND * scale + offset, in the order given.

    ``numbers`` are whether errors are chained, whether they are multiplied by f'(a), the position
    of the update's divisor in ``NORMS``, the batch size, whether hidden layers get the target for
    an error, and the position of the mixtures' balance in ``BALANCES``; ``rates`` the step size,
    the router's multiple of it, the bound of the errors' elements, the balance's weight, and each
    layer's multiple of the step size; ``like`` is any array of the net's type.
    """
    chained, derivative, norm, batch = numbers[0] != 0, numbers[1] != 0, numbers[2], numbers[3]
    target, balance = numbers[4] != 0, numbers[5]
    lr, router_rate, limit, balance_weight = rates[0], rates[1], rates[2], rates[3]
    rate_of = rates[4:]
    layers, size = len(plan), like.itemsize
    lowest = 0  # layer that learns
    while lowest < layers and rate_of[lowest] == 0:
        lowest += 1
    batch = min(batch, len(order_M))
    places, shared, length = _reserve(plan, batch, size)
    scratch = np.empty(length, like.dtype)
    base = (scratch.ctypes.data + BYTES - 1) // BYTES * BYTES
    places, shared = base + places * size, base + shared * size
    o, delta, grad, q = shared[0], shared[1], shared[2], shared[4]
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
            if plan[n, SALT] != 0:
                _hash(places[0, X], rows, D, plan[n], area[n], like)
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
            if chained and n > lowest and row[RESIDUAL] == AFTER:
                beside = d.copy()  # the error passes beside the layer, too
            if row[EXPERTS] > 0:
                _unmix(row, place, delta, q, rows, area[n], balance, balance_weight, like)
            elif row[FEATURES] > 0 and router_rate != 0:
                _router_error(row, place, q, rows, y_N, index, like)
            if derivative:
                _times_derivative(delta, place[F_OF_A], rows * H, row[ACTIVATION], like)
            if limit < np.inf:
                _limit(d, like.dtype.type(limit))
            if chained and n > lowest:
                g = _flat(grad, rows * row[INPUTS], like)
                _send_back(row, delta, grad, o, shared[3], rows, order[n], start[n], like)
                if row[RESIDUAL] == INSIDE:
                    g += d
                elif row[RESIDUAL] == AFTER:
                    g += beside
                if row[EXPERTS] > 0:  # scores depend on the input, too
                    K, D_n = row[AREAS], row[INPUTS]
                    dots(o, D_n, q, K, row[ROUTER], K, rows, K, D_n, like)
                    g += _flat(o, rows * D_n, like)
            if row[FEATURES] > 0 and router_rate != 0:
                _descend_router(row, place, q, rows, -lr * router_rate / rows, like)
            if rate_of[n] != 0:
                _descend(
                    row, place, delta, rows, batch, step, norm, lr * rate_of[n],
                    order[n], start[n], waiting[n], like,
                )  # fmt: skip
        step += 1
    for n in range(layers):
        for k in range(plan[n, AREAS]):
            _apply(plan[n], places[n], k, waiting[n], batch, like)
    return scratch.size  # keeps the memory alive to the end
