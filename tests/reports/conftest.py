"""One small study for all tests of the report, and the page written from it."""

import pytest

from reports.page import StudyFacts, render_page
from tests.reports.small_study import CLASSES, make_study, results


@pytest.fixture(scope="session")
def study():
    return make_study()


@pytest.fixture(scope="session")
def frames(study):
    return results(study)


@pytest.fixture(scope="session")
def facts():
    return StudyFacts(
        "small", "./lake", "A small study", CLASSES, {"attack lbfgs": "60 steps"}, {"relevance-lake": "0.1.0"}
    )


@pytest.fixture(scope="session")
def page(frames, facts):
    return render_page(frames, facts)
