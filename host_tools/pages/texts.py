"""The labels of the pages, in the language in force."""

from __future__ import annotations

from functools import cache

from host_tools.common.i18n import _


@cache
def labels(language: str) -> dict[str, str]:
    """Every label that templates use. language: that in force; it is what the cache is kept by."""
    return {
        "skip": _("To the content"),
        "province": _("Province"),
        "villages": _("Villages"),
        "outages": _("Outages"),
        "cases": _("Cases"),
        "alerts": _("Alerts"),
        "providers": _("Providers"),
        "devices": _("Devices"),
        "quarantine": _("Quarantine"),
        "maintenance": _("Maintenance"),
        "usage": _("Usage"),
        "months": _("Months"),
        "audit": _("Audit log"),
        "accounts": _("Accounts"),
        "account": _("Your account"),
        "search": _("Search"),
        "search_hint": _("name, code, district, serial number"),
        "times": _("All times are WITA (UTC+8)."),
        "language": _("Language"),
        "stale": _("The connection to the server is lost. This page may be out of date."),
        "as_of": _("As of"),
        "since_yesterday": _("By state, with the change since yesterday"),
        "installed": _("{installed} of {villages} villages have a device."),
        "map": _("Map"),
        "further_down": _("Further down:"),
        "outlines_from": _("Outlines:"),
        "no_map": _(
            "No village has a position. 'desalink villages import' takes positions from a table."
        ),
        "wall": _("All villages, with their last 24 hours"),
        "last_hour": _("What changed in the last hour"),
        "provider": _("Provider"),
        "regency": _("Regency"),
        "district": _("District"),
        "all": _("all"),
        "filter": _("Filter"),
        "no_filter": _("Show all"),
        "nothing": _("None."),
        "slots": _("Slots"),
        "up": _("Up"),
        "slow": _("Slow"),
        "down_by": _("Down by the provider"),
        "no_data": _("No data"),
        "available_24h": _("Available in 24 h"),
        "not_known": _("not known"),
        "never": _("never"),
        "open_ended": _("open-ended"),
        "rows": _("{count} rows"),
        "older": _("Older ones"),
        "cut": _("These are the newest; the files hold older ones too."),
        "csv": _("As CSV"),
        "xlsx": _("As a workbook (XLSX)"),
        "found": _("{count} villages"),
        "more_found": _("{count} more are not shown. Type more of the name."),
        "device": _("Device"),
        "state_now": _("Now"),
        "since": _("since"),
        "why": _("Why"),
        "what_to_do": _("What to do"),
        "last_report": _("Last report"),
        "session_lost": _("The broker has lost the session"),
        "last_time": _("the last {range}"),
        "year": _("year"),
        "kit": _("Kit"),
        "archived": _(
            "Round-trip time and loss are those of reports in the database; older ones are in "
            "the archive."
        ),
        "read_archive": _("Read the archive too (it takes some seconds)"),
        "as_table": _("As a table:"),
        "link": _("Round-trip time and loss"),
        "voltage": _("Supply voltage"),
        "temperature": _("Temperature"),
        "signal": _("Signal"),
        "cause": _("Cause"),
        "begin": _("Begin (WITA)"),
        "end": _("End (WITA)"),
        "length": _("Length"),
        "evidence": _("Evidence"),
        "lasts": _("lasts"),
        "silent": _("silent since"),
        "case": _("Case"),
        "open_case": _("Open a case"),
        "subject": _("Subject"),
        "more_outages": _("Only the newest {count} are shown."),
        "device_history": _("Devices, the newest first"),
        "board": _("Board"),
        "agent": _("Agent"),
        "firmware": _("Firmware"),
        "key": _("Key"),
        "enrolled": _("Enrolled"),
        "revoked": _("Revoked"),
        "certificate": _("Certificate"),
        "files": _("Reports and evidence files"),
        "until": _("until"),
        "contracts": _("Contracts"),
        "no_contract": _("No contract is on record."),
        "from": _("From"),
        "price": _("Price (Rp)"),
        "target": _("Target"),
        "monthly": _("Closed months"),
        "month": _("Month"),
        "availability": _("Availability"),
        "worst": _("at worst"),
        "best": _("at best"),
        "restitution": _("Restitution (Rp)"),
        "notes": _("Notes and contacts"),
        "note": _("Note"),
        "contact": _("Contact"),
        "kind": _("Kind"),
        "text": _("Text"),
        "add": _("Add"),
        "withdraw": _("Withdraw"),
        "photographs": _("Photographs of the acceptance"),
        "photograph": _("Photograph (JPEG or PNG)"),
        "caption": _("What it shows"),
        "remove": _("Remove"),
        "state": _("State"),
        "opened": _("Opened"),
        "closed": _("Closed"),
        "assigned": _("Assigned to"),
        "acknowledge": _("Acknowledge"),
        "assign": _("Assign"),
        "comment": _("Comment"),
        "close": _("Close"),
        "reopen": _("Open again"),
        "cause_found": _("Cause that was found"),
        "history": _("What was done"),
        "alert": _("Alert"),
        "alerted": _("alerted"),
        "acknowledged_by": _("Acknowledged by"),
        "over_since": _("Over since"),
        "up_again": _("Up again (WITA)"),
        "messages": _("Messages"),
        "channel": _("Channel"),
        "queued": _("Queued (WITA)"),
        "sent_at": _("Sent (WITA)"),
        "error": _("Error"),
        "take_care": _(
            "Press the button if you take care of it. Then nobody else is sent a message."
        ),
        "your_name": _("Your name"),
        "look_again": _("See whether it has ended"),
        "verify": _("Verify"),
        "verify_note": _(
            "An evidence file is verified with the public root key that this province has. It "
            "takes some minutes; one file is verified at a time. If you do not trust this server, "
            "verify the file on another computer with 'desalink evidence verify'."
        ),
        "download": _("Download"),
        "log_in": _("Log in"),
        "log_out": _("Log out"),
        "name": _("Name"),
        "password": _("Password"),
        "code": _("One-time code, if your account asks for one"),
        "wrong": _("Name, password or code is wrong, or the account is locked for a while."),
        "role": _("Role"),
        "viewer": _("viewer"),
        "operator": _("operator"),
        "administrator": _("administrator"),
        "change_password": _("Change the password"),
        "must_change": _("Another person knows this password. Set your own password now."),
        "old_password": _("Old password"),
        "new_password": _("New password (12 characters or more)"),
        "again": _("New password again"),
        "codes": _("One-time codes"),
        "codes_on": _("Your account asks for a one-time code at each log-in."),
        "codes_off": _("Your account asks for no one-time code."),
        "begin_codes": _("Turn one-time codes on"),
        "scan": _("Scan this with an authenticator on your phone, then type its code."),
        "confirm": _("Confirm"),
        "end_codes": _("Turn one-time codes off"),
        "tokens": _("Tokens for programs"),
        "token_once": _("This token is shown once; copy it now:"),
        "token_use": _("Programs send it as 'Authorization: Bearer TOKEN' to /api/v1."),
        "revoke": _("Revoke"),
        "created": _("Created"),
        "new_account": _("New account"),
        "regencies": _("Regencies of an operator"),
        "first_password": _("First password of {name}; it is shown once:"),
        "disabled": _("disabled"),
        "locked": _("locked"),
        "active": _("active"),
        "reset": _("Reset the password"),
        "disable": _("Disable"),
        "enable": _("Enable"),
        "set_role": _("Set"),
        "back": _("Back"),
        "public": _("Availability of the village hotspots"),
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
