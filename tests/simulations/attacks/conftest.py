import pytest

from client.session import session
from simulations.attacks.scene import lay_scene


@pytest.fixture
def scene(tmp_path):
    """Five throw-away sites that nobody attacked yet."""
    session.cache_clear()
    yield lay_scene(tmp_path)
    session.cache_clear()
