"""Losses on the estimated picture. Images are N x C x H x W in -1..1; every function returns a scalar tensor."""

import torch

from common.losses import larger_gradient, sobel, ssim
from model import luma

CHROMA_MASKED = 2.0
CHROMA_PAIRS = 8.0


def unit(x):
    return (x + 1) / 2


def chroma(x):
    return x - luma(x)


def out_of_range(x):
    """What the sampler would clip."""
    return (x.abs() - 1).clamp_min(0).mean()


def masked_loss(x0, aim):
    """Towards the known picture: values, edges and structure of luma, colour."""
    difference = x0 - aim
    y, y_aim = unit(luma(x0)), unit(luma(aim))
    loss = (difference**2).mean() + difference.abs().mean() + 0.5 * (sobel(y) - sobel(y_aim)).abs().mean()
    loss = loss + 0.3 * (1 - ssim(y, y_aim)) + out_of_range(x0)
    return loss + CHROMA_MASKED * chroma(difference).abs().mean() / 2


def chroma_aim(first, second):
    """Colour differences of both sources, in every pixel weighted by how colourful each is."""
    c1, c2 = chroma(first), chroma(second)
    s1, s2 = c1.abs().sum(1, keepdim=True), c2.abs().sum(1, keepdim=True)
    return (s1 * c1 + s2 * c2) / (s1 + s2).clamp_min(1e-4)


def pair_loss(x0, first, second, target):
    """Without a known picture: luma towards a target made of the sources (N x 1 x H x W) and towards the larger
    gradient, structure of target and sources, colour of the sources."""
    y, y1, y2, y_target = (unit(v) for v in (luma(x0), luma(first), luma(second), target))
    loss = 2 * (y - y_target).abs().mean()
    loss = loss + (sobel(y) - larger_gradient(torch.cat([y1, y2], 1))).abs().mean()
    loss = loss + 0.4 * (1 - ssim(y, y_target)) + 0.2 * (2 - ssim(y, y1) - ssim(y, y2))
    loss = loss + CHROMA_PAIRS * (chroma(x0) - chroma_aim(first, second)).abs().mean() / 2
    return loss + out_of_range(x0)
