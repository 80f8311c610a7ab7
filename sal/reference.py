"""SAL once more, slowly: one sample at a time, in float64, in the paper's symbols. For tests only.

NumPy and loops, sharing no line with ``sal.sal``: where the two agree, both say what the text says.

Symbols: x input, y label, l layer, r routing features (eq. 1), s scores (eq. 2), k area (eq. 3),
W weights (eq. 4), h layer output (eq. 5), B feedback and delta error (eq. 6), S_k samples of area k
(eq. 7), m batch size.
"""

from __future__ import annotations

import numpy as np

from sal.sal import SALConfig


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z) / sum exp(z) of one vector."""
    p = np.exp(z - z.max())
    return p / p.sum()


def forward(theta: dict, config: SALConfig, x: np.ndarray) -> list[dict]:
    """One sample through all layers; for each its input, features, area, pre-activation, output."""
    h, layers = x, []
    for l in range(len(config.hidden) + 1):
        hidden = l < len(config.hidden)
        W, b = theta[f"weight{l}"], theta.get(f"bias{l}")
        k, r = 0, None
        if W.shape[0] > 1:
            r = theta[f"router{l}"].T @ h + theta.get(f"router_bias{l}", 0)
            s = [float(p @ r) for p in theta[f"prototypes{l}"]]
            k = int(np.argmax(s))
        a = W[k].T @ h + (0 if b is None else b[k])
        square = hidden and W.shape[1] == W.shape[2]
        if square and config.residual == "inside":
            a = a + h
        name = config.activation if hidden else "linear"
        if l == 0 and hidden and config.input_activation is not None:
            name = config.input_activation
        f, slope = {
            "relu": (np.maximum(a, 0), (a > 0).astype(float)),
            "tanh": (np.tanh(a), 1 - np.tanh(a) ** 2),
            "linear": (a, np.ones_like(a)),
        }[name]
        layers.append({"x": h, "r": r, "k": k, "slope": slope})
        h = f + h if square and config.residual == "after" else f
    layers[-1]["z"] = h
    return layers


def update(theta: dict, config: SALConfig, x_BD: np.ndarray, y_B: np.ndarray) -> dict:
    """What a step subtracts, divided by its step size, for every learned array of ``theta``."""
    learned = ("weight", "bias", "router")
    out = {name: np.zeros_like(t) for name, t in theta.items() if name.startswith(learned)}
    samples = [forward(theta, config, x) for x in x_BD]
    m = len(y_B)
    for l in range(len(config.hidden) + 1):
        K, C = theta[f"weight{l}"].shape[0], len(samples[0][-1]["z"])
        size = {k: sum(layers[l]["k"] == k for layers in samples) for k in range(K)}
        for layers, y in zip(samples, y_B, strict=True):
            x, r, k = layers[l]["x"], layers[l]["r"], layers[l]["k"]
            e = softmax(layers[-1]["z"]) - np.eye(C)[y]
            B = theta.get(f"feedback{l}", np.eye(C))
            delta = B.T @ e
            if config.derivative:
                delta = delta * layers[l]["slope"]
            if config.error_limit is not None:
                delta = np.clip(delta, -config.error_limit, config.error_limit)
            if l == len(config.hidden):
                delta = delta * config.output_rate
            n = {"share": m / K, "batch": m, "count": size[k]}[config.area_norm]
            out[f"weight{l}"][k] += np.outer(x, delta) / n
            if config.bias:
                out[f"bias{l}"][k] += delta / n
            if r is not None:
                q = softmax(r) - np.eye(len(r))[y]
                out[f"router{l}"] += config.router_rate * np.outer(x, q) / m
                if config.router_bias:
                    out[f"router_bias{l}"] += config.router_rate * q / m
    return out
