"""Text as signed hashed counts of character n-grams and words, for any language and script."""

import itertools
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from client.data.arrays import FloatArray
from client.data.features.base import FrontEnd, Window
from client.data.manifest import Source
from client.data.readers.files import check_size
from client.data.readers.text import MAX_TEXT_BYTES, read_text
from common.inputs import Options

NGRAMS = (1, 2, 3, 4, 5)
WORD, PAIR, PIECE = 2.0, 1.0, 0.5
TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


def text_hash(text: str, dim: int) -> FloatArray:
    """Return signed hashed counts, damped by the logarithm and scaled to unit L2 norm.

    Args:
        text: any script; it is normalised (NFKC) and case-folded first.
        dim: number of hash buckets.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning,
    ICML 2009 (signed hashing); length leaves no trace in the unit norm.
    """
    vector = np.zeros(dim, dtype=np.float64)
    for (gram, weight), count in Counter(grams(text)).items():
        code = zlib.crc32(gram.encode())
        sign = 1.0 if code & 1 else -1.0
        vector[(code >> 1) % dim] += sign * weight * (1.0 + np.log(count))
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype(np.float32)


def grams(text: str) -> Iterator[tuple[str, float]]:
    """Yield words, pairs of words and pieces of words (with their borders), each with a weight.

    A word weighs most; the many pieces of a word, which also serve languages without
    spaces and words never seen, weigh less each.
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    words = TOKEN.findall(plain)
    for word in words:
        yield f"w {word}", WORD
        bordered = f" {word} "
        for n in NGRAMS:
            for start in range(len(bordered) - n + 1):
                yield f"c {bordered[start : start + n]}", PIECE
    for left, right in itertools.pairwise(words):
        yield f"p {left} {right}", PAIR


def source_text(source: Source) -> str:
    """Return a source's text: the file's, or what stands in the manifest itself."""
    return read_text(source) if isinstance(source, Path) else str(source)


def _files(source: Source) -> Sequence[Path]:
    if not isinstance(source, Path):
        return ()
    check_size(source, MAX_TEXT_BYTES)
    return (source,)


def _extract(source: Source, windows: Sequence[Window], options: Options) -> list[FloatArray]:
    return [text_hash(source_text(source), options["dim"])] * len(windows)


TEXT_HASH = FrontEnd(version=1, files=_files, extract=_extract)
