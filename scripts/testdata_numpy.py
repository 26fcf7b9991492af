"""What the test models of all compilers have in common: numbers to compute with, and references in numpy."""

from __future__ import annotations

import zlib

import numpy as np


def generator(name: str) -> np.random.Generator:
    """The random generator of a case; each has its own seed, so that it does not depend on the others."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normally distributed float32 values."""
    return (rng.standard_normal(shape) * scale).astype("float32")


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
