"""Small numpy programs run in bfloat16 by wrapping their inputs: Runge-Kutta, LU, power iteration, k-means."""

import numpy as np

import floatemu as fe


def runge_kutta(f, y, h, steps):
    """Classical fourth-order steps of y' = f(y)."""
    for _ in range(steps):
        a = f(y)
        b = f(y + a * (h / 2))
        c = f(y + b * (h / 2))
        d = f(y + c * h)
        y = y + (a + 2 * b + 2 * c + d) * (h / 6)
    return y


def lu(a):
    """LU factors in one array, without pivoting."""
    a = a.copy()
    for k in range(len(a) - 1):
        a[k + 1 :, k] = a[k + 1 :, k] / a[k, k]
        a[k + 1 :, k + 1 :] = a[k + 1 :, k + 1 :] - a[k + 1 :, k].reshape(-1, 1) * a[k, k + 1 :].reshape(1, -1)
    return a


def power_iteration(a, v, steps):
    """The largest eigenvalue of a symmetric matrix."""
    for _ in range(steps):
        w = a @ v
        v = w / np.linalg.norm(w)
    return v @ (a @ v)


def k_means(points, centres, steps):
    """Lloyd's algorithm."""
    for _ in range(steps):
        difference = np.expand_dims(points, 1) - np.expand_dims(centres, 0)
        nearest = np.argmin(np.sum(difference * difference, axis=2), axis=1)
        for j in range(len(centres)):
            centres[j] = np.mean(points[nearest == j], axis=0)
    return centres


def main():
    draw = np.random.Generator(np.random.PCG64(0))
    matrix = draw.standard_normal((6, 6))
    matrix = matrix @ matrix.T + 6 * np.eye(6)
    start = draw.standard_normal(6)
    points = np.concatenate([draw.standard_normal((40, 2)) + centre for centre in ([0, 0], [6, 6])])

    def error(result, exact):
        return np.abs(np.asarray(result, np.float64) - exact).max() / np.abs(exact).max()

    for name in ("binary32", "bfloat16", "e4m3fn"):

        def wrap(x, name=name):
            return fe.asarray(x, name, saturation="SatFinite")

        y = runge_kutta(lambda y: -y, wrap([1.0]), 0.125, 8)
        factors = lu(wrap(matrix))
        value = power_iteration(wrap(matrix / 8), wrap(start), 30)
        centres = k_means(wrap(points), wrap(points[[0, -1]]), 5)
        print(
            f"{name:9s} Runge-Kutta {error(y, np.exp(-1.0)):.1e}, LU {error(factors, lu(matrix)):.1e}, "
            f"power iteration {error(value, np.linalg.eigvalsh(matrix / 8)[-1]):.1e}, "
            f"k-means {error(centres, k_means(points, points[[0, -1]].copy(), 5)):.1e}"
        )


if __name__ == "__main__":
    main()
