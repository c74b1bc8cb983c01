"""What a coordinator can make of what the sites gave it: masks off, as far as shares allow."""

from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from common.errors import ProtocolError
from common.secagg import masks, ring, transcript
from common.secagg.layout import Layout
from common.secagg.masks import Words
from common.secagg.messages import Reveal, Upload, decode
from common.secagg.recovery import (
    Points,
    Step,
    pairs_of_missing,
    recover_b,
    recover_s,
    sift_shares,
)
from simulations.attacks.outcome import Values


def stripped(step: Step, site: str, upload: bytes, reveals: Iterable[Reveal]) -> Words:
    """A site's vector without every mask that revealed shares take off it.

    Args:
        step: of the sum that the vector was masked for.
        site: whose vector it is.
        upload: its reply to MASK.
        reveals: all replies to UNMASK that anybody ever gave.
    """
    words_W = np.frombuffer(decode(Upload, upload, site).vector, "<u8").copy()
    b, s = shares_of(step, site, reveals)
    keying = step.keying
    with suppress(ProtocolError):
        own = transcript.self_mask(recover_b(step, site, b), step.ctx, keying.r0, site)
        masks.apply(words_W, [], [own])
    with suppress(ProtocolError):
        others = tuple(name for name in keying.sharers if name != site)
        pairs = pairs_of_missing(step, site, recover_s(step, site, s), others)
        plus = [key for peer, key in pairs if peer > site]
        masks.apply(words_W, plus, [key for peer, key in pairs if peer < site])
    return words_W[:-1]


def shares_of(
    step: Step, site: str, reveals: Iterable[Reveal]
) -> tuple[dict[int, int], dict[int, int]]:
    """The shares of b and of s of one site that anybody revealed for this very step."""
    b: Points = {site: {}}
    s: Points = {site: {}}
    for one in reveals:
        good = sift_shares(step, {one.site: one})
        b[site] |= good.b.get(site, {})
        s[site] |= good.s.get(site, {})
    return b[site], s[site]


def values_of(words_W: Words, layout: Layout, sites: int) -> Values:
    """All real values of a vector, one after the other.

    Raises:
        ProtocolError: the words are none that so many sites could have sent.
    """
    sums = ring.decode(layout, words_W, sites).sums
    return np.concatenate([sums[real.name].reshape(-1) for real in layout.reals])
