"""What the ladder reads of Linux's own files."""

from agent.link import linux

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   \n"
OTHER = "eth1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0" + 80 * " " + "\n"
OWN = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0" + 80 * " " + "\n"
DEFAULT = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0" + 80 * " " + "\n"


def _table(tmp_path, *lines: str) -> str:
    path = tmp_path / "route"
    path.write_text(HEAD + "".join(lines))
    return str(path)


def test_an_interface_has_an_address_while_it_has_a_route(tmp_path):
    assert linux.has_address(_table(tmp_path, OTHER, OWN), "eth0")
    assert not linux.has_address(_table(tmp_path, OTHER), "eth0")
    assert not linux.has_address(_table(tmp_path), "eth0")


def test_without_a_name_it_is_the_default_route_that_counts(tmp_path):
    assert linux.has_address(_table(tmp_path, OTHER, DEFAULT), None)
    assert not linux.has_address(_table(tmp_path, OTHER, OWN), None)


def test_where_linux_does_not_tell_nothing_is_wrong(tmp_path):
    assert linux.has_address(str(tmp_path / "none"), "eth0")
    assert linux.neighbour("192.168.1.1", str(tmp_path / "none")) is None


def test_a_neighbour_without_a_hardware_address_is_not_there(tmp_path):
    path = tmp_path / "arp"
    path.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.1.7      0x1         0x2         02:00:00:00:00:07     *        eth0\n"
        "192.168.1.1      0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    )
    assert linux.neighbour("192.168.1.1", str(path)) is False
    assert linux.neighbour("192.168.1.7", str(path)) is True
    assert linux.neighbour("192.168.1.9", str(path)) is None
