from __future__ import annotations

from nodes import FABRIC, HOSTS
from testinfra.host import Host

testinfra_hosts = HOSTS

# spark-facts 2.4: NCCL routes a triangle by itself over all four devices, bootstrap on the management interface.
TRIANGLE = {
    "NCCL_IB_SUBNET_AWARE_ROUTING": "1",
    "NCCL_IB_MERGE_NICS": "0",
    "NCCL_SOCKET_IFNAME": "enP7s7",
}


def settings(host: Host, path: str) -> dict[str, str]:
    lines = [line.strip() for line in host.file(path).content_string.splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_nccl_conf_routes_the_triangle_and_keeps_the_keys_of_others(host: Host) -> None:
    found = settings(host, "/etc/nccl.conf")
    assert "NCCL_IB_DISABLE" not in found
    assert "NCCL_IB_GID_INDEX" not in found
    assert found["NCCL_DEBUG"] == "WARN"
    assert {key: found.get(key) for key in TRIANGLE} == TRIANGLE


def test_all_four_devices_are_used(host: Host) -> None:
    hcas = settings(host, "/etc/nccl.conf")["NCCL_IB_HCA"].lstrip("=").split(",")
    assert sorted(hca.split(":")[0] for hca in hcas) == ["roceP2p1s0f0", "roceP2p1s0f1", "rocep1s0f0", "rocep1s0f1"]


def test_services_get_the_same_from_the_env_file(host: Host) -> None:
    conf, env = settings(host, "/etc/nccl.conf"), settings(host, "/etc/gb10/nccl.env")
    assert {key: env.get(key) for key in conf if key != "NCCL_DEBUG"} == {
        key: value for key, value in conf.items() if key != "NCCL_DEBUG"
    }
    assert env["GLOO_SOCKET_IFNAME"] == "enP7s7"
    assert not set(env) & set(FABRIC)


def test_what_was_there_is_kept_as_a_backup(host: Host) -> None:
    assert host.run("grep -l NCCL_IB_DISABLE=1 /etc/nccl.conf.*").rc == 0


def test_locked_memory_is_unlimited_for_logins_and_services(host: Host) -> None:
    assert "memlock" in host.file("/etc/security/limits.d/90-gb10-memlock.conf").content_string
    assert host.check_output("systemctl show --property DefaultLimitMEMLOCK") == "DefaultLimitMEMLOCK=infinity"
