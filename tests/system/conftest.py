"""The keys of these tests' provinces: a guess of their passphrases costs next to nothing."""

from tests.host_tools.conftest import cheap_keys  # noqa: F401
