"""Losses. Images are N x C x H x W, float, in 0..1; every function returns a scalar tensor unless it says otherwise."""

import torch
from torch.nn import functional as F

from common.losses import gradient, larger_gradient, sobel, ssim


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
