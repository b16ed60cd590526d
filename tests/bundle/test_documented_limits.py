"""The limits of docs/proof.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from theater.bundle import index

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "proof.md").read_text().split())


def test_the_limits_of_bundles_are_documented() -> None:
    found = re.search(
        r"it may have ([\d,]+) files, contents of (\d+) GiB, and become (\d+) GiB in all, but no more than a hundred "
        r"times its own length, or (\d+) GiB if that is more",
        PAGE,
    )
    assert found is not None
    files, content, unpacked, least = (int(number.replace(",", "")) for number in found.groups())
    assert files == index.MEMBERS_MAX
    assert content << 30 == index.CONTENT_MAX
    assert unpacked << 30 == index.UNPACKED_MAX
    assert least << 30 == index.UNPACKED_LEAST
    assert index.UNPACKED_TIMES == 100
