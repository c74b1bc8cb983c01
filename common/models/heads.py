"""From the fused token to one score per class."""

from torch import nn


def class_head(width: int, classes: int, hidden: int, dropout: float) -> nn.Module:
    """Build the last layers: a linear map, after a non-linearity unless encoders are linear too.

    Its last layer starts at zero, so that an untrained model says "all classes alike".
    """
    last = zeroed(nn.Linear(width, classes))
    if hidden == 0:
        return last
    return nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), last)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """Return the layer with its parameters set to zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
