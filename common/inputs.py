"""What each modality looks like as a tensor, known from the study alone.

The coordinator builds the model from these shapes before any site has read a file, so
nothing here may depend on data. `client.data.features` implements every front end named
here; a test checks that the shapes agree.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.config import Modality, Study
from common.errors import ConfigError

Shape = tuple[int, ...]
Options = Mapping[str, Any]

KINDS = ("audio", "features", "image", "physio", "text", "video")
IMAGE_SIDE = 32
SPEECH_DIM = 432
PHYSIO_DIM = 66


@dataclass(frozen=True)
class FrontEndSpec:
    """The public side of a front end.

    Args:
        modality: the kind of modality it reads.
        shape: from complete options to the shape of one clip: (F,), (T, F) or (C, H, W).
        options: every option with its default; None marks one that the study must give.
        sizes: the options that are sizes: whole numbers from 1 to MAX_SIZE.
        rules: of other options: whether a value fits, and what was expected in words.
    """

    modality: str
    shape: Callable[[Options], Shape]
    options: Options
    sizes: tuple[str, ...] = ()
    rules: Mapping[str, tuple[Callable[[object], bool], str]] = field(default_factory=dict)


MAX_SIZE = 65_536
ENCODER = "encoder"
"""In a study: the frozen encoder for the modality's kind."""
WORDS = "words"
"""Option of an encoder of text: how many places of hashed words follow its features."""


