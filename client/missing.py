"""Modalities hidden at random, to measure how a study holds up where some are missing."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.data.arrays import SiteData
from common.missing import Missing


def with_missing(data: SiteData, missing: Missing) -> SiteData:
    """The same clips with modalities hidden as a study's `missing` says.

    Guarantees:
        A clip that has a modality keeps one. Equal seeds hide equal modalities whatever the order
        of clips, and a higher rate hides what a lower one hid, but for the one that is kept.
        What is hidden depends on the seed, the modality and the clip's (or person's) name alone.
    Source: Feng et al., FedMultimodal, KDD 2023; its code hides by client, and leaves out one that
        loses all it has.
    """
    if missing.rate == 0:
        return data
    shown_NM = shown(data, missing)
    x = {name: values.copy() for name, values in data.x.items()}
    for column, name in enumerate(sorted(x)):
        x[name][~shown_NM[:, column]] = 0
    return replace(data, x=x, present_NM=shown_NM)


def shown(data: SiteData, missing: Missing) -> NDArray[np.bool_]:
    """Which clip still shows which modality; columns in the order of sorted(data.x)."""
    by_person = missing.by == "person"
    own_N = [data.person_ids[p] for p in data.person_N] if by_person else list(data.sample_ids)
    draw_NM = np.array(
        [[_draw(missing.seed, name, own) for name in sorted(data.x)] for own in own_N]
    ).reshape(data.present_NM.shape)
    draw_NM = np.where(data.present_NM, draw_NM, -1.0)
    kept_NM = draw_NM >= missing.rate
    last_NM = draw_NM == draw_NM.max(axis=1, keepdims=True)
    loses_all_N1 = ~np.any(kept_NM, axis=1, keepdims=True)
    return np.asarray(data.present_NM & (kept_NM | (last_NM & loses_all_N1)))


def _draw(seed: int, modality: str, name: str) -> float:
    """A number from 0 to 1, as good as random."""
    digest = hashlib.sha256(f"missing {seed}\0{modality}\0{name}".encode()).digest()
    return int.from_bytes(digest[:6], "little") / float(1 << 48)
