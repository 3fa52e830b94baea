"""Parts of REPORT.md that scripts other than validate.py write, each between marks of its own."""

import re
from pathlib import Path

REPORT = Path(__file__).with_name("REPORT.md")
TITLES = {
    "evaluate": "The basis and the neural emulator against exact synthesis",
    "mocks": "Mock fields with known truth",
    "photoz": "Photometric redshifts of 100 COSMOS galaxies",
}


def kept(report: str) -> list[str]:
    """These sections as a report has them, or a line that says who writes them."""
    return [_section(name, _body(name, report)) for name in TITLES]


def put(name: str, parts: list[str]) -> None:
    """Write one section, leaving all else in the report alone."""
    report = (
        REPORT.read_text(encoding="utf-8") if REPORT.exists() else "# Stellar populations: how right the numbers are\n"
    )
    for other in TITLES:
        if f"<!-- {other}: begin -->" not in report:
            report = f"{report.rstrip()}\n\n{_section(other, _body(other, ''))}\n"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, after = report.split(begin)[0], report.split(end)[1]
    REPORT.write_text(before + begin + "\n\n" + "\n\n".join(parts) + "\n\n" + end + after, encoding="utf-8")
    print(f"written: {REPORT}, {TITLES[name]}")


def _body(name: str, report: str) -> str:
    found = re.search(f"<!-- {name}: begin -->(.*?)<!-- {name}: end -->", report, re.DOTALL)
    return found[1] if found else f"\n\n*(written by `benchmarks/populations/{name}.py`)*\n\n"


def _section(name: str, body: str) -> str:
    return f"## {TITLES[name]}\n\n<!-- {name}: begin -->{body}<!-- {name}: end -->"
