"""The main job in one go: a synthetic corpus, a private federated run, and its report."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from common.config import Study
from common.settings import load_study
from simulations.console import console, following
from simulations.corpus import read_corpus, write_corpus
from simulations.report import RunResult, write_report
from simulations.result import read_result, with_ceiling
from simulations.studies import RunFolder, simulate


@dataclass(frozen=True)
class Demo:
    """What the demonstration leaves."""

    result: RunResult
    report: Path


def demonstrate(root: Path, engine: str, overrides: tuple[str, ...]) -> Demo:
    """Write the corpus, train with privacy and without, and write the report.

    Args:
        root: gets corpus/, private/ and open/; what an earlier demonstration left is replaced,
            but for the corpus and its features.
        engine: of the private run; the run without privacy is played in this process.
        overrides: key=value pairs on top of conf/studies/demo.yaml.
    """
    study = load_study("demo", overrides)
    corpus = root / "corpus"
    with console.status("writing the synthetic corpus …"):
        write_corpus(corpus)
    known = read_corpus(corpus)
    console.print(
        f"Corpus: {known.clips} clips of {len(known.sites)} sites in {corpus}; "
        f"chance {100 * known.chance:.0f}, ceiling {100 * known.ceiling_uar:.0f} UAR."
    )
    private = _run(study, corpus, root / "private", engine, "with privacy")
    openly = replace(study, privacy=replace(study.privacy, mode="none", noise_multiplier=None))
    without = _run(openly, corpus, root / "open", "in-process", "without privacy")
    result = read_result(private, engine, without, with_ceiling(corpus))
    return Demo(result, write_report(result, private.root))


def _run(study: Study, corpus: Path, out: Path, engine: str, title: str) -> RunFolder:
    shutil.rmtree(out, ignore_errors=True)
    with following(title, study.training.num_server_rounds) as watch:
        return simulate(study, corpus, out, engine, watch=watch)
