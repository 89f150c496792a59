"""Makes two damaged sources of one photograph: the published dual masking, and cases like the fusion tasks.

Images are H x W x 3, float32 in 0..1. `random` is a numpy Generator.
"""

import cv2
import numpy as np

LUMA = np.array((0.299, 0.587, 0.114), np.float32)

# Shares of the published procedure.
FILLED = 0.9
VISIBLE_DEGRADED = 0.1


def luma(image):
    return image @ LUMA


def degrade(image, random):
    """One of the five published degradations of the whole picture."""
    kind = random.integers(5)
    if kind == 0:
        return cv2.blur(image, (int(random.choice((3, 5, 7))),) * 2)
    if kind == 1:
        noise = random.normal(0, random.choice(np.arange(5, 36, 2)) / 255, image.shape)
        return np.clip(image + noise.astype(np.float32), 0, 1)
    if kind == 2:
        return snow(image, random)
    if kind == 3:
        return swap_phase(image, random)
    return np.clip(image, 0, 1) ** np.float32(random.uniform(0.3, 3))


def snow(image, random):
    """Bright flakes of one to three pixels, blurred a little; a stand-in, the published texture is not described."""
    height, width = image.shape[:2]
    flakes = np.zeros((height, width), np.float32)
    for _ in range(max(1, int(height * width * random.uniform(0.002, 0.01)))):
        centre = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(flakes, centre, int(random.integers(1, 3)), float(random.uniform(0.5, 1)), -1)
    flakes = cv2.GaussianBlur(flakes, (3, 3), 0)[:, :, None]
    return image * (1 - flakes) + flakes


def swap_phase(image, random):
    """Amplitudes of the picture, phase of the picture turned or shifted; a stand-in, the exact swap is not described."""
    spectrum = np.fft.rfft2(image, axes=(0, 1))
    other = image[::-1, ::-1] if random.random() < 0.5 else np.roll(image, image.shape[0] // 2, 0)
    turned = np.fft.rfft2(other, axes=(0, 1))
    phase = turned / np.maximum(np.abs(turned), 1e-8)
    return np.clip(np.fft.irfft2(np.abs(spectrum) * phase, image.shape[:2], axes=(0, 1)), 0, 1).astype(np.float32)


def grid(height, width, cells, values):
    """`values` (cells x cells) as a map of rectangles, H x W x 1."""
    rows = np.minimum(np.arange(height) * cells // height, cells - 1)
    columns = np.minimum(np.arange(width) * cells // width, cells - 1)
    return values[rows][:, columns][:, :, None]


def dual_masking(image, random, cells=8):
    """The published procedure. Every patch of an 8 x 8 grid is dealt to one of the sources. What a source was not dealt
    is filled with one grey level, the same for both, or, one patch in ten, shown degraded; so is one in ten of the
    patches that it was dealt. Both take degraded patches from the same degraded copy. Returns the two sources."""
    height, width = image.shape[:2]
    count = cells * cells
    owner = np.zeros(count, bool)
    owner[random.permutation(count)[: count // 2]] = True
    owner = owner.reshape(cells, cells)
    degraded = degrade(image, random)
    grey = np.float32(random.random())
    sources = []
    for visible in (owner, ~owner):
        filled = ~visible & (random.random((cells, cells)) < FILLED)
        spoiled = (~visible & ~filled) | (visible & (random.random((cells, cells)) < VISIBLE_DEGRADED))
        source = np.where(grid(height, width, cells, spoiled), degraded, image)
        sources.append(np.where(grid(height, width, cells, filled), grey, source))
    return sources


def soft_map(height, width, random, sharpness):
    """A smooth random map in 0..1, half above and half below a half; `sharpness` makes its borders hard. H x W x 1."""
    cells = int(random.integers(2, 6))
    noise = random.normal(size=(cells, cells)).astype(np.float32)
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = (noise - np.median(noise)) / (noise.std() + 1e-6)
    return (1 / (1 + np.exp(-np.clip(sharpness * noise, -30, 30)))).astype(np.float32)[:, :, None]


def scale_luma(image, gain, offset=0.0, colour=None):
    """Luma times `gain` plus `offset`, colour differences times `colour` (gain if left out)."""
    y = luma(image)[:, :, None]
    return y * gain + offset + (image - y) * (gain if colour is None else colour)


def soft_masks(image, random):
    """Regions with soft borders; each source is degraded where the other is whole."""
    weight = soft_map(*image.shape[:2], random, random.uniform(1, 8))
    one, two = degrade(image, random), degrade(image, random)
    return [weight * image + (1 - weight) * one, (1 - weight) * image + weight * two], image


def defocus(image, random):
    """Two focus planes."""
    weight = soft_map(*image.shape[:2], random, random.uniform(5, 40))
    blurred = cv2.GaussianBlur(image, (0, 0), random.uniform(0.8, 4))
    return [weight * image + (1 - weight) * blurred, (1 - weight) * image + weight * blurred], image


def exposures(image, random):
    """An under- and an over-exposed picture of the scene."""
    under = image ** np.float32(random.uniform(1, 2.2)) * np.float32(random.uniform(0.15, 0.7))
    over = np.clip(image ** np.float32(random.uniform(0.4, 1)) * random.uniform(1.1, 2.2), 0, 1)
    return [under, over], image


def thermal(image, random):
    """A grey source that shows some regions, and a coloured one that is dark or flat there.

    The aim has the picture's luma and the coloured source's colour: what no source shows need not be guessed.
    """
    weight = soft_map(*image.shape[:2], random, random.uniform(2, 15))
    y = luma(image)[:, :, None]
    flat = cv2.GaussianBlur(image, (0, 0), random.uniform(3, 10))
    if random.random() < 0.5:
        hidden = scale_luma(image, random.uniform(0.02, 0.4), colour=random.uniform(0.05, 0.8))
    else:
        hidden = flat * np.float32(random.uniform(0.4, 1))
    visible = weight * image + (1 - weight) * hidden
    # Where the visible source is whole, the grey one is dark, flat, or the picture with other grey levels.
    dull = (np.full_like(y, random.uniform(0, 0.4)), luma(flat)[:, :, None] * random.uniform(0.2, 1),
            y * random.uniform(0.1, 0.6) + random.uniform(0, 0.3))[random.integers(3)]
    grey = np.repeat((1 - weight) * y + weight * dull, 3, 2)
    return [grey, visible], y + visible - luma(visible)[:, :, None]


CASES = ((0.3, soft_masks), (0.2, defocus), (0.2, exposures), (0.3, thermal))


def mixed(image, random):
    """The masking of the small model: a third published masks of three sizes, else cases like the fusion tasks.

    Returns (first source, second source, aim).
    """
    if random.random() < 0.35:
        sources, aim = dual_masking(image, random, int(random.choice((4, 8, 16)))), image
    else:
        case = CASES[random.choice(len(CASES), p=[share for share, _ in CASES])][1]
        sources, aim = case(image, random)
    if random.random() < 0.2:
        sources = sources[::-1]
    return [np.clip(x, 0, 1).astype(np.float32) for x in (*sources, aim)]
