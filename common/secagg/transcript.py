"""What is hashed, signed and derived in a round; site and coordinator compute the same.

`keying` is Context.keying, which ADVERTISE and SHARE bind; `ctx` is Context.digest of one
step with its model, which MASK, CONFIRM and UNMASK bind. R0, R1 and R2 fix who advertised,
who shared and who uploaded.
"""

import hashlib
from collections.abc import Iterable, Sequence

from common.secagg.channel import KeyPair, Suite, key_pair
from common.secagg.codec import Piece
from common.secagg.derive import (
    Part,
    derive,
    digest,
    digest_between,
    label,
    public_label,
    public_tail,
)
from common.secagg.messages import (
    ADVERT,
    ITEM,
    Advert,
    Item,
    Share,
    Sharer,
    StepKeys,
    Uploaded,
)
from common.secagg.roster import Context

Y_LABEL = label("y")


def advert_parts(keying: bytes, advert: Advert) -> list[Part]:
    """Return what the signature of an advert is over."""
    parts: list[Part] = [keying, advert.site, advert.channel_key, advert.note or b""]
    for step in advert.steps:
        parts += [step.mask_key, step.b_hash]
    return parts


def r0(keying: bytes, adverts: Iterable[Advert]) -> bytes:
    """Return R0: the hash of the signed adverts, in ascending order of sites."""
    return digest("R0", keying, *(ADVERT.dump(advert) for advert in adverts))


def item_hash(item: Item) -> bytes:
    """Return the hash under which a dealer signs one item."""
    return digest("item", ITEM.dump(item))


def dealing_hash(keying: bytes, r0: bytes, site: str, item_hashes: Sequence[bytes]) -> bytes:
    """Return the hash of all that one site dealt; its signature is over this."""
    return digest("dealing", keying, r0, site, *item_hashes)


def r1(ctx: bytes, r0: bytes, sharers: Iterable[Sharer]) -> bytes:
    """Return R1: the hash of who shared what."""
    parts = [part for sharer in sharers for part in (sharer.site, sharer.dealing_hash)]
    return digest("R1", ctx, r0, *parts)


def r2(ctx: bytes, r1: bytes, uploads: Iterable[Uploaded]) -> bytes:
    """Return R2: the hash of the list of (site, H(y), note) that arrived."""
    parts = [part for one in uploads for part in (one.site, one.y_hash, one.note or b"")]
    return digest("R2", ctx, r1, *parts)


def upload_parts(ctx: bytes, r1: bytes, upload: Uploaded) -> list[Part]:
    """Return what the signature of an upload is over."""
    return [ctx, r1, upload.site, upload.y_hash, upload.note or b""]


def b_hash(keying: bytes, site: str, step: int, b: bytes) -> bytes:
    """Return H(b): the commitment to a site's own mask secret."""
    return digest("H(b)", keying, site, step, b)


def mask_keys(suite: Suite, keying: bytes, site: str, step: int, s: bytes) -> KeyPair:
    """Return the mask key pair that a site's secret s stands for."""
    return key_pair(suite, s, "mask key", keying, site, step)


def channel_keys(suite: Suite, keying: bytes, site: str, secret: bytes) -> KeyPair:
    """Return the channel key pair of a site for one keying."""
    return key_pair(suite, secret, "channel key", keying, site)


def step_keys(suite: Suite, keying: bytes, site: str, step: int, s: bytes, b: bytes) -> StepKeys:
    """Return what a site advertises for one step with secrets s and b."""
    return StepKeys(mask_keys(suite, keying, site, step, s).public, b_hash(keying, site, step, b))


def commitment(
    kind: str, keying: bytes, r0: bytes, dealer: str, holder: str, step: int, value: bytes
) -> bytes:
    """Return the hash commitment to a share ("b" or "s") or to a pair key ("pair")."""
    start = commitment_start(kind, keying, r0, dealer)
    return digest_between(start, commitment_end(holder, step), value)


def commitment_start(kind: str, keying: bytes, r0: bytes, dealer: str) -> bytes:
    """Return how the labels of all commitments of a dealer start, for many of them."""
    return public_label(f"commitment {kind}", keying, r0, dealer)


def commitment_end(holder: str, step: int) -> bytes:
    """Return how the labels of all commitments to a holder go on, up to the value."""
    return public_tail(holder, step)


def shares_info(keying: bytes, r0: bytes, dealer: str, holder: str) -> bytes:
    """Return the HPKE info under which shares are sealed."""
    return label("shares", keying, r0, dealer, holder)


def pair_info(keying: bytes, r0: bytes, dealer: str, holder: str, step: int) -> bytes:
    """Return the HPKE info under which a pair key is sealed."""
    return label("pair key", keying, r0, dealer, holder, step)


def pair_key(s: bytes, keying: bytes, r0: bytes, low: str, high: str, step: int) -> bytes:
    """Return k_uv = PRF(s_u, v) for u < v."""
    return derive(s, "k_uv", keying, r0, low, high, step)


def self_mask(b: bytes, ctx: bytes, r0: bytes, site: str) -> bytes:
    """Return the key of G(b_u), salted with context and R0."""
    return derive(b, "self mask", ctx, r0, site)


def pair_mask(k: bytes, ctx: bytes, r0: bytes, one: str, other: str) -> bytes:
    """Return the key of G(k_uv), salted with context and R0; the same from either end."""
    return derive(k, "pair mask", ctx, r0, min(one, other), max(one, other))


def y_hash(vector: Piece) -> bytes:
    """Return H(y), the SHA-256 of the labelled words of a masked vector."""
    hashing = hashlib.sha256(Y_LABEL)
    hashing.update(vector)
    return hashing.digest()


def check_key(ctx: bytes) -> bytes:
    """Return the public key whose stream gives the r_i of the check word."""
    return digest("check key", ctx)


def check_word(ctx: bytes, checksum: int, sites: int = 1) -> int:
    """Return the check word of a vector, or of a sum of that many vectors: c + Σ r_i x_i.

    It is public and linear, and it is masked like any other word. Once every mask is off,
    the last word of the sum is the check word of the sum; a mask that was left on by a wrong
    dealing, or a vector that changed on its way, spoils it; see masks.Checksum for how surely.

    Args:
        ctx: of the sum.
        checksum: Σ r_i x_i of the words, of masks.Checksum(check_key(ctx)).
        sites: how many vectors were added up.
    """
    constant = int.from_bytes(digest("check constant", ctx)[:8], "big")
    return (sites * constant + checksum) % (1 << 64)


def model_lock(task: str, model_hash: bytes) -> bytes:
    """Return the key that a site locks before it lets a sum over this model be opened."""
    return digest("model lock", task, model_hash)


def sum_lock(context: Context, step: int, model_hash: bytes, sites: Sequence[str] = ()) -> bytes:
    """Return the key that says which sum over a model a site confirmed: what, and of which sites.

    The attempt is left out: a sum that broke off may be made again, under the same configuration
    and over the very same sites.
    """
    run = context.run, context.round + step, context.config_hash
    return digest("sum lock", *run, context.task, model_hash, len(sites), *sites)


def stage_lock(stage: str, keying: bytes, step: int) -> bytes:
    """Return the key that a site locks so that it answers a stage once."""
    return digest("stage lock", stage, keying, step)


def reveal_parts(ctx: bytes, b_shares: Sequence[Share], s_shares: Sequence[Share]) -> list[Part]:
    """Return what the signature of a Reveal is over."""
    parts: list[Part] = [ctx, len(b_shares)]
    for one in (*b_shares, *s_shares):
        parts += [one.site, one.share]
    return parts
