"""What raters say of a clip beside its class: places on dimensions, labels that hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dimension:
    """A continuous target, such as valence, with the range in which it was rated.

    Args:
        least: lower end of the range; declared by the study, never read off data.
        most: upper end of the range.
        column: of the manifest; "" takes the dimension's own name.
    """

    least: float = -1.0
    most: float = 1.0
    column: str = ""


@dataclass(frozen=True)
class Label:
    """A target that holds or does not, whatever else holds.

    Args:
        column: of the manifest; "" takes the label's own name.
    """

    column: str = ""
