"""The table of contracts, events, rules, and closed months, as an office uses them."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import openpyxl
import pytest

from host_tools.contracts.calendar import month_of
from host_tools.contracts.months import all_rules
from host_tools.contracts.rules import first_text, read_rules
from host_tools.contracts.table import OPEN_END, read_contracts
from host_tools.province.contract_records import Contract
from host_tools.province.registry import Registry
from host_tools.province.settings import Province
from tests.host_tools.conftest import Run
from tests.world.evidencing import signing_registry

HEADING = "kode,penyedia,produk,media,mbps,harga,sla,mulai,sampai,pengecualian,jam,kontrak\n"
ROW = (
    "64.03.11.2001,Comtelindo,Desa 50,radio,50,Rp 1.150.000,95%,01/10/2026,31/12/2026,,,12/2026\n"
)
RULES = read_rules(first_text(), "rules 1")
OCTOBER = month_of("2026-10")


def read(tmp_path: Path, registry: Registry, content: str):
    path = tmp_path / "contracts.csv"
    path.write_text(content)
    return read_contracts(path, registry.villages(), registry.contracts(), RULES)


class TestTable:
    def test_a_row_as_an_office_writes_it(self, tmp_path: Path, registry: Registry):
        table = read(tmp_path, registry, HEADING + ROW)
        assert table.problems == []
        excluded = ("agent", "force_majeure", "maintenance", "power", "site")
        end = month_of("2027-01").begin
        assert [contract for _, contract in table.contracts] == [
            Contract(
                slot="6403112001-1",
                provider="Comtelindo",
                product="Desa 50",
                medium="radio",
                mbps=50,
                price=1_150_000,
                target_ppm=950_000,
                excluded=excluded,
                hours=None,
                begin=OCTOBER.begin,
                end=end,
                number="12/2026",
            )
        ]

    def test_a_workbook_with_real_dates_and_numbers(self, tmp_path: Path, registry: Registry):
        book = openpyxl.Workbook()
        book.active.append(["slot", "provider", "mbps", "price", "target", "from", "hours"])
        row = [6403112001, "Icon+", 100, 1200000.0, 99.5, date(2026, 10, 1), "06:00-22:00"]
        book.active.append(row)
        path = tmp_path / "contracts.xlsx"
        book.save(path)
        (line, contract) = read_contracts(path, registry.villages(), [], RULES).contracts[0]
        assert line == 2
        assert (contract.price, contract.target_ppm, contract.begin, contract.end) == (
            1_200_000,
            995_000,
            OCTOBER.begin,
            OPEN_END,
        )
        assert contract.hours == (6 * 3600, 22 * 3600)

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            (("64.03.11.2001", "64.03.11.2009"), "this province has no such village"),
            (("64.03.11.2001", "Bohe Silian"), "not a village code of 10 digits, nor a slot"),
            (("Comtelindo", ""), "provider is empty"),
            ((",50,Rp", ",50 Mbps,Rp"), "mbps '50 Mbps' is not a whole number"),
            (("Rp 1.150.000", "1.15 juta"), "price '1.15 juta' is not an amount of rupiah"),
            # A spreadsheet's cell of 95 % holds 0.95.
            (("95%", "0.95"), "target '0.95' is not a percentage from 50 to 100"),
            (("01/10/2026", "32/10/2026"), "from '32/10/2026' is not a day"),
            (("31/12/2026", "30/09/2026"), "it ends on 2026-09-30, before it begins"),
            ((",,,12/2026", ",angin,,12/2026"), "nothing is called 'angin' that can be excluded"),
            ((",,,12/2026", ",,siang,12/2026"), "hours 'siang' is not a time of the day"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(
        self, tmp_path: Path, registry: Registry, wrong, sentence
    ):
        table = read(tmp_path, registry, HEADING + ROW.replace(*wrong))
        assert table.contracts == []
        (problem,) = table.problems
        assert problem.startswith("line 2: ") and sentence in problem

    def test_a_slot_has_one_contract_at_a_time(self, tmp_path: Path, registry: Registry):
        other = ROW.replace("Comtelindo", "Icon+").replace("01/10", "15/10")
        (problem,) = read(tmp_path, registry, HEADING + ROW + other).problems
        assert problem == (
            "line 3: 6403112001-1: 2026-10-15 to 2026-12-31 overlaps 2026-10-01 to 2026-12-31 of "
            "Comtelindo, line 2"
        )

    def test_a_needed_column_that_is_missing(self, tmp_path: Path, registry: Registry):
        with pytest.raises(Exception, match="no column 'price' in its first line"):
            read(tmp_path, registry, HEADING.replace("harga", "rupiah") + ROW)


class TestVerbs:
    @pytest.fixture
    def office(self, desalink: Run, kaltim: Province, tmp_path: Path):
        path = tmp_path / "contracts.csv"
        path.write_text(HEADING + ROW)

        def run(*words: object):
            return desalink("-C", kaltim.directory, *words)

        assert run("contracts", "import", path).out == "1 contract imported.\n"
        return run

    def test_importing_the_same_table_again_changes_nothing(self, office, tmp_path: Path):
        again = office("contracts", "import", tmp_path / "contracts.csv")
        assert again.out == "0 contracts imported, 1 known already.\n"
        assert len(json.loads(office("contracts", "list", "--json").out)) == 1

    def test_another_provider_takes_over_in_mid_month(self, office, tmp_path: Path):
        (old,) = json.loads(office("contracts", "list", "--json").out)
        ended = office("contracts", "end", old["id"], "--on", "2026-10-14", "--why", "replaced")
        assert ended.out == "6403112001-1: Comtelindo ends on 2026-10-14.\n"
        path = tmp_path / "new.csv"
        path.write_text(HEADING + ROW.replace("Comtelindo", "Icon+").replace("01/10", "15/10"))
        assert office("contracts", "import", path).code == 0
        (month,) = json.loads(office("month", "show", "2026-10", "--json").out)
        days = [(piece["end"] - piece["begin"]) // 86_400 for piece in month["pieces"]]
        assert days == [14, 17]
        assert len(json.loads(office("contracts", "list", "--all", "--json").out)) == 3

    def test_a_month_is_closed_once_and_opened_again_with_a_reason(self, office):
        shown = office("month", "show", "2026-10")
        assert "2026-10, rules 1: not closed yet." in shown.err
        closed = office("month", "close", "2026-10", "--by", "Rina")
        assert closed.out.startswith("2026-10 is closed under rules 1, edition 1. SHA-256 of")
        figures = office("month", "figures", "2026-10").out
        again = office("month", "close", "2026-10")
        assert again.code == 1 and "is closed already" in again.err
        # What would change a closed month is refused.
        words = ("--from", "2026-10-03", "--until", "2026-10-04", "--everywhere", "--why", "storm")
        late = office("events", "add", "force-majeure", *words)
        assert late.code == 1 and "2026-10 is closed; open it again first" in late.err
        (entry,) = json.loads(office("contracts", "list", "--json").out)
        assert office("contracts", "withdraw", entry["id"], "--why", "x").code == 1
        assert office("month", "reopen", "2026-10", "--why", "the storm").code == 0
        assert office("events", "add", "force-majeure", *words).code == 0
        assert "edition 2" in office("month", "close", "2026-10").out
        # Both editions are kept.
        assert office("month", "figures", "2026-10", "--edition", "1").out == figures
        assert json.loads(office("month", "figures", "2026-10").out)["month"] == "2026-10"

    def test_a_contract_that_ends_later_leaves_a_closed_month_as_it_is(self, office):
        office("month", "close", "2026-10")
        (entry,) = json.loads(office("contracts", "list", "--json").out)
        end = ("contracts", "end", entry["id"], "--on", "2026-12-14", "--why", "moved")
        assert office(*end).code == 0
        assert office("month", "show", "2026-10").code == 0

    def test_a_month_that_is_not_over_is_not_closed(self, office):
        ended = office("month", "close", "2090-01")
        assert ended.code == 1 and "2090-01 is not over" in ended.err

    def test_new_rules_leave_closed_months_as_they_are(
        self, office, kaltim: Province, tmp_path: Path
    ):
        office("month", "close", "2026-10")
        figures = office("month", "figures", "2026-10").out
        path = tmp_path / "rules.toml"
        text = first_text().replace("version = 1", "version = 2").replace("= 300", "= 60")
        path.write_text(text.replace("2025-01", "2026-10"))
        refused = office("rules", "add", path)
        assert refused.code == 1 and "2026-10 is closed, so new rules" in refused.err
        path.write_text(text.replace("2025-01", "2026-11"))
        assert office("rules", "try", path, "--month", "2026-10").code == 0
        assert office("rules", "add", path).out == "Rules 2 hold from 2026-11.\n"
        assert office("rules", "show", "2").out == path.read_text()
        assert "2026-10, rules 1: closed" in office("month", "show", "2026-10").err
        assert "2026-11, rules 2: not closed" in office("month", "show", "2026-11").err
        assert office("month", "figures", "2026-10").out == figures
        with signing_registry(kaltim) as registry:
            assert [rules.threshold_s for rules in all_rules(registry)] == [300, 60]

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--from", "soon", "--until", "2026-10-02", "--everywhere"), "is not a time"),
            (("--from", "2026-10-02", "--until", "2026-10-01", "--everywhere"), "ends before"),
            (("--from", "2026-10-02", "--until", "2026-10-03"), "Say whom it concerns"),
            (
                ("--from", "2026-10-02", "--until", "2026-10-03", "--provider", "Icon"),
                "the providers are: Comtelindo",
            ),
        ],
    )
    def test_an_event_that_is_not_clear_is_refused(self, office, words, sentence):
        ended = office("events", "add", "maintenance", "--why", "x", *words)
        assert ended.code == 1 and sentence in ended.err

    def test_an_event_is_withdrawn_but_kept(self, office):
        words = ("--from", "2026-10-03", "--until", "2026-10-04", "--why", "storm")
        office("events", "add", "dispute", "--village", "6403112001", *words)
        (event,) = json.loads(office("events", "list", "--month", "2026-10", "--json").out)
        assert office("events", "withdraw", event["id"], "--why", "solved").code == 0
        assert json.loads(office("events", "list", "--json").out) == []
        (kept,) = json.loads(office("events", "list", "--all", "--json").out)
        assert kept["withdrawn_why"] == "solved"


class TestRules:
    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ("threshold_s = 300", "threshold_s = -1", "threshold_s: expected a whole number"),
            ('power = "power"', 'power = "strom"', "states.power: expected one of"),
            ('power = "power"', "", "states.power is missing"),
            ('power = "power"', 'power = "power"\nsun = "up"', "the province has no such state"),
            ("version = 1", "version = ", "is not valid TOML"),
            ('formula = "shortfall"', 'formula = "x"', "restitution.formula: expected one of"),
        ],
    )
    def test_a_file_that_is_wrong_is_refused(self, old, new, sentence):
        with pytest.raises(Exception, match="mine") as raised:
            read_rules(first_text().replace(old, new, 1), "mine")
        assert sentence in str(raised.value)

    def test_the_digest_is_of_the_text(self):
        assert read_rules(first_text() + "\n", "x").digest != RULES.digest
        assert replace(RULES, digest="") == RULES
