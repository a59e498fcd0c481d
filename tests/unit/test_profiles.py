"""Every file under profiles/ is valid, and what is not valid is refused with the entry that is wrong."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.limits import AtLeast, ProfileError
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits, validated
from ansible_collections.gb10.cluster.tests.unit import builders

LISTS = ("required", "observe", "required_with_nccl", "required_with_soak")
FILES = sorted((builders.ROOT / "profiles").glob("*.yml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_profile_is_valid_and_bears_its_file_name(file):
    profile = builders.profile(file.stem)
    assert validated(profile) is profile
    assert profile["name"] == file.stem


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_profile_decides_about_every_check_or_leaves_it_out_on_purpose(file):
    profile = builders.profile(file.stem)
    listed = [check for key in LISTS for check in profile.get(key, [])]
    left_out = CHECKS.keys() - {*listed}
    # Without PCIe, firmware, contiguous memory, plugs and a GPU there is nothing to look at in a virtual Spark.
    of_nccl = {"N10", "N14", "N15", "N16", "N17", "P06", "C02", "C03", "C04", "C05", "C06", "C08", "C11"}
    nothing = {"N03", "N04", "N05", "L12", "L13"} | of_nccl
    assert left_out == (set() if profile["name"].startswith("gb10") else nothing)


def test_gb10_holds_the_numbers_of_the_catalogue():
    grade = parsed_limits(builders.profile())["P02"].get(AtLeast, "bandwidth_gbps").grade
    assert [grade(value) for value in (111.8, 95, 94.9, 80, 79.9)] == ["pass", "pass", "degraded", "degraded", "fail"]


def change(path: str, value: object) -> dict:
    profile = copy.deepcopy(builders.profile())
    *parents, last = path.split("/")
    at = profile
    for part in parents:
        at = at[part]
    if value is DELETE:
        del at[last]
    else:
        at[last] = value
    return profile


DELETE = object()
P02 = "thresholds/P02/bandwidth_gbps"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        pytest.param("schema", "2", "schema '2'", id="other schema"),
        pytest.param("schema", DELETE, "schema missing", id="no schema"),
        pytest.param("colour", "red", "unknown key colour", id="unknown key"),
        pytest.param("bandwidth", 4, "bandwidth must be a mapping", id="bandwidth is a number"),
        pytest.param("bandwidth/qps", 0, "bandwidth.qps", id="no queue pair"),
        pytest.param("bandwidth/repeats", True, "bandwidth.repeats", id="yes is no number"),
        pytest.param("bandwidth/warmup", -1, "bandwidth.warmup", id="negative warm-up"),
        pytest.param("latency/iterations", "many", "latency.iterations", id="text for a number"),
        pytest.param("rendezvous_s", 0, "rendezvous_s", id="no time to meet"),
        pytest.param("clock_step_s", DELETE, "clock_step_s missing", id="no limit for the clock"),
        pytest.param("clock_step_s", 1.0, "clock_step_s: expected a mapping", id="limit for the clock without source"),
        pytest.param("clock_step_s/max", "1", "clock_step_s: max must be a number", id="limit for the clock in quotes"),
        pytest.param("required", "N00", "required must be a list", id="required is a text"),
        pytest.param("required", ["N00", "P01", "P02", "X99"], "unknown check 'X99'", id="unknown check"),
        pytest.param("observe", ["N04", "N12", "L03", "N00"], "N00: listed twice", id="listed twice"),
        pytest.param("required", ["N00", "P01"], "P02 missing", id="admission without bandwidth"),
        pytest.param("required", ["P01", "P02"], "N00 missing", id="admission of the dead"),
        pytest.param("thresholds", [], "thresholds must map", id="thresholds are a list"),
        pytest.param("thresholds/P02", 95, "thresholds.P02: expected a mapping", id="check without names"),
        pytest.param(
            "thresholds/P09", {}, "thresholds.P09: this check is neither", id="threshold of an unlisted check"
        ),
        pytest.param("thresholds/P02/typo_gbps", {"min": 1}, "P02 has no such threshold", id="unknown threshold"),
        pytest.param(P02, DELETE, "bandwidth_gbps: missing", id="missing threshold"),
        pytest.param(P02, 95, "expected a mapping, found 95", id="naked number"),
        pytest.param(f"{P02}/source", DELETE, "has no source", id="number without source"),
        pytest.param(f"{P02}/source", "  ", "has no source", id="blank source"),
        pytest.param(f"{P02}/min", DELETE, "min must be a number, found None", id="missing number"),
        pytest.param(f"{P02}/min", "95", "min must be a number", id="number in quotes"),
        pytest.param(f"{P02}/min", True, "min must be a number", id="yes for a number"),
        pytest.param(f"{P02}/min", float("nan"), "min must be a number", id="nan"),
        pytest.param(f"{P02}/degraded_min", 96, "is above min", id="degraded above pass"),
        pytest.param(f"{P02}/max", 5, "unknown key max", id="min and max mixed"),
        pytest.param(f"{P02}/relative_to", "mean", "relative_to can only be median", id="relative to the mean"),
        pytest.param(f"{P02}/relative_to", "median", "min_ratio must be a number", id="relative without a ratio"),
        pytest.param("thresholds/P04/latency_us/degraded_max", 1, "is below max", id="degraded below pass"),
        pytest.param("thresholds/P04/latency_us/min", 1, "unknown key min", id="floor of a latency"),
        pytest.param("thresholds/L01/speed_mbps/equals", [1], "equals must be a number or a text", id="equals a list"),
        pytest.param("thresholds/L01/speed_mbps/min", 1, "unknown key min", id="equals and min"),
        pytest.param("thresholds/C01/equal/values", "kernel", "values must be a list", id="one name"),
        pytest.param("thresholds/C01/equal/max", 1, "unknown key max", id="list with a maximum"),
        pytest.param("thresholds/L08/growth/max", {}, "names no counter", id="a check that cannot fail"),
        pytest.param("thresholds/L08/growth/max", ["x"], "must map counter names", id="counters in a list"),
        pytest.param(
            "thresholds/L08/growth/max", {"x": "no"}, "L08.growth.max: x must be a number", id="counter limit"
        ),
        pytest.param("thresholds/L08/growth/min", 1, "unknown key min", id="growth with a minimum"),
        pytest.param(
            "thresholds/N04", {"firmware": {"min_version": 28.45, "source": "x"}}, "in quotes", id="version is a number"
        ),
        pytest.param(
            "thresholds/N04",
            {"firmware": {"min_version": "28.45", "max": 1, "source": "x"}},
            "unknown key max",
            id="version and max",
        ),
    ],
)
def test_refuses(path, value, says):
    with pytest.raises(ProfileError) as caught:
        validated(change(path, value))
    assert says in str(caught.value)


def test_refuses_what_is_no_mapping():
    with pytest.raises(ProfileError, match="a profile is a mapping, found list"):
        validated([])
