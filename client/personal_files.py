"""A personal model on disk: a folder like a run's, for the site's own eyes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from client.folder import stamp
from client.personalise import Personal
from common.affect import Evaluation, described
from common.errors import ConfigError, EnvironmentFault
from common.files import write_atomically
from common.settings import to_yaml

RECORD = "personal.json"


def place_for(out: Path | None, root: Path, run: Path) -> Path:
    """Where the personal model goes, made before anything is spent: a folder of mode 0700.

    Args:
        out: as asked; None stands for personal/RUN in the site's folder.
        root: the site's folder.
        run: the folder of the model that it begins as.

    Raises:
        ConfigError: the root is no site's folder, or the place is that of the base model.
        EnvironmentFault: the folder cannot be written.
    """
    stamp(root)
    folder = out or root / "personal" / run.resolve().name
    if folder.resolve() == run.resolve():
        raise ConfigError(f"{folder} holds the model to begin with; give another folder to --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EnvironmentFault(f"{folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EnvironmentFault(f"{folder} cannot be written.")
    return folder


def finish(personal: Personal, folder: Path, keep_worse: bool) -> dict[str, Any]:
    """Write a personal model, unless it reads the held-out persons worse than its base.

    Returns: what there is to say of it; `written` is null where nothing was written.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    is_kept = keep_worse or not personal.is_worse
    if is_kept:
        write_personal(personal, folder)
    return {**record_of(personal), "written": str(folder) if is_kept else None}


def write_personal(personal: Personal, folder: Path) -> None:
    """Write study.yaml, personal.json and model.safetensors, mode 0600; the model comes last.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    model = save(personal.arrays)
    record = {**record_of(personal), "sha256": hashlib.sha256(model).hexdigest()}
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "study.yaml", to_yaml(personal.study).encode(), private=True)
    write_atomically(folder / RECORD, text.encode(), private=True)
    write_atomically(folder / "model.safetensors", model, private=True)


def record_of(personal: Personal) -> dict[str, Any]:
    """What stands beside the model, and what `--json` prints."""
    cost, privacy = personal.cost, personal.study.privacy
    return {
        "study": personal.study.name,
        "site": personal.site,
        "base_sha256": personal.base_sha256,
        "tuned": personal.only,
        "steps" if cost else "passes": personal.training.local_steps,
        "learning_rate": personal.training.learning_rate,
        "epsilon": cost and cost.epsilon,
        "delta": cost and privacy.target_delta,
        "unit": cost and privacy.unit,
        "noise_multiplier": cost and cost.noise_multiplier,
        "epsilon_of_site": cost and cost.epsilon_of_site,
        "noise_from_a_seed": cost and cost.is_seeded,
        "persons_held_out": personal.before.persons,
        "before": _figures(personal.before),
        "after": _figures(personal.after),
        "is_worse": personal.is_worse,
    }


def _figures(found: Evaluation) -> dict[str, Any]:
    """Every figure; null where too few persons leave none."""
    known: dict[str, Any] = json.loads(json.dumps(described(found)), parse_constant=lambda _: None)
    return known
