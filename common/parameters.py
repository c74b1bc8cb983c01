"""A model's parameters and buffers as named arrays, and the hash that every message binds."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import ProtocolError

Arrays = dict[str, NDArray[np.float32]]


def to_arrays(model: torch.nn.Module) -> Arrays:
    """Every parameter and buffer, copied to the CPU as float32."""
    state = model.state_dict()
    return {name: tensor.detach().cpu().float().numpy().copy() for name, tensor in state.items()}


def load_arrays(model: torch.nn.Module, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write named arrays into a model in place.

    Raises:
        ProtocolError: names or shapes are not exactly the model's, or a value is not finite.
    """
    state = model.state_dict()
    if set(arrays) != set(state):
        odd = sorted(set(arrays) ^ set(state))
        raise ProtocolError(f"The model's tensors do not fit: {', '.join(odd[:5])} differ.")
    for name, tensor in state.items():
        value = np.asarray(arrays[name])
        if value.shape != tuple(tensor.shape):
            raise ProtocolError(f"{name}: expected {tuple(tensor.shape)}, found {value.shape}.")
        if not np.isfinite(value).all():
            raise ProtocolError(f"{name}: a value is not finite.")
        tensor.copy_(torch.from_numpy(value.astype(np.float32)))


def trainable_names(model: torch.nn.Module) -> tuple[str, ...]:
    """Names of the parameters that training changes, in the model's order."""
    return tuple(name for name, value in model.named_parameters() if value.requires_grad)


def group_of(name: str) -> str:
    """The weight group of a tensor: its modality if it belongs to one encoder, else "all".

    A modality that a site lacks has weight 0 for its own group there.
    """
    parts = name.split(".")
    return parts[1] if parts[0] == "encoders" and len(parts) > 2 else "all"


def model_hash(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """SHA-256 over names, shapes and values as float32, in the order of the names.

    The type in which a tensor was sent makes no difference: what is computed is what is hashed.
    """
    digest = hashlib.sha256(b"tacit model v1")
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name], dtype="<f4")
        head = f"{name}|{np.shape(arrays[name])}|".encode()
        digest.update(len(head).to_bytes(4, "little") + head)
        digest.update(value.tobytes())
    return digest.digest()
