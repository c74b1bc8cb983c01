"""A synthetic multimodal corpus, written as the files that a lab would have."""

from simulations.corpus.write import CorpusReport, CorpusSettings, read_corpus, write_corpus

__all__ = ["CorpusReport", "CorpusSettings", "read_corpus", "write_corpus"]
