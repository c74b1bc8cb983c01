"""The one door to transformers: a frozen network and its processor, from a folder of the site.

What the folder holds was looked through before (client.data.encoders.folder). Nothing is fetched,
no code of the folder is run, and a weight that the files lack is an error, since it would be
drawn at random.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from client.data.encoders.folder import EncoderFolder, only_its_files
from common.errors import ConfigError, EnvironmentFault

LOCAL = {"local_files_only": True, "trust_remote_code": False}
TOWERS = {
    "audio": ("encoder", "audio_model", "audio_tower"),
    "text": ("encoder", "text_model"),
    "image": ("vision_model", "vision_tower"),
}
"""Kind -> where the part that reads it stands in a model of several parts."""
UNUSED = ("pooler.", "masked_spec_embed", "embeddings.mask_token")
"""Weights that features do not depend on: those of heads, and of masking while training."""
SPARE_NUMBERS = 1 << 24


@dataclass(frozen=True)
class Parts:
    """What was loaded.

    Args:
        network: frozen, in evaluation mode, in single precision.
        processor: transformers' feature extractor, tokenizer or image processor.
        layers: how many hidden layers the network says it has.
    """

    network: nn.Module
    processor: Any
    layers: int


def load_parts(folder: EncoderFolder, kind: str, device: torch.device) -> Parts:
    """Load an encoder for one kind of recording.

    Args:
        folder: looked through.
        kind: "audio", "text" or "image".
        device: where it will run.

    Guarantees: no network is used, no code of the folder is run, and every weight that features
    depend on comes from the folder's files.

    Raises:
        ConfigError: the files do not make an encoder of this kind.
        EnvironmentFault: transformers is not installed.
    """
    library = _library()
    with only_its_files(folder) as place:
        try:
            processor = _processor(library, folder, place, kind)
            config = library.AutoConfig.from_pretrained(place, **LOCAL)
            _check_numbers(library, folder, config)
            network, report = library.AutoModel.from_pretrained(
                place,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **LOCAL,
            )
            where, tower = _tower(network, kind)
        except ConfigError:
            raise
        except Exception as error:  # files of others make the library raise whatever it likes
            said = str(error).strip().replace(str(place), str(folder.path))
            reason = (said or type(error).__name__).splitlines()[0][:200]
            raise ConfigError(f"{folder.path}: not an encoder of {kind}: {reason}") from None
    _check_complete(folder, where, report)
    tower.requires_grad_(False).eval().to(device)
    return Parts(tower, processor, _layers(tower, config))


def write_untrained(
    folder: Path,
    network: str,
    processor: str,
    settings: Mapping[str, Any],
    reading: Mapping[str, Any] = MappingProxyType({}),
    seed: int = 0,
) -> None:
    """Write an encoder with random weights, to try and to measure with: it has learnt nothing.

    Args:
        folder: to write to.
        network: such as "WavLM", as transformers begins its names.
        processor: such as "Wav2Vec2FeatureExtractor".
        settings: of its configuration.
        reading: settings of the processor.
        seed: of the weights.
    """
    library = _library()
    config = getattr(library, f"{network}Config")(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made = getattr(library, f"{network}Model")(config)
    made.save_pretrained(folder)
    getattr(library, processor)(**reading).save_pretrained(folder)


def _library() -> Any:
    """Return transformers, silent and told to stay offline."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    library: Any
    try:
        import transformers as library  # noqa: PLC0415 - heavy, and an extra: who uses it pays
    except ImportError:
        raise EnvironmentFault(
            "Frozen encoders need transformers, which is not installed: "
            "pip install -c constraints.txt 'tacit[encoders]'"
        ) from None
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    return library


def _processor(library: Any, folder: EncoderFolder, place: Path, kind: str) -> Any:
    if kind == "text":
        if not any(name.startswith(("tokenizer", "vocab", "spiece")) for name in folder.files):
            raise ConfigError(f"{folder.path}: expected a tokenizer (tokenizer.json); found none.")
        return library.AutoTokenizer.from_pretrained(place, **LOCAL)
    if not {"preprocessor_config.json", "processor_config.json"} & set(folder.files):
        raise ConfigError(f"{folder.path}: expected preprocessor_config.json; found none.")
    if kind == "image":
        return library.AutoImageProcessor.from_pretrained(place, backend="pil", **LOCAL)
    return library.AutoFeatureExtractor.from_pretrained(place, **LOCAL)


def _check_numbers(library: Any, folder: EncoderFolder, config: Any) -> None:
    """Refuse a description of a network far larger than the weights, before it takes memory."""
    with torch.device("meta"):
        planned = sum(p.numel() for p in library.AutoModel.from_config(config).parameters())
    if planned > 2 * folder.parameters + SPARE_NUMBERS:
        raise ConfigError(
            f"{folder.path}: config.json describes {planned:,} numbers, "
            f"the weights hold {folder.parameters:,}."
        )


def _tower(network: nn.Module, kind: str) -> tuple[str, nn.Module]:
    """Return the part that reads this kind, and the prefix of its weights' names."""
    config: Any = network.config
    is_joint = getattr(config, "is_encoder_decoder", False) or hasattr(config, "vision_config")
    for name in TOWERS[kind] if is_joint else ():
        part = getattr(network, name, None)
        if isinstance(part, nn.Module):
            return f"{name}.", part
    if is_joint:
        raise ConfigError(f"the model has no part that reads {kind}")
    return "", network


def _check_complete(folder: EncoderFolder, where: str, report: Any) -> None:
    missing = sorted(str(name) for name in report["missing_keys"] if str(name).startswith(where))
    needed = [name for name in missing if not name.removeprefix(where).startswith(UNUSED)]
    if needed or report.get("mismatched_keys"):
        raise ConfigError(
            f"{folder.path}: the weights lack {len(needed)} of the network's tensors "
            f"({', '.join(needed[:3])} …); they would be drawn at random."
        )


def _layers(tower: nn.Module, config: Any) -> int:
    own: Any = getattr(tower, "config", config)
    return int(getattr(own, "num_hidden_layers", 0) or getattr(own, "encoder_layers", 0))
