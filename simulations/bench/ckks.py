"""CKKS through TenSEAL, used the way NVFlare uses it: what it costs a client.

NVFlare's provisioning makes a symmetric context (degree 8192, primes of 60, 40 and 40 bits,
scale 2^40); its client multiplies the update by its weight, encrypts it as one vector and
serialises it, and later parses the encrypted sum and decrypts it. Every client holds the same
key. TenSEAL is optional: pip install 'tacit[bench]'.

Source: NVIDIA NVFlare, nvflare/lighter/impl/he.py, nvflare/app_opt/he/model_encryptor.py and
model_decryptor.py.
"""

from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from time import process_time
from typing import Any

import numpy as np

MISSING = "TenSEAL is not installed here: pip install 'tacit[bench]' and run again."


@dataclass(frozen=True)
class CkksCost:
    """CPU seconds of one client, and the bytes that it sends.

    Args:
        seal_s: weighing, encrypting and serialising an update.
        open_s: parsing and decrypting the sum.
        upload_bytes: of one encrypted update.
    """

    seal_s: float
    open_s: float
    upload_bytes: int


def load() -> Any | None:
    """Return TenSEAL; None where it is not installed, or not for this machine."""
    try:
        return import_module("tenseal")
    except ImportError:
        return None


def client(tenseal: Any, parameters: int, repetitions: int = 1) -> CkksCost:
    """Return what an update costs a client, each figure the least of several repetitions.

    Args:
        tenseal: the library, as `load` returns it.
        parameters: float32 values of the update.
        repetitions: at least 1.
    """
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.generate_relin_keys()
    context.global_scale = 2**40
    rng = np.random.default_rng(0)
    update_P = rng.normal(0, 0.5, parameters).astype(np.float32)
    with redirect_stdout(StringIO()):  # it warns, from C++, of an update in several ciphertexts
        costs = [_once(tenseal, context, update_P) for _ in range(repetitions)]
    return CkksCost(
        min(cost.seal_s for cost in costs),
        min(cost.open_s for cost in costs),
        min(cost.upload_bytes for cost in costs),
    )


def _once(tenseal: Any, context: Any, update_P: np.ndarray) -> CkksCost:
    started = process_time()
    upload = tenseal.ckks_vector(context, update_P * np.float64(100)).serialize()
    sealed = process_time()
    tenseal.ckks_vector_from(context, upload).decrypt()
    return CkksCost(sealed - started, process_time() - sealed, len(upload))
