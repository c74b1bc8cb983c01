"""One planned clip becomes files: sound, frames, signals; its text goes into the manifest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from simulations.corpus import face, latent, voice, wearable, words
from simulations.corpus.plan import Clip, Person

CLIP_S = 1.5
WEARABLE_S = 12.0
"""A wrist band is slow: its signals around a clip are longer than the clip."""


@dataclass(frozen=True)
class Character:
    """All that is a person's own: habits of expression, voice, looks, wording, body."""

    habits: latent.Cues
    voice: voice.Voice
    face: face.Face
    style: words.Style
    body: wearable.Body


def draw_character(person: Person) -> Character:
    """Draw what is the person's own."""
    rng = np.random.default_rng((*person.seed, 0))
    return Character(
        habits=latent.draw_habits(rng),
        voice=voice.draw_voice(rng, person.sex == "female"),
        face=face.draw_looks(rng),
        style=words.draw_style(rng),
        body=wearable.draw_body(rng),
    )


def render(folder: Path, character: Character, clip: Clip) -> dict[str, str]:
    """Write what is recorded of a clip; return the manifest's cell for each modality."""
    cells = dict.fromkeys(latent.MODALITIES, "")
    for column, name in enumerate(latent.MODALITIES):
        if name in clip.modalities:
            rng = np.random.default_rng((*clip.seed, column))
            cue_D = clip.cues[name] + character.habits[name]
            cells[name] = RENDERERS[name](folder, rng, character, clip.sample_id, cue_D)
    return cells


def _audio(
    folder: Path, rng: np.random.Generator, who: Character, name: str, cue_D: latent.FloatArray
) -> str:
    samples_N = voice.speak(rng, who.voice, CLIP_S, *cue_D.tolist())
    soundfile.write(folder / "audio" / f"{name}.wav", samples_N, voice.RATE_HZ)
    return f"audio/{name}.wav"


def _video(
    folder: Path, rng: np.random.Generator, who: Character, name: str, cue_D: latent.FloatArray
) -> str:
    (folder / "video" / name).mkdir()
    for number, frame in enumerate(face.film(rng, who.face, *cue_D.tolist())):
        frame.save(folder / "video" / name / f"frame_{number:02d}.png", compress_level=1)
    return f"video/{name}"


def _text(
    folder: Path, rng: np.random.Generator, who: Character, name: str, cue_D: latent.FloatArray
) -> str:
    return words.say(rng, who.style, cue_D)


def _physio(
    folder: Path, rng: np.random.Generator, who: Character, name: str, cue_D: latent.FloatArray
) -> str:
    signals = wearable.measure(rng, who.body, WEARABLE_S, *cue_D.tolist())
    (folder / "physio" / f"{name}.csv").write_text(wearable.as_csv(signals))
    return f"physio/{name}.csv"


RENDERERS = {"audio": _audio, "physio": _physio, "text": _text, "video": _video}
