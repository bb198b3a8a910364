"""The pages themselves, in groups; each is a function from a visit to an answer."""

from __future__ import annotations

from host_tools.pages.serving import PageRoute


def routes() -> list[PageRoute]:
    """Every route but those of files and of live changes."""
    from host_tools.pages.views import (
        account,
        alerts,
        api,
        cases,
        devices,
        files,
        lists,
        months,
        outages,
        province,
        village,
    )

    groups = (
        province,
        village,
        lists,
        outages,
        devices,
        cases,
        alerts,
        files,
        months,
        account,
        api,
    )
    return [route for group in groups for route in group.ROUTES]
