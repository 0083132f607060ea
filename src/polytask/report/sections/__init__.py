"""The sections of the page, each a function of the run.

To add one, write `@section("id", "Title", place)` over a function that takes a `RunRecord` and returns
HTML, in a module that is imported below (or, outside the package, before the page is built).
"""

from polytask.report.sections import curves, error_kinds, errors, internals, labels, regression, summary
from polytask.report.sections.contract import SECTIONS, Section, section

__all__ = ["SECTIONS", "Section", "curves", "error_kinds", "errors", "internals", "labels", "regression",
           "section", "summary"]
