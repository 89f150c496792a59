"""Writes fixture.json: three small pictures and their metrics, computed directly from the definitions with NumPy,
SciPy and scikit-image (Debian: python3-scipy python3-skimage), independently of src/metrics.

    python3 test/metrics/make-fixture.py
"""

import base64
import json
import pathlib

import numpy as np
from scipy import fft, ndimage, signal
from skimage.metrics import structural_similarity

H, W = 45, 48
rng = np.random.default_rng(7)
smooth = lambda sigma: ndimage.gaussian_filter(rng.normal(size=(H, W)), sigma)
scale = lambda x, low, high: np.round(low + (x - x.min()) / (x.max() - x.min()) * (high - low)).astype(np.uint8)
A8 = scale(smooth(2) + 0.05 * rng.normal(size=(H, W)), 3, 250)
B8 = scale(smooth(1) + 0.02 * rng.normal(size=(H, W)), 0, 255)
F8 = scale(0.6 * A8 + 0.5 * B8 + 4 * rng.normal(size=(H, W)), 0, 255)
A, B, F = (x.astype(np.float64) for x in (A8, B8, F8))


def entropy(p):
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def joint(x, y):
    return np.histogram2d(x.ravel(), y.ravel(), bins=256, range=[[-0.5, 255.5]] * 2)[0] / x.size


def information(x, y, merge=False):
    cells = joint(np.minimum(x, 254), np.minimum(y, 254)) if merge else joint(x, y)
    return entropy(joint(x, x).sum(1)) + entropy(joint(y, y).sum(1)) - entropy(cells.ravel())


def stretch(x):
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def corr(x, y):
    return np.corrcoef(x.ravel(), y.ravel())[0, 1]


def gauss2(n, sigma):
    k = np.arange(n) - (n - 1) / 2
    g = np.exp(-(k[:, None] ** 2 + k[None] ** 2) / (2 * sigma**2))
    return g / g.sum()


def vifp(ref, dist):
    num = den = 0.0
    for s in range(1, 5):
        n = 2 ** (5 - s) + 1
        valid = lambda x: signal.convolve2d(x, gauss2(n, n / 5), mode="valid")
        if s > 1:
            ref, dist = valid(ref)[::2, ::2], valid(dist)[::2, ::2]
        m1, m2 = valid(ref), valid(dist)
        v1 = np.maximum(valid(ref * ref) - m1 * m1, 0)
        v2 = np.maximum(valid(dist * dist) - m2 * m2, 0)
        c = valid(ref * dist) - m1 * m2
        g = c / (v1 + 1e-10)
        noise = v2 - g * c
        noise = np.where(g < 0, v2, noise)
        g = np.maximum(g, 0)
        num += np.log10(1 + g * g * v1 / (np.maximum(noise, 1e-10) + 2)).sum()
        den += np.log10(1 + v1 / 2).sum()
    return num / den


def qabf(a, b, f):
    h1 = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1.0]])
    h3 = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]])

    def edge(p):
        x, y = signal.convolve2d(p, h3, "same"), signal.convolve2d(p, h1, "same")
        with np.errstate(all="ignore"):
            return np.hypot(x, y), np.where(x == 0, np.pi / 2, np.arctan(y / x))

    gf, af = edge(f)
    kept = weight = 0
    for s in (a, b):
        gs, angle = edge(s)
        with np.errstate(all="ignore"):
            ratio = np.where(gs > gf, gf / gs, np.where(gs == gf, gf, gs / gf))
        al = 1 - abs(angle - af) / (np.pi / 2)
        q = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (al - 0.8)))
        kept += (q * gs).sum()
        weight += gs.sum()
    return kept / weight


