"""What happens to a real agent reaches an open page: real broker, ingest and pages."""

import http.client
import json
import re
from pathlib import Path

import pytest

from tests.host_tools.pages.real_village import real_village
from tests.host_tools.pages.test_pages_live import PATIENCE_S, log_in

pytestmark = pytest.mark.slow

_MOST_LINES = 2_000  # of the stream: some minutes


def test_the_outage_of_a_real_agent_reaches_an_open_page(tmp_path: Path):
    with real_village(tmp_path / "plant") as village:
        port, box = village.site.settings.port, f"b{village.slot}"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        headers = {"cookie": log_in(connection), "accept-language": "en"}
        connection.request("GET", "/live", headers=headers)
        stream = connection.getresponse()
        seen = []
        for _ in range(_MOST_LINES):
            line = stream.readline()
            assert line, "the stream has ended"
            if not line.startswith(b"data: "):
                continue
            part = json.loads(line[6:])["parts"].get(box)
            found = part and re.search(r'class="box (\w+)', part)
            if found and found[1] not in seen[-1:]:
                seen.append(found[1])
                if found[1] == "up" and "provider" not in seen:
                    village.cut.set()
                elif found[1] == "provider":
                    village.cut.clear()
                elif found[1] == "up":
                    break
        connection.close()
        assert "provider" in seen and seen[-1] == "up"
