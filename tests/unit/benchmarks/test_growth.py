"""Growth: where a curve bends and what grows there, the page's measured part, pictures that are SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from benchmarks.growth import page, plot
from benchmarks.growth.measure import expected, series
from benchmarks.growth.measured import Growth, Point, Series, StoreCost, bend, faster
from benchmarks.run import FailedError, Run, Scale

STRAIGHT = tuple(Point(size, size / 100, 0.1, size * 0.3) for size in (10, 100, 1000))
BENT = (
    Point(10, 0.8, 0.4, 80, 45, 1.0, 0.3),
    Point(100, 1.6, 0.5, 110, 52, 2.0, 0.7),
    Point(1000, 12.0, 1.0, 420, 110, 15.0, 5.0),
    Point(2000, 31.0, 2.0, 800, 200, 40.0, 9.0),
    Point(3000, 60.0, 4.0, 1300, 300, 75.0, 14.0),
)
GROWTH = Growth(
    machine="2 cores, Linux 6.18",
    date="2026-11-28",
    series=(
        Series("pods", "k8snetlab", BENT, "5,000 pods would have taken longer than this run"),
        Series("pods", "C", STRAIGHT),
        Series("pods", "Mininet", (), "not installed (make bench-peers)"),
    ),
    store=StoreCost(3, 0.0, 0.1, 15.0, 5200.0, 6.0, 40.0, 22_000.0),
)


def test_a_straight_curve_has_no_bend() -> None:
    assert bend(STRAIGHT) is None


def test_a_curve_bends_where_time_begins_to_grow_faster_than_size_until_its_end() -> None:
    found = bend(BENT)
    assert found and found[0].size == 1000 and found[1] == pytest.approx(1.465, abs=0.001)


@pytest.mark.parametrize("times", [(1.0, 2.0, 4.0, 20.0), (1.0, 4.0, 5.0, 6.0)])
def test_one_step_alone_is_no_bend(times: tuple[float, ...]) -> None:
    assert bend([Point(10 * 2**number, up, 0, 0) for number, up in enumerate(times)]) is None


@pytest.mark.parametrize(
    ("programs", "kernel", "what"),
    [(40.0, 10.0, "programs"), (10.0, 40.0, "kernel"), (10.0, 10.0, "waiting")],
)
def test_the_limit_is_what_grew_faster_than_size(programs: float, kernel: float, what: str) -> None:
    begin = Point(10, 1.0, 0, 0, programs=5.0, kernel=5.0)
    assert faster(begin, Point(20, 9.0, 0, 0, programs=programs, kernel=kernel)) == what


def test_the_page_has_figures_the_bend_and_why_a_curve_ends() -> None:
    text = page.measured(GROWTH)
    assert "| 1,000 | 12.0 s | 1.00 s | 420 MB | 110 MB | 10.0 s | - | 100 ms | - |" in text
    assert "**k8snetlab** bends at 1,000 pods" in text and "the limit is code" in text
    assert "k8snetlab ends there: 5,000 pods would have taken longer than this run." in text
    assert "**C**: no bend up to 1,000 pods" in text
    assert "Mininet: not installed (make bench-peers)." in text


def test_only_the_measured_part_of_a_page_is_written_anew() -> None:
    before = f"# Speed\n\nby hand\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\nby hand too\n"
    after = page.with_measured(before, GROWTH)
    assert after.startswith("# Speed\n\nby hand\n") and after.endswith("\n\nby hand too\n")
    assert "old" not in after and page.with_measured(after, GROWTH) == after


def test_a_page_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!-- measured"):
        page.with_measured("# Speed\n", GROWTH)


def test_the_stores_cost_is_worked_out_for_more_nodes_than_were_measured() -> None:
    rows = page.paper(GROWTH.store or pytest.fail()).splitlines()[2:]
    assert rows[0] == "| 100 | 0.0 | 10 | 1,500 | 0.52 MB | 594 writes | 4,000 | 2.20 MB |"
    assert rows[2] == "| 5,000 | 0.0 | 500 | 75,000 | 26.00 MB | 29,994 writes | 200,000 | 110.00 MB |"


def test_pictures_are_svg_with_a_curve_for_each_that_was_measured() -> None:
    [(name, text)] = page.pictures(GROWTH).items()
    assert name == "speed-pods.svg"
    root = ET.fromstring(text)
    drawn = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    said = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert len(drawn) == 4 and {"k8snetlab", "C", "Time of up"} <= said and "Mininet" not in said


def test_labels_that_would_cover_each_other_are_moved_apart() -> None:
    assert plot.apart([50.0, 52.0, 20.0], 0, 100) == [50.0, 63.0, 20.0]
    assert plot.apart([98.0, 99.0], 0, 100) == pytest.approx([87.0, 100.0])


def test_an_axis_has_round_values_and_the_ends_of_the_curve_on_it() -> None:
    axis = plot.Axis([10, 3000], 0, 100)
    assert axis.ticks == [10, 30, 100, 300, 1000, 3000]
    assert 0 < axis(10) < axis(3000) < 100


def test_names_are_escaped() -> None:
    text = plot.picture([plot.Panel("a<b", "x", "y", [plot.Curve("<&>", [(1, 1), (10, 10)])])])
    assert ET.fromstring(text) is not None


def test_a_series_ends_where_the_next_size_fails_and_says_why() -> None:
    def measure(size: int) -> Point:
        if size == 100:
            raise FailedError("up: exit 1")
        return Point(size, 1.0, 1.0, 1.0)

    found = series(Run(Scale(), Console(quiet=True)), Series("pods", "k8snetlab"), (10, 30, 100, 300), 60.0, measure)
    assert [point.size for point in found.points] == [10, 30]
    assert found.ended == "100 pods: up: exit 1"


def test_what_a_size_will_take_lies_on_the_line_through_the_last_two() -> None:
    assert expected([(10, 2.0)], 100) == 2.0
    assert expected([(10, 2.0), (100, 2.9)], 300) == pytest.approx(4.9 * 1.2)
    assert expected([(10, 3.0), (100, 2.0)], 300) == pytest.approx(2.0 * 1.2)


def test_a_series_ends_where_the_time_of_the_run_does() -> None:
    found = series(
        Run(Scale(), Console(quiet=True)), Series("pods", "C"), (10, 30), -1.0, lambda size: Point(size, 1.0, 1.0, 1.0)
    )
    assert [point.size for point in found.points] == [10]
    assert found.ended == "30 pods would have taken longer than this run"
