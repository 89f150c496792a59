"""Losses. Images are N x C x H x W, float, in 0..1; every function returns a scalar tensor unless it says otherwise."""

import torch
from torch.nn import functional as F

SOBEL = torch.tensor([[[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]])
SOBEL = torch.stack([SOBEL, SOBEL.transpose(1, 2)])


def sobel(x):
    """Both Sobel derivatives of every channel, N x C x 2 x H x W; the border repeats."""
    n, c, h, w = x.shape
    padded = F.pad(x.reshape(n * c, 1, h, w), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, SOBEL).reshape(n, c, 2, h, w)


def gradient(x):
    """|Sobel_x| + |Sobel_y| of every channel, N x C x H x W."""
    return sobel(x).abs().sum(2)


def fusion_loss(sources, fused, weights, gradient_weight):
    """ReFusion's learnable fusion loss.

    weights: the LPN's (intensity, gradient) weights after the softmax, each N x 2 x H x W.
    """
    intensity, edges = weights
    loss_intensity = ((intensity * (sources - fused)) ** 2).mean((0, 2, 3)).sum()
    loss_gradient = ((edges * (gradient(sources) - gradient(fused))) ** 2).mean((0, 2, 3)).sum()
    return loss_intensity + gradient_weight * loss_gradient


def reconstruction_loss(sources, rebuilt):
    """ReFusion's reconstruction loss: the larger error of the two sources in every pixel, intensity and gradient."""
    intensity = (sources - rebuilt).abs().amax(1).mean()
    return intensity + (gradient(sources) - gradient(rebuilt)).abs().amax(1).mean()


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


def fixed_loss(sources, fused, target):
    """Loss with fixed weights, for the warm start: towards the target and the larger gradient of the sources."""
    difference = (sobel(fused) - larger_gradient(sources)).abs().mean()
    return (fused - target).abs().mean() + 0.5 * difference + 0.3 * (1 - ssim(fused, target))


def imitation_loss(sources, target, logits):
    """Warm start of the LPN: its weights towards the source that is nearer to the target, or has the larger gradient.

    The aims are soft (logistic), so that the meta-steps find weights that can still move.
    """
    distance = (sources - target).abs()
    size = gradient(sources)
    nearer = torch.sigmoid(20 * (distance[:, 1] - distance[:, 0]))
    steeper = torch.sigmoid(5 * (size[:, 0] - size[:, 1]))
    loss = 0.0
    for aim, logit in zip((nearer, steeper), logits):
        loss = loss + F.binary_cross_entropy_with_logits(logit[:, 0] - logit[:, 1], aim)
    return loss
