"""VIF and Qabf of a fused picture, as the usual Matlab fusion toolbox computes them. Grey images, float, 0..255."""

import cv2
import numpy as np


def valid_blur(image, size):
    kernel = cv2.getGaussianKernel(size, size / 5)
    half = size // 2
    return cv2.sepFilter2D(image, cv2.CV_64F, kernel, kernel)[half:-half, half:-half]


def vif_single(reference, image):
    """Pixel-domain VIF (Sheikh and Bovik 2006), four scales."""
    noise, eps = 2.0, 1e-10
    reference, image = reference.astype(np.float64), image.astype(np.float64)
    numerator = denominator = 0.0
    for scale, size in enumerate((17, 9, 5, 3)):
        if scale > 0:
            reference = valid_blur(reference, size)[::2, ::2]
            image = valid_blur(image, size)[::2, ::2]
        mean_r, mean_i = valid_blur(reference, size), valid_blur(image, size)
        var_r = np.maximum(valid_blur(reference * reference, size) - mean_r**2, 0)
        var_i = np.maximum(valid_blur(image * image, size) - mean_i**2, 0)
        covariance = valid_blur(reference * image, size) - mean_r * mean_i
        gain = covariance / (var_r + eps)
        rest = var_i - gain * covariance
        gain[var_r < eps] = 0
        rest = np.where(var_r < eps, var_i, rest)
        var_r = np.where(var_r < eps, 0, var_r)
        gain[var_i < eps] = 0
        rest[var_i < eps] = 0
        rest = np.where(gain < 0, var_i, rest)
        gain = np.maximum(gain, 0)
        rest = np.maximum(rest, eps)
        numerator += np.log10(1 + gain**2 * var_r / (rest + noise)).sum()
        denominator += np.log10(1 + var_r / noise).sum()
    return numerator / denominator


def vif(a, b, fused):
    return vif_single(a, fused) + vif_single(b, fused)


def edges(image):
    image = image.astype(np.float64)
    x = cv2.Sobel(image, cv2.CV_64F, 1, 0, ksize=3, borderType=cv2.BORDER_CONSTANT)
    # Upwards, as the toolbox's kernel: the sign counts because a zero x derivative always means +pi/2.
    y = -cv2.Sobel(image, cv2.CV_64F, 0, 1, ksize=3, borderType=cv2.BORDER_CONSTANT)
    angle = np.where(x == 0, np.pi / 2, np.arctan(y / np.where(x == 0, 1, x)))
    return np.hypot(x, y), angle


def qabf(a, b, fused):
    """Edge preservation (Xydeas and Petrovic 2000)."""
    strength_f, angle_f = edges(fused)
    numerator = denominator = 0.0
    for source in (a, b):
        strength, angle = edges(source)
        larger, smaller = np.maximum(strength, strength_f), np.minimum(strength, strength_f)
        ratio = np.where(strength == strength_f, strength_f, smaller / np.where(larger == 0, 1, larger))
        agreement = 1 - np.abs(angle - angle_f) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (agreement - 0.8)))
        numerator += (quality * strength).sum()
        denominator += strength.sum()
    return numerator / denominator
