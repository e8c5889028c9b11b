"""The synthetic atrophy phantom: one real MNI152 T1 slice, deformed. Not patient data, no clinical claim.

A simulated severity s in [0, 1] enlarges the ventricles and shrinks the hippocampi, each by an amount that also varies
by itself, so that the picture does not determine s. Rotation, scale, shift, a smooth warp, a bias field, gain and noise
vary independently of s. `python -m optbench.problems.atrophy_phantom FILE` writes what the package carries.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from optbench.problems.shared import Array, arrays

COUNT, SIZE, SEED = 1500, 32, 0
FIELD = 160.0  # mm, the side of the picture
NOISE = 0.04  # standard deviation, in units of the template's brightest voxel
GREY = 200.0  # grey levels of the stored pictures to 1.0; more than 255 is clipped
# (x, z) centre and sigma in mm of MNI space on y = -20; approximate structure, fixed by hand
VENTRICLES = (((-13, 22), 10.0), ((13, 22), 10.0), ((0, 4), 5.0))
HIPPOCAMPI = (((-28, -14), 7.0), ((28, -14), 7.0))
# per group: change at s = 1, and its own deviation; positive enlarges, negative shrinks
EFFECTS = ((VENTRICLES, 0.55, 0.10), (HIPPOCAMPI, -0.60, 0.12))


def generate(count: int, seed: int = SEED, size: int = SIZE) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures (count, size, size) and their severities (count,). The first k do not depend on count."""
    template = arrays("mni152_coronal_y-20.npz")
    brightness = template["t1"].astype(np.float32) / 255
    pixel = FIELD / size
    across = (np.arange(size) + 0.5) * pixel - FIELD / 2  # mm
    down = FIELD / 2 - (np.arange(size) + 0.5) * pixel + 5.0  # mm, the top row is superior
    z, x = np.meshgrid(down, across, indexing="ij")
    streams = np.random.default_rng(seed).spawn(count)
    drawn = [_one(stream, brightness, template["origin_mm"], x, z) for stream in streams]
    return np.stack([picture for picture, _ in drawn]), np.array([s for _, s in drawn], dtype=np.float32)


def _one(
    stream: np.random.Generator, brightness: Array, origin: Array, x: Array, z: Array
) -> tuple[NDArray[np.float32], float]:
    """One picture (size, size) and its severity; x and z (size, size) are the place of each pixel, in mm."""
    size, severity = len(x), stream.uniform()
    blur = size / 8  # pixels
    # the head: rotation, anisotropic scale, shift, smooth warp of about 4 mm
    angle, scale, shift = stream.normal(0, 0.05), 1 + stream.normal(0, 0.04, 2), stream.normal(0, 1.5, 2)
    u = (np.cos(angle) * x - np.sin(angle) * z) / scale[0] + shift[0]
    v = (np.sin(angle) * x + np.cos(angle) * z) / scale[1] + shift[1]
    # white noise blurred by b pixels keeps a deviation of 1 / (2 sqrt(pi) b), so b * 3.5 brings it back to 1
    warp = gaussian_filter(stream.normal(0, 1, (2, size, size)), (0, blur, blur)) * blur * 3.5 * 1.2
    u, v = u + warp[0], v + warp[1]
    # the disease: pull the sampling points towards a centre to enlarge what is there, away to shrink it
    for group, gain, deviation in EFFECTS:
        for (cx, cz), sigma in group:
            amount = np.clip(gain * severity + stream.normal(0, deviation), -0.8, 0.7)
            pull = amount * np.exp(-((u - cx) ** 2 + (v - cz) ** 2) / (2 * sigma**2))
            u, v = u - pull * (u - cx), v - pull * (v - cz)
    picture = map_coordinates(brightness, np.stack([u - origin[0], v - origin[2]]), order=1, mode="constant")
    # the scanner: bias field, gain, noise
    field = np.exp(gaussian_filter(stream.normal(0, 1, (size, size)), size / 4) * size / 4 * 0.35)
    picture = picture * field * (1 + stream.normal(0, 0.08)) + stream.normal(0, NOISE, picture.shape)
    return picture.astype(np.float32), severity


def stored(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey levels as the package keeps them."""
    levels: NDArray[np.uint8] = np.clip(np.rint(pictures * GREY), 0, 255).astype(np.uint8)
    return levels


if __name__ == "__main__":
    images, severities = generate(COUNT)
    np.savez_compressed(sys.argv[1], images=stored(images), severity=severities)
