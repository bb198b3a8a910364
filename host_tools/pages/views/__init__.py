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
        events,
        figures,
        files,
        lists,
        months,
        outages,
        province,
        village,
    )

    villages = (province, village, figures, lists, outages, devices)
    groups = (*villages, cases, alerts, events, files, months, account, api)
    return [route for group in groups for route in group.ROUTES]
