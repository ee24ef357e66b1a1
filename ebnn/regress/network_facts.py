"""What a network is and computes, kept small: enough to name what changed in it later."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebnn import reference
from ebnn.lowered import LoweredNetwork
from ebnn.regress.companion import Sections

KEPT_SAMPLES = 4
"""Samples whose activations are kept bit by bit: those that the classifier is least sure of, which
are the first to flip."""
DIGEST_CHARACTERS = 8


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]


def rows_digest(*tensors: NDArray[Any]) -> str:
    """Digests of each row (channel or sample) of tensors of as many rows, in a string."""
    return "".join(
        digest(b"".join(np.ascontiguousarray(tensor[row]).tobytes() for tensor in tensors))
        for row in range(len(tensors[0]))
    )


def split_digests(text: str) -> list[str]:
    step = DIGEST_CHARACTERS
    return [text[at : at + step] for at in range(0, len(text), step)]


def data_facts(x: NDArray[np.uint8], labels: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """Which samples they are."""
    return {
        "samples": len(x),
        "images": digest(np.ascontiguousarray(x).tobytes()),
        "labels": digest(np.ascontiguousarray(labels, dtype="<i8").tobytes()),
    }


def network_facts(network: LoweredNetwork, evaluation: reference.Evaluation) -> Sections:
    """Digests of weights by channel and of activations by sample, and a few samples' own bits."""
    layers: dict[str, Any] = {
        str(index): {
            "block": str(layer.block),
            "weights": rows_digest(layer.weight),
            "thresholds": rows_digest(layer.threshold, layer.flip),
        }
        for index, layer in enumerate(network.hidden)
    }
    head = network.head
    layers[str(len(network.hidden))] = {
        "block": str(head.block),
        "weights": rows_digest(head.weight),
        "thresholds": rows_digest(head.multiplier, head.offset),
    }
    ordered = np.sort(evaluation.scores, axis=1)
    margins = ordered[:, -1].astype(np.int64) - ordered[:, -2]
    kept = sorted(int(one) for one in np.argsort(margins, kind="stable")[:KEPT_SAMPLES])
    return {
        "layers": layers,
        "activations": {
            str(index): rows_digest(bits) for index, bits in enumerate(evaluation.activations)
        },
        "bits": {
            str(sample): [encode_bits(bits[sample]) for bits in evaluation.activations]
            for sample in kept
        },
    }


def encode_bits(bits: NDArray[np.int8]) -> str:
    """A +-1 map (channels, height, width) as base64 of its bits, +1 as 1."""
    return base64.b64encode(np.packbits(bits.reshape(-1) > 0).tobytes()).decode()


def decode_bits(text: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """What `encode_bits` took. `ValueError` where the text holds too few bits."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    flat = np.unpackbits(raw)[: int(np.prod(shape))]
    return (flat.astype(np.int8) * 2 - 1).reshape(shape)
