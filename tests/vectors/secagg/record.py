# ruff: noqa: E501
"""Write the vectors of this folder anew: `python tests/vectors/secagg/record.py`.

A new recording differs in the ciphertexts (HPKE draws its own randomness) and in all that
follows from them; what it must not differ in is whether the old recording still replays.
Record anew only when the protocol changes, and give it a new name then.
"""

import base64
import importlib.util
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

ME = "site-01"
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from common.privacy.ledger import Head  # noqa: E402
from common.secagg import states, transcript  # noqa: E402
from common.secagg.messages import (  # noqa: E402
    MAGIC,
    Advert,
    AdvertiseRequest,
    ConfirmRequest,
    MaskRequest,
    Reveal,
    ShareRequest,
    UnmaskRequest,
    Upload,
    decode,
    encode,
)
from common.witness import note_of  # noqa: E402

OTHER = note_of(Head(3, "22" * 32))


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def conftest():
    spec = importlib.util.spec_from_file_location(
        "secagg_tables", ROOT / "tests/common/secagg/conftest.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def record(table) -> dict:
    """Play a round in which site-03 is lost at MASK, and keep everything."""
    sites = table.sites({"mask": frozenset(["site-03"])})
    stages = {}

    def exchange(stage, requests):
        entropy = {name: len(source.given) for name, source in sites.entropy.items()}
        replies = sites(stage, requests)
        stages[stage] = {
            name: {
                "request": b64(requests[name]),
                "entropy": [b64(e) for e in sites.entropy[name].given[entropy[name] :]],
                "reply": b64(reply),
                "state": b64(states.dump(sites.states[name])),
            }
            for name, reply in replies.items()
        }
        return replies

    kept = table.seen()
    outcome = table.play(exchange)
    context = asdict(table.context)
    return {
        "what": "A whole round of SA1 with four sites; site-03 is lost at MASK.",
        "suite": table.policy.suite,
        "min_sites": table.policy.min_sites,
        "layout": {"sites": 4, "shapes": {"w": [20]}, "scale": 1.0, "exacts": {"count": []}},
        "tasks": ["train", "evaluate"],
        "private_keys": {name: one.private_key.hex() for name, one in table.identities.items()},
        "policy_id": table.policy.policy_id.hex(),
        "context": {k: v.hex() if isinstance(v, bytes) else v for k, v in context.items()},
        "ctx": table.context.digest().hex(),
        "notes": {name: one.own.hex() for name, one in table.notes.items()},
        "kept_notes": {name: note.hex() for name, note in kept.items()},
        "vectors": {name: b64(vector.tobytes()) for name, vector in table.vectors.items()},
        "stages": stages,
        "sum": b64(outcome.words_W.tobytes()),
        "contributors": list(outcome.contributors),
    }


def raw_of(vector: dict, stage: str, site: str, kind: str) -> bytes:
    return base64.b64decode(vector["stages"][stage][site][kind])


def flip(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


def entry(items, site, /, **changes):
    return tuple(replace(one, **changes) if one.site == site else one for one in items)


def without(items, *sites):
    return tuple(one for one in items if one.site not in sites)


def signed(table, advert: Advert) -> Advert:
    parts = transcript.advert_parts(table.context.keying, advert)
    return replace(advert, signature=table.identities[advert.site].sign("advert", *parts))


def renoted(table, share: ShareRequest, note: bytes | None) -> ShareRequest:
    """The request in which site-00 itself shows another head of its ledger."""
    first, *others = share.adverts
    return replace(share, adverts=(signed(table, replace(first, note=note)), *others))


def bad_requests(vector: dict, table) -> dict[str, tuple]:
    """{name: (stage, request to ME, error, reason)}."""

    def request(cls, stage):
        return decode(cls, raw_of(vector, stage, ME, "request"), "coordinator")

    edits = {
        "advertise": bad_starts(request(AdvertiseRequest, "advertise")),
        "share": bad_adverts(request(ShareRequest, "share"), table),
        "mask": bad_dealings(request(MaskRequest, "mask")),
        "confirm": bad_uploads(vector, request(ConfirmRequest, "confirm"), table),
        "unmask": bad_confirmations(request(UnmaskRequest, "unmask"), table),
    }
    out = {
        name: (stage, encode(new), *rest)
        for stage, named in edits.items()
        for name, (new, *rest) in named.items()
    }
    return out | bad_bytes(vector)


def bad_starts(start: AdvertiseRequest) -> dict[str, tuple]:
    """{name: (request, error, reason)}, like those that follow."""
    return {
        "policy": (replace(start, context=replace(start.context, policy_id=bytes(32))), "PolicyRefused", "another policy"),
        "config": (replace(start, context=replace(start.context, config_hash=bytes(32))), "PolicyRefused", "another configuration"),
    }  # fmt: skip


def bad_adverts(share: ShareRequest, table) -> dict[str, tuple]:
    key, back = share.adverts[2].channel_key, note_of(Head(2, "22" * 32))
    return {
        "swapped_key": (replace(share, adverts=entry(share.adverts, "site-00", channel_key=key)), "PeerMisbehaved", "coordinator: the advert of 'site-00' is not signed by it"),
        "invented_site": (replace(share, adverts=entry(share.adverts, "site-03", site="site-99")), "PeerMisbehaved", "coordinator: the advert of 'site-99' is not signed by it"),
        "cohort_of_two": (replace(share, adverts=share.adverts[:2]), "TooFewSites", "expected at least 3 sites, got 2"),
        "own_advert_missing": (replace(share, adverts=without(share.adverts, ME)), "PeerMisbehaved", "own advert is missing"),
        "head_went_back": (renoted(table, share, back), "PeerMisbehaved", "site-00: its ledger went back"),
        "head_contradicts": (renoted(table, share, OTHER), "PeerMisbehaved", "site-00: its ledger contradicts itself"),
        "head_missing": (renoted(table, share, None), "PeerMisbehaved", "site-00: shows no head"),
        "head_altered": (replace(share, adverts=entry(share.adverts, "site-00", note=OTHER)), "PeerMisbehaved", "coordinator: the advert of 'site-00' is not signed by it"),
    }  # fmt: skip


def bad_dealings(mask: MaskRequest) -> dict[str, tuple]:
    item = mask.dealt[0].item
    tampered = replace(item, sealed_shares=flip(item.sealed_shares))
    return {
        "tampered_ciphertext": (replace(mask, dealt=entry(mask.dealt, "site-00", item=tampered)), "PeerMisbehaved", "the item of 'site-00' is not what it dealt"),
        "other_model": (replace(mask, model_hash=bytes(32)), "PeerMisbehaved", "another model"),
        "dealing_held_back": (replace(mask, dealt=without(mask.dealt, "site-00")), "PeerMisbehaved", "one item from each neighbour"),
    }  # fmt: skip


def bad_uploads(vector: dict, confirm: ConfirmRequest, table) -> dict[str, tuple]:
    r1 = states.load(raw_of(vector, "mask", ME, "state")).r1
    back = replace(confirm.uploads[0], note=note_of(Head(2, "22" * 32)))
    parts = transcript.upload_parts(confirm.ctx, r1, back)
    back = replace(back, signature=table.identities["site-00"].sign("upload", *parts))
    return {
        "head_of_upload_went_back": (replace(confirm, uploads=(back, *confirm.uploads[1:])), "PeerMisbehaved", "site-00: its ledger went back"),
        "altered_y_hash": (replace(confirm, uploads=entry(confirm.uploads, "site-00", y_hash=bytes(32))), "PeerMisbehaved", "the upload of 'site-00' is not signed by it"),
        "head_of_upload_altered": (replace(confirm, uploads=entry(confirm.uploads, "site-00", note=OTHER)), "PeerMisbehaved", "the upload of 'site-00' is not signed by it"),
        "own_upload_missing": (replace(confirm, uploads=without(confirm.uploads, ME)), "TooFewSites", "CONFIRM"),
    }  # fmt: skip


def bad_confirmations(unmask: UnmaskRequest, table) -> dict[str, tuple]:
    other_list = table.identities["site-00"].sign("confirm", unmask.ctx, bytes(32))
    return {
        "two_lists": (replace(unmask, confirmations=entry(unmask.confirmations, "site-00", signature=other_list)), "TooFewSites", "got 2"),
        "too_few_confirmations": (replace(unmask, confirmations=without(unmask.confirmations, "site-02")), "TooFewSites", "got 2"),
    }  # fmt: skip


def bad_bytes(vector: dict) -> dict[str, tuple]:
    """{name: (stage, bytes that are no such request, error, reason)}."""
    raw, mask = (raw_of(vector, stage, ME, "request") for stage in ("share", "mask"))
    at = len(MAGIC) + 1 + 32
    huge = raw[:at] + b"\xff" * 4 + raw[at + 4 :]
    return {
        "huge_count": ("share", huge, "PeerMisbehaved", "coordinator: malformed ShareRequest"),
        "truncated": ("mask", mask[:-3], "PeerMisbehaved", "coordinator: malformed MaskRequest"),
        "replayed_stage": ("mask", raw, "PeerMisbehaved", "expected MaskRequest"),
    }


def bad_replies(vector: dict, table) -> dict[str, tuple]:
    """{name: (stage, reply of ME, reason)}."""

    def reply(cls, stage):
        return decode(cls, raw_of(vector, stage, ME, "reply"), ME)

    advert, upload, reveal = (
        reply(Advert, "advertise"),
        reply(Upload, "mask"),
        reply(Reveal, "unmask"),
    )
    shares = (replace(reveal.b_shares[0], share=bytes(32)), *reveal.b_shares[1:])
    parts = transcript.reveal_parts(table.context.digest(), shares, reveal.s_shares)
    lying = replace(reveal, b_shares=shares, signature=table.identities[ME].sign("reveal", *parts))
    return {
        "shown_head_went_back": ("advertise", encode(signed(table, replace(advert, note=note_of(Head(2, "22" * 32))))), "its ledger went back"),
        "advert_signature": ("advertise", encode(replace(advert, signature=flip(advert.signature))), "its advert is not signed"),
        "advert_in_anothers_name": ("advertise", encode(replace(advert, site="site-00")), "replied in the name of 'site-00'"),
        "dealing_with_trailing_bytes": ("share", raw_of(vector, "share", ME, "reply") + b"\0", "1 bytes too many"),
        "altered_vector": ("mask", encode(replace(upload, vector=flip(bytes(upload.vector)))), "not the one whose hash it signed"),
        "wrong_share": ("unmask", encode(lying), "revealed a wrong share of b of 'site-00'"),
    }  # fmt: skip


def write(name: str, content: dict) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    tables = conftest()
    for suite in tables.SUITES:
        table = tables.make_table(4, suite, seed="vectors")
        vector = record(table)
        write(f"round_{suite}", vector)
        for name, (stage, raw, error, reason) in bad_requests(vector, table).items():
            write(f"bad_{name}_{suite}", {"base": f"round_{suite}", "stage": stage, "site": ME, "request": b64(raw), "error": error, "reason": reason})  # fmt: skip
        for name, (stage, raw, reason) in bad_replies(vector, table).items():
            write(f"bad_{name}_{suite}", {"base": f"round_{suite}", "stage": stage, "site": ME, "reply": b64(raw), "reason": reason})  # fmt: skip


if __name__ == "__main__":
    main()
