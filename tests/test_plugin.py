"""The pytest plugin, in runs of its own."""

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(code)
    installed = any(point.name == "minigrad" for point in entry_points(group="pytest11"))
    return pytester.runpytest_subprocess(*([] if installed else ["-p", "minigrad_pytest"]), *options)


def test_a_line_names_what_results_depend_on(pytester: pytest.Pytester) -> None:
    result = run(pytester, "import minigrad\ndef test(): pass")
    result.stdout.re_match_lines([r"minigrad \d.*, numpy \d.*, numba \d.*, .* threads, on cpu"])
    result.assert_outcomes(passed=1)


def test_projects_without_minigrad_do_not_notice(pytester: pytest.Pytester) -> None:
    code = """
        import sys

        def test():
            assert "minigrad_pytest" in sys.modules
            assert not {"minigrad", "numpy", "hypothesis"} & set(sys.modules)
    """
    result = run(pytester, code)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*threads, on cpu*")


def test_devices(pytester: pytest.Pytester) -> None:
    code = "def test(minigrad_device): assert minigrad_device == 'cpu'"
    run(pytester, code).assert_outcomes(passed=1)
    result = run(pytester, code, "--minigrad-device", "abacus")
    result.stdout.fnmatch_lines(["*--minigrad-device abacus: the devices here are *"])
    assert result.ret != 0


@pytest.mark.parametrize(
    ("profile", "examples"), [("minigrad-dev", 20), ("minigrad-ci", 100), ("minigrad-nightly", 1000)]
)
def test_profiles(pytester: pytest.Pytester, profile: str, examples: int) -> None:
    code = f"""
        from hypothesis import settings

        def test():
            assert settings().max_examples == {examples}
            assert settings().deadline is None
    """
    run(pytester, code, f"--hypothesis-profile={profile}").assert_outcomes(passed=1)


def test_hypothesis_seeds_the_default_stream(pytester: pytest.Pytester) -> None:
    code = """
        import minigrad as mg
        from hypothesis import given, settings, strategies as st

        seen = []

        @given(st.integers(0, 5))
        @settings(max_examples=5, database=None)
        def draw(_):
            seen.append(mg.random.default.uniform(1).item())

        def test():
            mg.manual_seed(7)
            mg.random.default.uniform(3)
            state = mg.random.default.key, mg.random.default.counter
            draw()
            assert len(set(seen)) == 1, "each example starts at the same place"
            assert (mg.random.default.key, mg.random.default.counter) == state, "and leaves the stream where it was"
    """
    run(pytester, code).assert_outcomes(passed=1)


def test_warm_kernels(pytester: pytest.Pytester) -> None:
    code = """
        import pytest
        from minigrad import warmup

        trained = []
        warmup.train = lambda name, dtype: trained.append(name)

        def test_cold(): assert not trained

        @pytest.mark.minigrad_warm
        def test_warm(): assert trained == list(warmup.MODELS)

        @pytest.mark.minigrad_warm
        def test_still_warm(): assert len(trained) == len(warmup.MODELS)
    """
    run(pytester, code, "--strict-markers").assert_outcomes(passed=3)
