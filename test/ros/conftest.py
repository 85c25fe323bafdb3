from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """All tests of this folder need ROS."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ros)
