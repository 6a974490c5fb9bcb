"""``quetz fsck``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quetz.cli.bulk import progress_bar
from quetz.cli.operators import opened, print_line
from quetz.cli.options import AsJson, ByOption, InFolder
from quetz.cli.outcomes import ERRORS_LEFT, REPAIRED
from quetz.cli.redaction import json_of

if TYPE_CHECKING:
    from quetz.worker.checks.findings import Finding
    from quetz.worker.fsck import Report

commands = typer.Typer()


@commands.command()
def fsck(
    path: InFolder = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every package and every index, too.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Build anew the indexes and counters that are wrong; move damaged packages aside.",
        ),
    ] = False,
    deployment: ByOption = None,
    as_json: AsJson = False,
) -> None:
    """Check the database, the store and the indexes of a deployment; servers may be running.

    Ends with 0 if nothing is wrong, with 1 if all that was wrong is repaired, with 2 if not.
    """
    from quetz.worker.fsck import check_deployment

    findings: list[dict[str, Any]] = []

    def tell(finding: "Finding", repaired: bool) -> None:
        if as_json:
            findings.append(_document(finding, repaired=repaired))
        else:
            print_line(_line(finding, repaired=repaired))

    with opened(path, deployment) as server, progress_bar("Checking") as watch:
        report = check_deployment(server, deep=deep, repair=repair, tell=tell, watch=watch)
    if as_json:
        typer.echo(json_of({"deep": deep, "findings": findings} | _totals(report), indent=2))
    else:
        for invariant, count in sorted(report.untold.items()):
            print_line(f"{invariant:4} {count:,} more findings are not shown")
        print_line(_summary(report))
    if report.errors_left:
        raise typer.Exit(ERRORS_LEFT)
    if report.repaired:
        raise typer.Exit(REPAIRED)


def _document(finding: "Finding", *, repaired: bool) -> dict[str, Any]:
    document = asdict(finding)
    del document["repair"]
    return document | {"severity": str(finding.severity), "repaired": repaired}


def _line(finding: "Finding", *, repaired: bool) -> str:
    state = "repaired" if repaired else str(finding.severity)
    advice = "" if repaired else f"; {finding.advice}"
    return f"{finding.invariant:4} {state:8} {finding.subject}: {finding.what}{advice}"


def _totals(report: "Report") -> dict[str, Any]:
    from quetz.worker.checks.findings import Severity

    return {
        "errors": report.found[Severity.ERROR],
        "warnings": report.found[Severity.WARNING],
        "infos": report.found[Severity.INFO],
        "repaired": report.repaired,
        "untold": dict(sorted(report.untold.items())),
        "looked_at": dict(sorted(report.looked_at.items())),
        "seconds": round(report.seconds, 3),
    }


def _summary(report: "Report") -> str:
    totals = _totals(report)
    looked_at = ", ".join(f"{count:,} {what}" for what, count in totals["looked_at"].items())
    return (
        f"{totals['errors']:,} errors, {totals['repaired']:,} of them repaired, "
        f"{totals['warnings']:,} warnings, {totals['infos']:,} infos; looked at "
        f"{looked_at or 'nothing'} in {report.seconds:.1f} s"
    )