def _matches(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


def _between(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def _encoder(modality: str, options: Options) -> FrontEndSpec:
    """A frozen encoder that reads a kind of modality: vectors of the size that the study says."""
    common = {"model": None, "sha256": None, "dim": None, "layer": -1, "pooling": "mean"}
    return FrontEndSpec(
        modality,
        lambda o: (o["dim"] + o.get(WORDS, 0),),
        {**common, "centre": 0.0, "scale": 1.0, **options},
        sizes=("dim",),
        rules={
            "model": (_matches(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), "an encoder's name"),
            "sha256": (_matches("[0-9a-f]{64}"), "the sha256 that `tacit data encoder` prints"),
            "layer": (
                lambda value: _between(-512, 512)(value) and isinstance(value, int),
                "a whole number: -1 is the output, 0 what comes before the first layer",
            ),
            "pooling": (lambda value: value in ("mean", "first"), "mean or first"),
            **{k: rule for k, rule in _ENCODER_RULES.items() if k in options},
        },
    )


_ENCODER_RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "chunk_s": (_between(1, 60), "a number from 1 to 60"),
    "frames_hz": (_between(0.01, 30), "a number from 0.01 to 30"),
    WORDS: (
        lambda value: _between(0, MAX_SIZE)(value) and isinstance(value, int),
        f"a whole number from 0 to {MAX_SIZE}",
    ),
}

FRONT_ENDS: dict[str, FrontEndSpec] = {
    "speech_functionals": FrontEndSpec("audio", lambda _: (SPEECH_DIM,), {}),
    "logmel": FrontEndSpec(
        "audio",
        lambda o: (o["frames"], o["bands"]),
        {"frames": 64, "bands": 40},
        sizes=("frames", "bands"),
    ),
    "gray32": FrontEndSpec("image", lambda _: (1, IMAGE_SIDE, IMAGE_SIDE), {}),
    "video_gray": FrontEndSpec(
        "video",
        lambda o: (o["frames"], o["side"] ** 2),
        {"frames": 8, "side": 24},
        sizes=("frames", "side"),
    ),
    "text_hash": FrontEndSpec("text", lambda o: (o["dim"],), {"dim": 4096}, sizes=("dim",)),
    "physio_functionals": FrontEndSpec("physio", lambda _: (PHYSIO_DIM,), {}),
    "vector": FrontEndSpec(
        "features",
        lambda o: (o["dim"],),
        {"dim": None, "centre": 0.0, "scale": 1.0},
        sizes=("dim",),
    ),
    "audio_encoder": _encoder("audio", {"chunk_s": 30.0}),
    "image_encoder": _encoder("image", {}),
    "text_encoder": _encoder("text", {WORDS: 0}),
    "video_encoder": _encoder("video", {"frames_hz": 1.0}),
}

DEFAULT_FRONT_END = {
    "audio": "speech_functionals",
    "features": "vector",
    "image": "gray32",
    "physio": "physio_functionals",
    "text": "text_hash",
    "video": "video_gray",
}


def kind_of(modality: str) -> str:
    """Return the kind of a modality: "features_NAME" is "features", others are themselves.

    Raises:
        ConfigError: when the name is no modality.
    """
    kind = "features" if modality.startswith("features_") else modality
    if kind not in KINDS:
        known = ", ".join((*KINDS, "features_NAME"))
        raise ConfigError(f"unknown modality {modality!r}; known: {known}{_nearest(kind, KINDS)}")
    return kind


def front_end_of(modality: str, settings: Modality) -> str:
    """Return the name of the front end that reads a modality ("auto" and "encoder" end here).

    Raises:
        ConfigError: when the front end is unknown or reads another kind of modality.
    """
    kind = kind_of(modality)
    words = {"auto": DEFAULT_FRONT_END[kind], ENCODER: f"{kind}_{ENCODER}"}
    name = words.get(settings.front_end, settings.front_end)
    fitting = sorted(n for n, spec in FRONT_ENDS.items() if spec.modality == kind)
    if name not in fitting:
        raise ConfigError(
            f"modalities.{modality}.front_end: {name!r} does not read {kind}; "
            f"expected one of auto, {', '.join(fitting)}{_nearest(name, fitting)}"
        )
    return name


def options_of(modality: str, settings: Modality) -> dict[str, Any]:
    """Return the front end's complete options: the study's over the defaults.

    Raises:
        ConfigError: on an unknown option, a missing one, or one out of range.
    """
    spec = FRONT_ENDS[front_end_of(modality, settings)]
    where = f"modalities.{modality}.options"
    for key in settings.options:
        if key not in spec.options:
            known = ", ".join(sorted(spec.options)) or "none"
            raise ConfigError(
                f"{where}: unknown option {key!r}; known: {known}{_nearest(key, spec.options)}"
            )
    options = {**spec.options, **settings.options}
    for key in spec.sizes:
        _check_size(f"{where}.{key}", options[key])
    for key, (fits, expected) in spec.rules.items():
        if not fits(options[key]):
            raise ConfigError(f"{where}.{key}: expected {expected}, found {options[key]!r}")
    return options


def encoders_of(study: Study, modalities: Collection[str] | None = None) -> dict[str, str]:
    """Return the frozen encoders that a study needs: name -> sha256.

    Args:
        study: names them.
        modalities: those that matter; None takes all.

    Raises:
        ConfigError: when a modality is not well described, or one name has two hashes.
    """
    found: dict[str, str] = {}
    for modality, settings in sorted(study.modalities.items()):
        if modalities is not None and modality not in modalities:
            continue
        if not front_end_of(modality, settings).endswith(f"_{ENCODER}"):
            continue
        options = options_of(modality, settings)
        if found.setdefault(options["model"], options["sha256"]) != options["sha256"]:
            raise ConfigError(
                f"modalities.{modality}.options.sha256: {options['model']} has another one "
                "elsewhere in the study"
            )
    return found


def input_shapes(study: Study) -> dict[str, Shape]:
    """Return the shape of one clip for each of the study's modalities, in sorted order.

    Raises:
        ConfigError: when the study has no modality, or one is not well described.
    """
    if not study.modalities:
        raise ConfigError("modalities: expected at least one modality, found none")
    return {
        name: FRONT_ENDS[front_end_of(name, study.modalities[name])].shape(
            options_of(name, study.modalities[name])
        )
        for name in sorted(study.modalities)
    }


def _check_size(where: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
        raise ConfigError(f"{where}: expected a whole number from 1 to {MAX_SIZE}, found {value!r}")


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
