"""Checks pipeline.yml against its live sources, and the warehouse's setup; changes nothing."""

from __future__ import annotations

from warehouse import ops
from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.pipeline.file import problems
from elt.pipeline.options import SourceEntry
from elt.runs import gone
from elt.settings import Settings
from elt.sources.base import Checked, Selection
from elt.sources.registry import open_source, read_pipeline


def check(settings: Settings) -> Checked:
    """Returns the tables that runs would copy, and every mistake that can be found without copying.

    Raises PipelineError only where nothing more can be looked at: the file is wrong or the only source does not answer.
    """
    file = read_pipeline(settings.elt_pipeline)
    found: list[Checked] = []
    answered: list[tuple[SourceEntry, Selection]] = []
    for entry in file.sources:
        try:
            checked = open_source(settings, entry).check()
        except PipelineError as error:
            if len(file.sources) == 1:
                raise
            found.append(Checked(mistakes=(f"{entry.name}: {error}",)))
            continue
        answered.append((entry, checked.selection))
        names = [(str(one.name), one) for one in checked.selection.entries]
        others = [other for other in file.sources if other is not entry]
        found.append(
            Checked(checked.tables, (*checked.mistakes, *problems(names, others)), checked.notes, checked.selection)
        )
    notes: list[str] = []
    mistakes: list[str] = []
    try:
        with Warehouse(settings.warehouse) as warehouse:
            ops.check_tables(warehouse)
            for entry, selection in answered:
                notes += map(gone.describe, gone.find_absences(warehouse, file, entry, selection).gone)
    except PipelineError as error:
        mistakes.append(str(error))
    return Checked(
        tuple(table for one in found for table in one.tables),
        (*(text for one in found for text in one.mistakes), *mistakes),
        (*(text for one in found for text in one.notes), *notes),
        Selection(()),
    )