def nabf(f, a, b, weak):
    def edge(p):
        p = np.pad(p, 1, mode="reflect")
        v = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]]) / 8
        x, y = signal.correlate2d(p, v, "valid"), signal.correlate2d(p, v.T, "valid")
        with np.errstate(all="ignore"):
            return np.hypot(x, y), np.where((x == 0) & (y == 0), 0, np.arctan(x / y))

    (ga, aa), (gb, ab), (gf, af) = edge(a), edge(b), edge(f)

    def keep(g, angle):
        with np.errstate(all="ignore"):
            ratio = np.where((g == 0) | (gf == 0), 0, np.minimum(g, gf) / np.maximum(g, gf))
        al = abs(abs(angle - af) - np.pi / 2) * 2 / np.pi
        return np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + np.exp(-22 * (al - 0.5))))

    wa, wb = (np.where(g >= 2, g**1.5, weak) for g in (ga, gb))
    new = (gf > ga) & (gf > gb)
    return (new * ((1 - keep(ga, aa)) * wa + (1 - keep(gb, ab)) * wb)).sum() / (wa + wb).sum()


def ssim_matlab(x, y):
    g = lambda p: ndimage.gaussian_filter(p, 1.5, truncate=3.5, mode="nearest")
    mx, my = g(x), g(y)
    vx, vy, c = g(x * x) - mx * mx, g(y * y) - my * my, g(x * y) - mx * my
    return ((2 * mx * my + 1e-4) * (2 * c + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))).mean()


GAUSS = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)


