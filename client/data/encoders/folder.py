"""A folder that holds a pretrained encoder: looked through and hashed before anything is loaded.

Only safetensors and the JSON and text files beside them are ever opened. Pickled weights, code,
settings that name code, and links that lead out of the folder are refused, so whatever a folder
holds, loading it runs none of it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from client.data.readers.files import check_size, file_hash
from common.errors import ConfigError, DataError, EnvironmentFault

WEIGHTS = ".safetensors"
MOST_BYTES = {
    WEIGHTS: 32 << 30,
    ".json": 1 << 27,
    ".txt": 1 << 26,
    ".model": 1 << 26,
    ".jinja": 1 << 20,
}
"""What belongs to an encoder, and how large it may be."""
PAPERS = ("readme", "license", "licence", "notice", "copying", "use_policy", "model_card")
PAPER_SUFFIXES = ("", ".md", ".txt", ".rst", ".pdf")
MAX_PAPER_BYTES = 1 << 22
MAX_CONFIG_BYTES = 1 << 22
FOREIGN_WEIGHTS = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".onnx", ".ot", ".npz"}
)
CODE = frozenset({".py", ".pyc", ".so", ".dll", ".sh"})
FORBIDDEN = {
    "auto_map": "names code to run",
    "custom_pipelines": "names code to run",
    "quantization_config": "asks for another library",
    "base_model_name_or_path": "names weights that are elsewhere",
    "transformers_weights": "names weights of another name",
    "fast_tokenizer_files": "names tokenizers of another name",
    "configuration_files": "names configurations of another name",
}
ATTENTION = (None, "eager", "sdpa")
MOST = {"chunk_length": 60, "height": 4096, "width": 4096, "shortest_edge": 4096}
MOST_LAYERS = 512
MOST_NUMBER = 1 << 24
UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True)
class EncoderFolder:
    """What a folder holds, as it was when it was looked through.

    Args:
        path: of the folder.
        files: name -> SHA-256 of each file that decides the output, in order.
        papers: name -> SHA-256 of what is beside them: the model card, the licence.
        licence: as the site or the model card says; "unknown" where neither does.
        parameters: numbers that the weight files hold.
    """

    path: Path
    files: Mapping[str, str]
    papers: Mapping[str, str]
    licence: str
    parameters: int

    @property
    def sha256(self) -> str:
        """One hash over the names and hashes of all files: what a study pins."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in self.files.items())
        return hashlib.sha256(lines.encode()).hexdigest()


