"""A site's recordings as the arrays that training and evaluation consume."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class SiteData:
    """Every usable clip of one site; it never leaves the site.

    Args:
        x: modality name -> float32 (N, *shape); zeros where the modality is absent.
        present_NM: which clip has which modality, columns in the order of sorted(x).
        y_NC: each clip's targets in the columns of common.targets: the share of each class, then
            two shares for each dimension and label; zeros where nothing is known.
        person_N: index into person_ids.
        person_ids: the site's own names of persons, sorted.
        sample_ids: the manifest's sample_id per clip.
        split_N: "train", "validation", "test" or "" per clip.
    """

    x: dict[str, FloatArray]
    present_NM: npt.NDArray[np.bool_]
    y_NC: FloatArray
    person_N: npt.NDArray[np.int64]
    person_ids: tuple[str, ...]
    sample_ids: tuple[str, ...]
    split_N: npt.NDArray[np.str_]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.sample_ids)

    def take(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "SiteData":
        """Return the chosen clips; persons keep their index, so person_ids stays whole."""
        chosen_N = np.arange(len(self))[index]
        return SiteData(
            x={name: values[chosen_N] for name, values in self.x.items()},
            present_NM=self.present_NM[chosen_N],
            y_NC=self.y_NC[chosen_N],
            person_N=self.person_N[chosen_N],
            person_ids=self.person_ids,
            sample_ids=tuple(self.sample_ids[i] for i in chosen_N),
            split_N=self.split_N[chosen_N],
        )
