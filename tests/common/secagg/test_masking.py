"""What MASK answers, against the textbook: whole streams, whole sums, and encode(Upload)."""

import hashlib

import numpy as np
import pytest

from common.secagg import masks, transcript
from common.secagg.derive import digest
from common.secagg.layout import layout_of
from common.secagg.masking import check_mask
from common.secagg.messages import Upload, decode, encode

WORD = 1 << 64
SMALL = 8


def textbook(table, sites, me, request):
    """Return y = x + G(b) + Σ_{v<u} G(k_uv) − Σ_{v>u} G(k_uv), with the check word in x."""
    model = table.context.model_hash
    keyed = check_mask(sites.members[me], sites.states[me], request, model_hash=model)
    ctx, r0, step = table.context.digest(), keyed.r0, keyed.steps[0]
    x = [int(word) for word in table.vectors[me]]
    r = masks.stream(transcript.check_key(ctx), 8 * len(x)).view("<u8")
    c = int.from_bytes(digest("check constant", ctx)[:8], "big")
    x.append((c + sum((int(a) | 1) * b for a, b in zip(r, x, strict=True))) % WORD)
    signed = [(1, transcript.self_mask(step.b, ctx, r0, me))]
    for pair in step.pairs:
        key = transcript.pair_mask(pair.share, ctx, r0, me, pair.site)
        signed.append((1 if pair.site < me else -1, key))
    for sign, key in signed:
        mask = masks.stream(key, 8 * len(x)).view("<u8")
        x = [(a + sign * int(m)) % WORD for a, m in zip(x, mask, strict=True)]
    return np.array(x, "<u8").tobytes()


@pytest.mark.parametrize("size", [3, 3 * (SMALL - 1), 3 * SMALL, 3 * (3 * SMALL - 1), 77])
def test_an_upload_is_the_textbooks_word_for_word(monkeypatch, table, size):
    monkeypatch.setattr(masks, "SEGMENT_WORDS", SMALL)
    monkeypatch.setattr(masks, "SEGMENT_BYTES", 8 * SMALL)
    four = table(4, layout=layout_of(4, {"w": (size,)}, 1.0))
    sites, given = four.sites(), {name: v.copy() for name, v in four.vectors.items()}
    expected, uploads = {}, {}

    def exchange(stage, requests):
        if stage != "mask":
            return sites(stage, requests)
        expected.update({name: textbook(four, sites, name, raw) for name, raw in requests.items()})
        uploads.update(sites(stage, requests))
        return uploads

    outcome = four.play(exchange)
    assert (outcome.words_W == four.plain_sum(four.names)).all()
    for name in four.names:
        vector, uploaded = expected[name], decode(Upload, uploads[name], name).uploaded
        assert uploaded.y_hash == hashlib.sha256(transcript.label("y") + vector).digest()
        assert uploads[name] == encode(Upload(vector, uploaded))
        assert (four.vectors[name] == given[name]).all()
