"""Trains the model of sample/digits on scikit-learn's handwritten digits and writes what the sample needs.

    $(scripts/venv train) scripts/train_digits.py --out sample/digits/model

The model: input `image` float32 [1,1,8,8] from 0 to 1, output `probabilities` float32 [1,10]. It goes to
build/digits.onnx and from there, by scripts/compile, to digits_amd64.so and digits_arm64.so with digits.json and
digits.params for both. heldout.png holds the pictures kept from training, 20 in a row, each 8x8 pixels, and heldout.txt
their digits.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

ROOT = Path(__file__).resolve().parent.parent
SEED = 7
HELD_OUT = 440
TILES_PER_ROW = 20
REQUIRED_ACCURACY = 0.97
EPOCHS, BATCH, LEARNING_RATE = 60, 64, 2e-3
CHANNELS = (4, 16)
# Both with vectors of four floats and the same schedules, so that they share the graph and the parameters.
TARGETS = {
    "amd64": ["--target", "amd64", "--cpu", "x86-64-v2"],
    "arm64": ["--target", "llvm -keys=cpu -mtriple=aarch64-linux-gnu -mattr=+neon"],
}

Weights = dict[str, Any]


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and held-out pictures as [n,1,8,8] from 0 to 1 in steps of 1/16, and their labels."""
    digits = load_digits()
    images = (digits.images / 16).astype("float32").reshape(-1, 1, 8, 8)
    return train_test_split(images, digits.target, test_size=HELD_OUT, stratify=digits.target, random_state=SEED)


def initial_weights(key: jax.Array) -> Weights:
    """He initialisation."""
    first, second = CHANNELS
    shapes = {"w1": (first, 1, 3, 3), "w2": (second, first, 3, 3), "w3": (10, second * 16)}
    weights: Weights = {}
    for name, part in zip(shapes, jax.random.split(key, len(shapes)), strict=True):
        shape = shapes[name]
        weights[name] = jax.random.normal(part, shape) * np.sqrt(2 / np.prod(shape[1:]))
        weights[name.replace("w", "b")] = jnp.zeros(shape[0])
    return weights


def convolve(images: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """A padded 3x3 convolution and ReLU."""
    result = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    return jax.nn.relu(result + bias[:, None, None])


def logits(weights: Weights, images: jax.Array) -> jax.Array:
    """The model without its softmax."""
    x = convolve(images, weights["w1"], weights["b1"])
    x = convolve(x, weights["w2"], weights["b2"])
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return x.reshape(len(x), -1) @ weights["w3"].T + weights["b3"]


def loss(weights: Weights, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross entropy with some weight decay."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(weights, images)), labels[:, None], axis=1)
    decay = sum(jnp.sum(w * w) for name, w in weights.items() if name.startswith("w"))
    return -chosen.mean() + 1e-4 * decay


@jax.jit
def train_step(state: Any, rate: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
    """One step of Adam; the state is (weights, first moments, second moments, step)."""
    weights, first, second, step = state
    gradient = jax.grad(loss)(weights, images, labels)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
    step = step + 1
    fix = rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    weights = jax.tree.map(lambda w, m, v: w - fix * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
    return weights, first, second, step


def shifted(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """The pictures, each moved by up to one pixel in either direction, with a little noise."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    offsets = rng.choice([0, 1, 2], (len(images), 2), p=[0.15, 0.7, 0.15])
    moved = np.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets, strict=True)])
    return np.clip(moved + rng.normal(0, 0.04, moved.shape), 0, 1).astype("float32")


def train(images: np.ndarray, labels: np.ndarray) -> Weights:
    """Train from scratch."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(jax.random.key(SEED))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (weights, zeros, zeros, jnp.zeros(()))
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(images))
        for batch in np.array_split(order, len(order) // BATCH):
            state = train_step(state, rate, shifted(rng, images[batch]), labels[batch])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss(state[0], images, labels):.4f}", flush=True)
    return state[0]


def as_onnx(weights: Weights) -> onnx.ModelProto:
    """The model as ONNX."""
    node = helper.make_node
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["image", "w1", "b1"], ["conv1"], **pads),
        node("Relu", ["conv1"], ["relu1"]),
        node("Conv", ["relu1", "w2", "b2"], ["conv2"], **pads),
        node("Relu", ["conv2"], ["relu2"]),
        node("MaxPool", ["relu2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"]),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "digits",
        [tensor("image", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        [tensor("probabilities", onnx.TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(np.asarray(array, "float32"), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return model


def png(pixels: np.ndarray) -> bytes:
    """An 8-bit grayscale PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def write_held_out(images: np.ndarray, labels: np.ndarray, out: Path) -> None:
    """Write the pictures as one grid, and the labels as one line for each of its rows."""
    rows = len(images) // TILES_PER_ROW
    pixels = np.rint(images * 255).astype("uint8").reshape(rows, TILES_PER_ROW, 8, 8)
    (out / "heldout.png").write_bytes(png(pixels.transpose(0, 2, 1, 3).reshape(rows * 8, TILES_PER_ROW * 8)))
    lines = ("".join(str(label) for label in row) for row in labels.reshape(rows, TILES_PER_ROW))
    (out / "heldout.txt").write_text("\n".join(lines) + "\n")


def compile_model(path: Path, out: Path) -> None:
    """Compile for all targets; they have graph and parameters in common."""
    common: dict[str, bytes] = {}
    for name, options in TARGETS.items():
        folder = path.parent / f"digits-{name}"
        command = [str(ROOT / "scripts" / "compile"), str(path), "--out", str(folder), "--name", "digits", *options]
        subprocess.run(command, check=True)
        (out / f"digits_{name}.so").write_bytes((folder / "digits.so").read_bytes())
        for file in ("digits.json", "digits.params"):
            data = (folder / file).read_bytes()
            if common.setdefault(file, data) != data:
                sys.exit(f"train_digits: {file} differs between the targets")
    for file, data in common.items():
        (out / file).write_bytes(data)


def main() -> None:
    """Train, check, write, compile."""
    parser = argparse.ArgumentParser(description="train the model of sample/digits")
    parser.add_argument("--out", type=Path, default=ROOT / "sample" / "digits" / "model")
    parser.add_argument("--onnx", type=Path, default=ROOT / "build" / "digits.onnx")
    args = parser.parse_args()

    images, held_out, labels, held_out_labels = load_split()
    weights = train(images, labels)
    accuracy = float((logits(weights, held_out).argmax(axis=1) == held_out_labels).mean())
    print(f"accuracy on {len(held_out)} held-out pictures: {accuracy:.2%}", flush=True)
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(f"train_digits: less than {REQUIRED_ACCURACY:.0%}")
    args.out.mkdir(parents=True, exist_ok=True)
    args.onnx.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(as_onnx(weights), str(args.onnx))
    write_held_out(held_out, held_out_labels, args.out)
    compile_model(args.onnx, args.out)


if __name__ == "__main__":
    main()
