import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples():
    path = Path(__file__).with_name("samples.py")
    spec = importlib.util.spec_from_file_location("page_samples", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_samples"] = module
    spec.loader.exec_module(module)
    return module
