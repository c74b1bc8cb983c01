"""The figures that are reported for a classifier."""

from dataclasses import dataclass

from common.affect.moments import Estimate


@dataclass(frozen=True)
class Metrics:
    """What a classifier reached on the evaluated persons.

    Args:
        classes: the study's classes, in its order.
        uar: unweighted average recall over the classes that occur; chance is 1/their number.
        weighted_f1: F1 averaged by the classes' share of clips.
        macro_f1: F1 averaged over the classes that occur.
        accuracy: share of clips that are right.
        recall: class -> share of its clips that are right, for classes that occur.
        confusion_CC: clips of class (row) that were given class (column).
        log_loss: mean cross-entropy in nats against the label's distribution.
        calibration_error: expected distance of confidence from accuracy, in ten public bins. Like
            log_loss it has no interval: the sums hold neither of them by person, and a distance is
            not smooth where it is zero.
        persons: persons evaluated.
        clips: clips evaluated, abstentions included.
        abstained: clips without any modality; they count as wrong.
        absent_classes: classes that do not occur and are left out of uar and macro_f1.
        confidence: coverage of every interval, by person.
    """

    classes: tuple[str, ...]
    uar: Estimate
    weighted_f1: Estimate
    macro_f1: Estimate
    accuracy: Estimate
    recall: dict[str, Estimate]
    confusion_CC: tuple[tuple[int, ...], ...]
    log_loss: float
    calibration_error: float
    persons: int
    clips: int
    abstained: int
    absent_classes: tuple[str, ...]
    confidence: float

    @property
    def chance(self) -> float:
        """The recall of guessing, averaged over the classes that occur."""
        return 1 / (len(self.classes) - len(self.absent_classes))
