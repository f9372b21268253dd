"""A check's report as the XML that CI systems show: JUnit's, as Jenkins, GitLab and GitHub's actions read it."""

from __future__ import annotations

from xml.etree import ElementTree

from k8snetlab.workshop.checking import CheckReport


def xml(report: CheckReport) -> str:
    suite = ElementTree.Element(
        "testsuite",
        name=clean(f"k8snetlab {report.scenario}"),
        tests=str(len(report.checks)),
        failures=str(sum(not one.ok for one in report.checks)),
        errors="0",
        skipped="0",
        time=f"{sum(one.seconds for one in report.checks):.3f}",
    )
    for one in report.checks:
        title = f"{one.source} -> {one.target} {one.protocol}: {one.expected}"
        case = ElementTree.SubElement(
            suite,
            "testcase",
            name=clean(f"{one.name}: {title}" if one.name else title),
            classname=clean(one.where),
            time=f"{one.seconds:.3f}",
        )
        if not one.ok:
            failure = ElementTree.SubElement(case, "failure", message=clean(one.why), type="expectation")
            failure.text = clean(f"expected {one.expected}\nfound {one.found}\n{one.why}")
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def clean(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else "?" for letter in text)