def look_through(path: Path, licence: str = "") -> EncoderFolder:
    """Return what an encoder's folder holds; nothing of it is loaded.

    Args:
        path: the folder.
        licence: as the site knows it; empty takes the model card's.

    Guarantees: every file that loading could read is a regular file inside the folder, is of a
    kind on a closed list and of bounded size; no setting names code; the weights' headers fit
    their files.

    Raises:
        ConfigError: saying which file is wrong and what to do.
    """
    if not path.is_dir():
        raise ConfigError(f"{path}: expected the folder of an encoder; there is none.")
    for name in _names_below(path):
        _refuse_foreign(path, name)
    top = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("."))
    names = [name for name in top if (path / name).is_file()]
    papers = [name for name in names if _is_paper(name)]
    files = [name for name in names if name not in papers]
    try:
        for name in names:
            check_size(path / name, _most_bytes(path, name, name in papers))
        hashes = {name: file_hash(path / name) for name in names}
    except (DataError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from None
    _check_settings(path, files)
    said = licence or _card_licence(path, papers)
    return EncoderFolder(
        path,
        {name: hashes[name] for name in files},
        {name: hashes[name] for name in papers},
        said or UNKNOWN_LICENCE,
        sum(_numbers(path / name) for name in files if name.endswith(WEIGHTS)),
    )


@contextmanager
def only_its_files(folder: EncoderFolder) -> Iterator[Path]:
    """Yield a private copy that holds the files of a folder and nothing else, as long as asked.

    Guarantees: what is read there is what was looked through, whatever changes in the folder
    meanwhile or lies beside it.

    Raises:
        ConfigError: a file is not what it was when it was looked through.
        EnvironmentFault: there is no room for a copy.
    """
    with tempfile.TemporaryDirectory(prefix="tacit-encoder-") as made:
        for name, digest in folder.files.items():
            try:
                shutil.copyfile(folder.path / name, Path(made) / name)
                found = file_hash(Path(made) / name)
            except OSError as error:
                raise EnvironmentFault(
                    f"{folder.path / name} cannot be copied to {made}: {error.strerror}; TMPDIR "
                    "says where copies go."
                ) from error
            if found != digest:
                raise ConfigError(f"{folder.path / name} has changed; look through it again.")
        yield Path(made)


def read_settings(path: Path, name: str) -> Any:
    """Return what a JSON file of an encoder's folder says.

    Raises:
        ConfigError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise ConfigError(f"{path / name}: not a JSON file.") from None


def _names_below(path: Path) -> Iterator[str]:
    """Yield every entry below a folder, hidden ones left out: nothing reads those."""
    for here, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            if not name.startswith("."):
                yield str((Path(here) / name).relative_to(path))


def _refuse_foreign(path: Path, name: str) -> None:
    suffix = Path(name).suffix.lower()
    if not (path / name).resolve().is_relative_to(path.resolve()):
        raise ConfigError(
            f"{path / name} is a link that leads out of the folder; copy the files themselves "
            "(hf download --local-dir does)."
        )
    if suffix in FOREIGN_WEIGHTS:
        raise ConfigError(
            f"{path / name}: weights are read from {WEIGHTS} files alone, since other formats can "
            "run code or differ; remove it, or fetch the model's safetensors."
        )
    if suffix in CODE:
        raise ConfigError(f"{path / name}: an encoder's folder holds no code; remove it.")


def _most_bytes(path: Path, name: str, is_paper: bool) -> int:
    suffix = Path(name).suffix.lower()
    if is_paper:
        return MAX_PAPER_BYTES
    if _is_config(name):
        return MAX_CONFIG_BYTES
    if suffix not in MOST_BYTES:
        known = ", ".join(MOST_BYTES)
        raise ConfigError(f"{path / name}: expected files of {known} only; remove it.")
    return MOST_BYTES[suffix]


def _is_paper(name: str) -> bool:
    return name.lower().startswith(PAPERS) and Path(name).suffix.lower() in PAPER_SUFFIXES


def _is_config(name: str) -> bool:
    return name.endswith(".json") and "config" in name.lower()


def _check_settings(path: Path, files: list[str]) -> None:
    if "config.json" not in files:
        raise ConfigError(f"{path}: expected config.json; this is no encoder's folder.")
    if not any(name.endswith(WEIGHTS) for name in files):
        raise ConfigError(f"{path}: expected weights as {WEIGHTS}; there are none.")
    if "adapter_config.json" in files:
        raise ConfigError(f"{path}: adapters are not read; merge them into the model first.")
    for name in filter(_is_config, files):
        _check_values(path / name, read_settings(path, name))
    for name in (name for name in files if name.endswith(".index.json")):
        found = read_settings(path, name)
        listed = found.get("weight_map") if isinstance(found, dict) else None
        if not isinstance(listed, dict) or not set(map(str, listed.values())) <= set(files):
            raise ConfigError(f"{path / name}: lists weights that are not in the folder.")


def _check_values(file: Path, value: Any, key: str = "") -> None:
    """Refuse settings that name code or other weights, and sizes that no encoder has."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in FORBIDDEN and inner:
                raise ConfigError(f"{file}: {name} {FORBIDDEN[name]}, which is refused.")
            if "attn_implementation" in name and inner not in ATTENTION:
                raise ConfigError(f"{file}: {name} asks for another library, which is refused.")
            _check_values(file, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_values(file, inner, key)
    elif isinstance(value, int) and key != "model_max_length":
        most = MOST_LAYERS if key.endswith("layers") else MOST.get(key, MOST_NUMBER)
        if abs(value) > most:
            raise ConfigError(f"{file}: {key} is {value}; expected at most {most}.")


def _numbers(path: Path) -> int:
    """Return how many numbers a weight file holds; its header must fit the file."""
    try:
        with safe_open(path, framework="np") as file:
            return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: damaged weights: {str(error)[:120]}") from None


def _card_licence(path: Path, papers: list[str]) -> str:
    """Return the licence in the front matter of the model card; empty where it says none."""
    card = next((name for name in papers if name.lower() == "readme.md"), None)
    if card is None:
        return ""
    text = (path / card).read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return ""
    try:
        front = yaml.safe_load(text[3:].partition("\n---")[0])
    except (yaml.YAMLError, RecursionError, ValueError):
        return ""
    said = front.get("license") if isinstance(front, dict) else None
    return str(said)[:64] if isinstance(said, str) else ""