def ms_ssim(x, y):
    product = 1.0
    for level, w in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        v = lambda p: signal.convolve2d(p, gauss2(11, 1.5), mode="valid")
        mx, my = v(x), v(y)
        cs = (2 * (v(x * y) - mx * my) + 9e-4) / (v(x * x) - mx * mx + v(y * y) - my * my + 9e-4)
        luminance = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4) if level == 4 else 1
        product *= max((luminance * cs).mean(), 0) ** w
        if level < 4:
            p = [(s % 2, s % 2) for s in x.shape]
            halve = lambda z: (lambda q: (q[::2, ::2] + q[1::2, ::2] + q[::2, 1::2] + q[1::2, 1::2]) / 4)(
                (lambda q: q[: q.shape[0] // 2 * 2, : q.shape[1] // 2 * 2])(np.pad(z, p)))
            x, y = halve(x), halve(y)
    return product


def mef_level(a, b, f):
    g, n = gauss2(11, 1.5), 11
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            va, vb, vf = (p[i : i + n, j : j + n] for p in (a, b, f))
            da, db = va - va.mean(), vb - vb.mean()
            ea, eb = np.linalg.norm(da) + 0.001, np.linalg.norm(db) + 0.001
            r = min(np.linalg.norm(da + db) / (np.linalg.norm(da) + np.linalg.norm(db)), 1 - 2e-16)
            p = min(np.tan(np.pi / 2 * r), 10)
            wa, wb = (ea / n) ** p, (eb / n) ** p
            ref = wa / (wa + wb) * da / ea + wb / (wa + wb) * db / eb
            ref = ref / np.linalg.norm(ref) * max(ea, eb)
            mr, mf = (g * ref).sum(), (g * vf).sum()
            vr, v, c = (g * (ref - mr) ** 2).sum(), (g * (vf - mf) ** 2).sum(), (g * (ref - mr) * (vf - mf)).sum()
            values.append((2 * c + 7.65**2) / (vr + v + 7.65**2))
    return np.mean(values)


def mef_ssim(a, b, f):
    weights = np.array([0.0448, 0.2856, 0.3001])
    q = []
    for _ in weights:
        q.append(mef_level(a, b, f))
        down = lambda p: (lambda e: (e[:-1, :-1] + e[1:, :-1] + e[:-1, 1:] + e[1:, 1:]) / 4)(
            np.pad(p, ((0, 1), (0, 1)), mode="edge"))[::2, ::2]
        a, b, f = down(a), down(b), down(f)
    return float(np.prod(np.array(q) ** (weights / weights.sum())))


def fmi_window(a, f):
    if (a == f).all():
        return 1.0
    norm = lambda s: np.ones(9) if s.max() == s.min() else (s - s.min()) / (s.max() - s.min())
    a, f = norm(a), norm(f)
    a, f = a / a.sum(), f / f.sum()
    c = ((a - a.mean()) * (f - f.mean())).sum() / np.sqrt(((a - a.mean()) ** 2).sum() * ((f - f.mean()) ** 2).sum())
    k = np.arange(1, 10)
    sd = lambda p: np.sqrt((k * k * p).sum() - (k * p).sum() ** 2)
    x, y = np.cumsum(f)[:, None], np.cumsum(a)[None]
    bound = np.minimum(x, y) if c >= 0 else np.maximum(x + y - 1, 0)
    phi = c / ((bound - x * y).sum() / (sd(f) * sd(a)))
    cells = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    j = phi * cells + (1 - phi) * f[:, None] * a[None]
    j = j[j != 0]
    h = entropy(a) + entropy(f)
    return 2 * (h + (j * np.log2(abs(j))).sum()) / h


def fmi(a, b, f):
    windows = lambda p: np.lib.stride_tricks.sliding_window_view(p, (3, 3)).transpose(0, 1, 3, 2).reshape(-1, 9)
    return np.mean([(fmi_window(x, z) + fmi_window(y, z)) / 2 for x, y, z in zip(*map(windows, (a, b, f)))])


def frequencies(n):
    return np.fft.fftfreq(n) * n


def filtered(p, response):
    u, v = np.meshgrid(frequencies(W), frequencies(H))
    return np.fft.ifft2(np.fft.fft2(p) * response(np.hypot(u, v))).real


def q_cb(a, b, f):
    k = np.arange(-15, 16)
    window = lambda s: np.exp(-(k[:, None] ** 2 + k[None] ** 2) / (2 * s * s)) / (2 * np.pi * s * s)

    def masked(p):
        p = filtered(stretch(p), lambda r: np.exp(-((r / 15 / 15.387) ** 2)) - 0.7622 * np.exp(-((r / 15 / 1.3456) ** 2)))
        c = abs(signal.convolve2d(p, window(2), "same") / signal.convolve2d(p, window(4), "same") - 1)
        return c**3 / (c**2 + 0.0001)

    ca, cb, cf = masked(a), masked(b), masked(f)
    keep = lambda c: np.minimum(c, cf) / np.maximum(c, cf)
    return ((ca**2 * keep(ca) + cb**2 * keep(cb)) / (ca**2 + cb**2)).mean()


def q_cv(a, b, f):
    a, b, f = stretch(a), stretch(b), stretch(f)
    h = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]])
    blocks = lambda p: np.pad(p, ((0, -H % 16), (0, -W % 16))).reshape(-(-H // 16), 16, -(-W // 16), 16).sum((1, 3))
    top = bottom = 0
    for s in (a, b):
        g = np.hypot(signal.correlate2d(s, h, "same"), signal.correlate2d(s, h.T, "same"))
        d = filtered(s - f, lambda r: 2.6 * (0.0192 + 0.144 * r / 4) * np.exp(-((0.144 * r / 4) ** 1.1)))
        top += (blocks(g**5) * blocks(d**2) / 256).sum()
        bottom += blocks(g**5).sum()
    return top / bottom


def q_y(a, b, f):
    v = lambda p: signal.convolve2d(p, gauss2(7, 1.5), mode="valid")
    var = lambda x, y: v(x * y) - v(x) * v(y)
    s = lambda x, y: (2 * v(x) * v(y)) * (2 * var(x, y)) / ((v(x) ** 2 + v(y) ** 2) * (var(x, x) + var(y, y)))
    share = var(a, a) / (var(a, a) + var(b, b))
    return np.where(s(a, b) >= 0.75, share * s(a, f) + (1 - share) * s(b, f), np.maximum(s(a, f), s(b, f))).mean()


def ncie(a, b, f):
    n = lambda x, y: information(stretch(x), stretch(y)) / 8
    r = np.linalg.eigvalsh([[1, n(a, b), n(a, f)], [n(a, b), 1, n(b, f)], [n(a, f), n(b, f), 1]])
    return 1 + (r / 3 * np.log2(r / 3)).sum() / 8


def sobel_mean(p, mode):
    return np.hypot(*(ndimage.sobel(p, axis, mode=mode) for axis in (0, 1))).mean()


gy, gx = np.gradient(F)
gradient = np.sqrt((gx**2 + gy**2) / 2).sum()
mse = ((A - F) ** 2).mean() / 2 + ((B - F) ** 2).mean() / 2
rmse = (np.sqrt(((A - F) ** 2).sum()) + np.sqrt(((B - F) ** 2).sum())) / (2 * F.size)
differences = (np.diff(F, axis=1) ** 2, np.diff(F, axis=0) ** 2)
p, q = (lambda x: joint(x, x).sum(1))(F), [joint(x, x).sum(1) for x in (A, B)]
both = lambda fn: fn(A, F) + fn(B, F)
cross = np.mean([sum(u * np.log2(u / t) for u, t in zip(s, p) if u > 0 and t > 0) for s in q])
large = [np.kron(x, np.ones((4, 4))) for x in (A, B, F)]
h_f = lambda x: entropy(joint(stretch(x), stretch(x)).sum(1))

values = {
    "tang-matlab": {
        "EN": entropy(p), "MI": information(A, F, True) + information(B, F, True), "SD": F.std(),
        "SF": np.sqrt(differences[0].mean() + differences[1].mean()), "AG": gradient / ((H - 1) * (W - 1)),
        "SCD": corr(F - B, A) + corr(F - A, B), "VIF": both(vifp), "Qabf": qabf(A, B, F), "CC": both(corr) / 2,
        "MSE": mse / 65025, "PSNR": 20 * np.log10(255 / np.sqrt(mse / 65025)), "SSIM": both(ssim_matlab) / 2,
        "MEF_SSIM": mef_ssim(A, B, F), "Nabf": nabf(A, B, F, 0.001),
        "FMI_dct": fmi(*(fft.dctn(x, norm="ortho") for x in (A, B, F))),
    },
    "cddfuse-py": {
        "MI": both(information) * np.log(2), "AG": gradient / F.size, "MSE": mse,
        "PSNR": 10 * np.log10(F.max() ** 2 / mse),
        "SSIM": both(lambda x, y: structural_similarity(x, y, data_range=2)),
    },
    "ivif-zoo": {
        "EN": -(p * np.log2(p + 1e-7)).sum(), "Nabf": nabf(F, A, B, 0), "EI": sobel_mean(F, "constant"),
        "NMI": 2 * both(information) / (entropy(q[0]) + entropy(q[1])),
    },
    "vifb": {
        "SF": np.sqrt(sum(d.sum() for d in differences) / F.size), "CE": cross, "EI": sobel_mean(F, "nearest"),
        "RMSE": rmse, "PSNR": 20 * np.log10(255 / np.sqrt(rmse)), "SSIM": both(lambda x, y: structural_similarity(x, y, **GAUSS)),
        "Q_CB": q_cb(A, B, F), "Q_CV": q_cv(A, B, F),
    },
    "liu2012": {
        "NMI": 2 * both(lambda x, y: information(stretch(x), stretch(y)) / (h_f(x) + h_f(y))),
        "NCIE": ncie(A, B, F), "Q_Y": q_y(A, B, F),
    },
}
fixture = {
    "width": W, "height": H,
    "pictures": {n: base64.b64encode(x.tobytes()).decode() for n, x in (("first", A8), ("second", B8), ("fused", F8))},
    "values": {n: {m: float(v) for m, v in d.items()} for n, d in values.items()},
    "enlarged": {"MS_SSIM": ms_ssim(large[0], large[2]) + ms_ssim(large[1], large[2])},
}
pathlib.Path(__file__).with_name("fixture.json").write_text(json.dumps(fixture, indent=1) + "\n")
