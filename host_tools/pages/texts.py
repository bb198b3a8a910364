"""What pages call the values of their records, in the language in force."""

from __future__ import annotations

from host_tools.common.i18n import _


def roles() -> dict[str, str]:
    """What the roles of accounts are called."""
    return {
        "viewer": _("viewer"),
        "operator": _("operator"),
        "administrator": _("administrator"),
    }


def case_states() -> dict[str, str]:
    """What the states of a case are called."""
    return {"open": _("open"), "acknowledged": _("acknowledged"), "closed": _("closed")}


def event_kinds() -> dict[str, str]:
    """What the kinds of a contract's events are called."""
    return {
        "maintenance": _("maintenance"),
        "force_majeure": _("force majeure"),
        "dispute": _("dispute"),
    }


def event_scopes() -> dict[str, str]:
    """What a contract's event may concern."""
    return {
        "all": _("all"),
        "provider": _("provider"),
        "regency": _("regency"),
        "district": _("district"),
        "village": _("village"),
        "slot": _("slot"),
    }


def actions() -> dict[str, str]:
    """What was done with a case."""
    return {
        "open": _("opened"),
        "acknowledge": _("acknowledged"),
        "assign": _("assigned"),
        "comment": _("commented"),
        "close": _("closed"),
        "reopen": _("opened again"),
    }


def causes() -> dict[str, str]:
    """Causes that people find."""
    return {
        "provider": _("the provider's network"),
        "power": _("no power"),
        "router": _("the village's router"),
        "cable": _("a cable or plug"),
        "dish": _("dish or antenna"),
        "device": _("the measuring device"),
        "theft": _("theft or damage"),
        "weather": _("storm or lightning"),
        "maintenance": _("maintenance"),
        "unpaid": _("the link was not paid for"),
        "none": _("it worked all the time"),
        "other": _("something else"),
    }
