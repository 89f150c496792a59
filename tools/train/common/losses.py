"""Building blocks of image losses. Images are N x C x H x W, float."""

import torch
from torch.nn import functional as F

SOBEL = torch.tensor([[[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]])
SOBEL = torch.stack([SOBEL, SOBEL.transpose(1, 2)])


def sobel(x):
    """Both Sobel derivatives of every channel, N x C x 2 x H x W; the border repeats."""
    n, c, h, w = x.shape
    padded = F.pad(x.reshape(n * c, 1, h, w), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, SOBEL.to(x.device)).reshape(n, c, 2, h, w)


def gradient(x):
    """|Sobel_x| + |Sobel_y| of every channel, N x C x H x W."""
    return sobel(x).abs().sum(2)


def larger_gradient(sources):
    """The Sobel derivatives, with sign, of the source whose gradient is larger in a pixel: N x 1 x 2 x H x W."""
    derivatives = sobel(sources)
    size = derivatives.abs().sum(2, keepdim=True)
    return torch.where(size[:, :1] >= size[:, 1:], derivatives[:, :1], derivatives[:, 1:])


def gaussian_window(size, sigma):
    x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    line = torch.exp(-x * x / (2 * sigma * sigma))
    line = line / line.sum()
    return (line[:, None] * line[None, :])[None, None]


WINDOW = gaussian_window(9, 1.5)


def ssim(a, b):
    """Mean structural similarity of two N x 1 x H x W images, range 1."""
    stacked = torch.cat([a, b, a * a, b * b, a * b], 1)
    n, c, h, w = stacked.shape
    moments = F.conv2d(stacked.reshape(n * c, 1, h, w), WINDOW).reshape(n, c, h - 8, w - 8)
    mean_a, mean_b, aa, bb, ab = moments.unbind(1)
    c1, c2 = 0.01**2, 0.03**2
    variance_a, variance_b, covariance = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).mean()
