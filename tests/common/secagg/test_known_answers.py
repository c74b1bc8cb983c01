import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from common.secagg import masks, shamir
from common.secagg.channel import suite

VECTORS = Path(__file__).parents[2] / "vectors/secagg/known_answers.json"


@pytest.fixture
def known():
    return json.loads(VECTORS.read_text())


def test_shamir_gives_the_shares_of_rfc_9591(known):
    frost = known["rfc9591"]
    line = [int(frost["secret"], 16), int(frost["coefficient"], 16)]
    shares = {int(x): int(share, 16) for x, share in frost["shares"].items()}
    assert {x: shamir.evaluate(line, x) for x in shares} == shares
    for left_out in shares:
        two = {x: share for x, share in shares.items() if x != left_out}
        assert shamir.recover(two) == line[0]


def ctr(key, counter, data):
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def test_aes_ctr_of_the_library_is_that_of_sp_800_38a(known):
    f55 = {k: bytes.fromhex(v) for k, v in known["sp800_38a_f55"].items() if k != "source"}
    assert ctr(f55["key"], f55["counter"], f55["plaintext"]) == f55["ciphertext"]


def test_the_mask_stream_starts_as_the_specification_says(known):
    key, stream = bytes.fromhex(known["masks"]["key"]), bytes.fromhex(known["masks"]["stream"])
    assert masks.stream(key, 32).tobytes() == stream


def test_the_mask_stream_is_aes_ctr_from_nonce_and_counter_two(known):
    key = bytes.fromhex(known["masks"]["key"])
    size = 2 * masks.SEGMENT_BYTES + 999
    stream = masks.stream(key, size).tobytes()
    for segment in range(3):
        start = segment * masks.SEGMENT_BYTES
        part = stream[start : start + masks.SEGMENT_BYTES]
        counter = segment.to_bytes(12, "big") + bytes([0, 0, 0, 2])
        assert part == ctr(key, counter, bytes(len(part)))


def test_masks_are_applied_as_whole_words_of_the_stream():
    keys = [hashlib.sha256(bytes([i])).digest() for i in range(3)]
    words = np.arange(2 * masks.SEGMENT_WORDS + 5, dtype=np.uint64)
    expected = words.copy()
    streams = [masks.stream(key, words.nbytes).view("<u8") for key in keys]
    expected += streams[0]
    expected += streams[1]
    expected -= streams[2]
    masks.apply(words, keys[:2], keys[2:])
    assert (words == expected).all()


def test_the_checksum_is_linear_and_sees_any_one_word():
    key = bytes(range(32))
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 1 << 64, (2, masks.SEGMENT_WORDS + 3), np.uint64)
    total = (masks.checksum(key, one) + masks.checksum(key, other)) % (1 << 64)
    assert masks.checksum(key, one + other) == total
    odd = masks.stream(key, one.nbytes).view("<u8") | np.uint64(1)
    assert masks.checksum(key, one) == int((odd * one).sum(dtype=np.uint64))
    for at in (0, 5, masks.SEGMENT_WORDS, one.size - 1):
        for bit in (0, 31, 63):
            changed = one.copy()
            changed[at] ^= np.uint64(1 << bit)
            assert masks.checksum(key, changed) != masks.checksum(key, one)


@pytest.mark.parametrize(("v", "most"), [(0, 0.0), (60, 2**-3), (62, 2**-1), (63, 1.0)])
def test_the_checksum_misses_changes_that_2_to_the_v_divides_once_in_2_to_the_63_less_v(v, most):
    changes = np.full(2, 1 << v, np.uint64)
    keys = [hashlib.sha256(bytes([i, j])).digest() for i in range(4) for j in range(250)]
    unseen = np.mean([masks.checksum(key, changes) == 0 for key in keys])
    assert unseen == pytest.approx(most, abs=0.05)


def opened(vector, kem, aead, private):
    raw = {k: bytes.fromhex(v) for k, v in vector.items() if k != "source"}
    plain = openssl.hpke._decrypt_with_aad(
        hpke.Suite(kem, hpke.KDF.HKDF_SHA256, aead),
        raw["enc"] + raw["ct"],
        private,
        raw["info"],
        raw["aad"],
    )
    return plain, raw["pt"]


def test_hpke_with_x25519_is_that_of_rfc_9180(known):
    vector = known["rfc9180_x25519"]
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["skRm"]))
    assert private.public_key().public_bytes_raw().hex() == vector["pkRm"]
    plain, expected = opened(vector, suite("x25519").kem, hpke.AEAD.AES_256_GCM, private)
    assert plain == expected


def test_hpke_with_mlkem768_and_x25519_is_that_of_the_draft(known):
    vector = known["hpke_pq_mlkem768_x25519"]
    seed = hashlib.shake_256(bytes.fromhex(vector["skRm"])).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(seed[:64])
    x25519 = X25519PrivateKey.from_private_bytes(seed[64:])
    public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    assert public.hex() == vector["pkRm"]
    private = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
    kem = suite("mlkem768_x25519").kem
    plain, expected = opened(vector, kem, hpke.AEAD.CHACHA20_POLY1305, private)
    assert plain == expected


def test_mlkem768_is_that_of_fips_203(known):
    kat = known["fips203_mlkem768"]
    private = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(kat["seed"]))
    public = private.public_key().public_bytes_raw()
    assert hashlib.sha256(public).hexdigest() == kat["pk_sha256"]
    assert private.decapsulate(bytes.fromhex(kat["ct"])).hex() == kat["ss"]
