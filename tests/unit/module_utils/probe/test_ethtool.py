from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.ethtool import (
    EthtoolDriver,
    EthtoolLink,
    parse_driver,
    parse_fec,
    parse_link,
    parse_module,
    parse_pause,
    parse_statistics,
)

DOWN = "Settings for enp1s0f1np1:\n\tSpeed: Unknown!\n\tDuplex: Unknown! (255)\n\tPort: Other\n\tLink detected: no\n"


def test_a_link_that_is_up(recorded) -> None:
    assert parse_link(recorded("ethtool-mlx5.txt")) == EthtoolLink(200000, 4, "Direct Attach Copper", True)


def test_a_link_that_is_down() -> None:
    assert parse_link(DOWN) == EthtoolLink(None, None, "Other", False)


def test_a_link_that_says_little() -> None:
    assert parse_link("Settings for eth0:\n\tLink detected: perhaps\n") == EthtoolLink(None, None, None, None)


@pytest.mark.parametrize("text", ["", "ethtool: bad command line argument(s)\nFor more information run ethtool -h"])
def test_no_settings_are_refused(text: str) -> None:
    with pytest.raises(ProbeError, match="settings"):
        parse_link(text)


def test_driver() -> None:
    text = "driver: mlx5_core\nversion: 6.17.0-1029-nvidia\nfirmware-version: 28.45.4028 (NVD0000000087)\nbus-info: 0000:01:00.0\n"
    assert parse_driver(text) == EthtoolDriver(
        "mlx5_core", "6.17.0-1029-nvidia", "28.45.4028 (NVD0000000087)", "0000:01:00.0"
    )
    assert parse_driver("driver: virtio_net\nfirmware-version: \n") == EthtoolDriver("virtio_net", None, None, None)
    with pytest.raises(ProbeError, match="no driver"):
        parse_driver("Cannot get driver information: No such device")


def test_statistics(recorded) -> None:
    statistics = parse_statistics(recorded("ethtool-S-mlx5.txt"))
    assert statistics["rx_err_lane_2_phy"] == 190
    assert statistics["rx_crc_errors_phy"] == 0
    assert "module_bad_shorted" not in statistics


def test_no_statistics() -> None:
    assert parse_statistics("no stats available") == {}
    with pytest.raises(ProbeError, match="statistics"):
        parse_statistics("")


FEC = [
    (
        "health-checks 3.3/mlx5",
        "FEC parameters for enp1s0f0np0:\nSupported/Configured FEC encodings: Auto\nActive FEC encoding: RS\n",
        "RS",
    ),
    (
        "synthetic/newer title",
        "FEC parameters for enp1s0f0np0:\nConfigured FEC encodings: Auto\nActive FEC encodings: RS\n",
        "RS",
    ),
    ("synthetic/none", "FEC parameters for enp1s0f0np0:\nSupported/Configured FEC encodings: None\n", None),
    ("synthetic/json", '[{"ifname":"enp1s0f0np0","config":["AUTO"],"active-fec":["RS"]}]', "RS"),
    ("synthetic/json word", '[{"ifname":"enp1s0f0np0","active-fec":"RS"}]', "RS"),
    ("synthetic/json nothing", '[{"ifname":"enp1s0f0np0"}]', None),
    ("synthetic/json empty", '[{"active-fec":[]}]', None),
]


@pytest.mark.parametrize(("text", "fec"), [case[1:] for case in FEC], ids=[case[0] for case in FEC])
def test_fec(text: str, fec: str | None) -> None:
    assert parse_fec(text) == fec


@pytest.mark.parametrize("text", ["", "Cannot get FEC settings: Operation not supported", "[", "[]", "[1]"])
def test_no_fec_is_refused(text: str) -> None:
    with pytest.raises(ProbeError, match="fec"):
        parse_fec(text)


# --- plug and pause ---

# Synthetic: format of ethtool 6.7 for CMIS (cmis.c).
CMIS = """\
	Identifier                                : 0x18 (QSFP-DD Double Density 8X Pluggable Transceiver (INF-8628))
	Cable assembly length                     : 0.50m
	Vendor name                               : NVIDIA
	Vendor PN                                 : MCP4Y10-N00A
	Vendor SN                                 : MT0000000000
"""


def test_a_plug_tells_what_it_is_but_not_which_piece(recorded) -> None:
    text = recorded("ethtool-m-qsfp28.txt")
    assert "APF00000000AAA" in text
    assert parse_module(text) == {
        "identifier": "0x11 (QSFP28)",
        "type": "40G Ethernet: 40G Base-CR4",
        "vendor": "Amphenol",
        "part_number": "NJAAKK-N911",
        "length": "1m",
    }


def test_a_plug_of_the_newer_kind(recorded) -> None:
    plug = parse_module(CMIS)
    assert (plug["part_number"], plug["length"], plug["type"]) == ("MCP4Y10-N00A", "0.50m", None)


@pytest.mark.parametrize("text", ["", "netlink error: Input/output error\n", "Offset\t\tValues\n0x0000:\t\t11 00\n"])
def test_no_plug(text: str) -> None:
    with pytest.raises(ProbeError, match="identified no module"):
        parse_module(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (None, {"autonegotiate": False, "rx": True, "tx": True}),
        (
            "Pause parameters for x:\nAutonegotiate:\ton\nRX:\t\toff\nTX:\t\toff\nRX negotiated: on\nTX negotiated: on\n",
            {"autonegotiate": True, "rx": False, "tx": False},
        ),
    ],
)
def test_pause(recorded, text: str | None, want: dict[str, bool]) -> None:
    assert parse_pause(text or recorded("ethtool-a-mlx5.txt")) == want


@pytest.mark.parametrize(
    "text", ["", "netlink error: Operation not supported\n", "Autonegotiate: maybe\nRX: on\nTX: on\n"]
)
def test_no_pause_parameters(text: str) -> None:
    with pytest.raises(ProbeError, match="no pause parameters"):
        parse_pause(text)
